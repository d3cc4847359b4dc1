// The row of loading: a document of so many tasks from its text, beside what graphology alone needs to
// import and sort it.
import { DirectedGraph } from "graphology";
import { topologicalSort } from "graphology-dag";
import { parseDagText } from "../../protocol/load-dag.ts";
import { dagOf } from "../core/sample.ts";
import { type Answer, ask, type Contender, timed } from "./frame.ts";
import { randomDag } from "./shapes.ts";

export interface LoadingRow {
  size: number;
  /** Seconds. */
  goal: number;
  rounds: number;
  warmUps: number;
  /** Further contenders, of the same text. */
  also?(text: string): Contender[];
}

export async function seconds(work: () => unknown): Promise<number> {
  return (await timed(work)) / 1000;
}

export async function loadingRow(row: LoadingRow): Promise<Answer> {
  const { size, goal, rounds, warmUps, also } = row;
  const text = JSON.stringify(dagOf(randomDag(size, {})));
  const answer = await ask({
    question: `load and validate a DAG of ${size.toLocaleString("en-US")} tasks from text`,
    unit: "s",
    better: "less",
    goal,
    rounds,
    warmUps,
    contenders: [
      {
        name: "edgedag",
        isOurs: true,
        round: () =>
          seconds(async () => {
            const loaded = await parseDagText(text, { path: "dag.json" });
            if (!loaded.ok) throw new Error(loaded.diagnostics[0]?.message);
          }),
      },
      {
        name: "JSON.parse, graphology import, topologicalSort",
        round: () =>
          seconds(() => {
            const graph = DirectedGraph.from(JSON.parse(text));
            if (topologicalSort(graph).length !== size) throw new Error("tasks were lost");
          }),
      },
      ...(also?.(text) ?? []),
    ],
  });
  answer.notes.push(`${(text.length / 2 ** 20).toFixed(1)} MiB of JSON`);
  return answer;
}
