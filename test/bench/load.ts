// How long to load and validate a large DAG in the serialized form, from its text, beside what
// graphology alone needs to import and sort it?
// usage: node --expose-gc test/bench/load.ts [--quick]
import { DirectedGraph } from "graphology";
import { topologicalSort } from "graphology-dag";
import { parseDagText } from "../../protocol/load-dag.ts";
import { dagOf } from "../core/sample.ts";
import { ask, sized, tell, timed } from "./frame.ts";
import { randomDag } from "./shapes.ts";

const size = sized(100_000, 5000);
const text = JSON.stringify(dagOf(randomDag(size, {})));

async function seconds(work: () => unknown): Promise<number> {
  return (await timed(work)) / 1000;
}

const answer = await ask({
  question: `load and validate a DAG of ${size.toLocaleString("en-US")} tasks from text`,
  unit: "s",
  better: "less",
  goal: 1,
  rounds: sized(7, 2),
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
    { name: "JSON.parse alone", round: () => seconds(() => JSON.parse(text)) },
  ],
});
answer.notes.push(`${(text.length / 2 ** 20).toFixed(1)} MiB of JSON`);
tell(answer);
