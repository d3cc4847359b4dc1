// A node in the master's own process: the same contract as one behind the link, without the road.
import type { SnippetAbilities, Snippets } from "../agent/snippets.ts";
import type { SnippetNode } from "../master/snippets/node.ts";
import type { TaskAttributes } from "../protocol/dag.ts";
import type { SandboxLevel } from "../protocol/outcome.ts";

export interface NodeFigures {
  id: string;
  slots: number;
  cpus: number;
  memoryBytes: number;
}

export function snippetNode(snippets: Snippets, figures: NodeFigures): SnippetNode {
  const { levels, runtimes }: SnippetAbilities = snippets.abilities;
  return {
    ...figures,
    levels,
    runtimes: new Set(runtimes),
    assign: (assignment, listener) => snippets.start(assignment, listener),
    cancel: (id, attempt) => snippets.cancel(id, attempt),
  };
}

/** One for each kind of box that should wait from the start: both interpreters, at the best level. */
export function warmTasks(
  levels: readonly SandboxLevel[],
  preferred: readonly SandboxLevel[],
  count: number,
): TaskAttributes[] {
  const isolation = preferred.find((level) => levels.includes(level));
  if (isolation === undefined || isolation === "none") return [];
  return (["python", "node"] as const).flatMap((kind) =>
    Array.from(
      { length: count },
      (): TaskAttributes => ({
        run: { kind, code: "", function: "main" },
        graceMs: 0,
        retries: { limit: 0, lost: 0, backoffMs: 0, factor: 1, maxBackoffMs: 0, jitter: 0 },
        priority: 0,
        isolation,
      }),
    ),
  );
}
