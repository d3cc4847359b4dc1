// Packed documents of the shapes that the benchmarks run. All begin with one command, from whose end
// the clock runs: starting the run and its store is no cost of a task.
import { createHash } from "node:crypto";
import { artifactVersion, type DagArtifact } from "../../protocol/artifact.ts";
import { decodeDag } from "../../protocol/load-dag.ts";

/** The id of the task from whose end the clock runs. */
export const warmUp = "first";

/** A task of the authoring form. */
export interface TaskText {
  needs?: string[];
  [field: string]: unknown;
}

/** `tasks` should need `warmUp`, which is added. `files`: name and text. */
export async function artifactOf(
  tasks: { [id: string]: TaskText },
  files: { [path: string]: string } = {},
): Promise<DagArtifact> {
  const all = { [warmUp]: { command: ["/bin/true"] }, ...tasks };
  const dag = await decodeDag({ dag: "bench", tasks: all });
  if (!dag.ok) throw new Error(JSON.stringify(dag.diagnostics[0]));
  return {
    artifact: artifactVersion,
    dag: dag.value,
    files: Object.entries(files).map(([path, text]) => ({
      path,
      sha256: createHash("sha256").update(text).digest("hex"),
      text,
    })),
  };
}

/** `count` tasks, each behind the one before. */
export function chainOf(
  count: number,
  task: (before: string, index: number) => TaskText,
): { [id: string]: TaskText } {
  return Object.fromEntries(
    Array.from({ length: count }, (_, i) => {
      const before = i === 0 ? warmUp : `t${i - 1}`;
      return [`t${i}`, { needs: [before], ...task(before, i) }];
    }),
  );
}

/** `count` tasks side by side. */
export function fanOf(count: number, task: TaskText): { [id: string]: TaskText } {
  return Object.fromEntries(
    Array.from({ length: count }, (_, i) => [`t${i}`, { needs: [warmUp], ...task }]),
  );
}
