// Does anything grow while an agent runs 100,000 tasks, with a master? Prints what it keeps after each
// run of 1,000; fails when descriptors, threads, processes or zombies are more at the end.
// usage: node --expose-gc test/bench/soak.ts [--quick]
import { BenchAgent } from "./bench-agent.ts";
import { say, sized } from "./frame.ts";
import { type Kept, keptNow, mixOf } from "./overload.ts";

const runs = sized(100, 5);
const tasks = 1000;
await using agent = await BenchAgent.start({ hasMaster: true });
const artifact = await mixOf(tasks);
await agent.run(artifact);
const first = keptNow();
let last: Kept = first;
for (let run = 1; run <= runs; run += 1) {
  await agent.run(artifact);
  last = keptNow();
  if (run % Math.ceil(runs / 10) === 0) say(`${run * tasks} tasks: ${JSON.stringify(last)}`);
}
const grown = (["descriptors", "threads", "processes", "zombies"] as const).filter(
  (what) => last[what] > first[what] + (what === "descriptors" ? 4 : 0),
);
process.stdout.write(`${JSON.stringify({ tasks: runs * tasks, first, last, grown })}\n`);
if (grown.length > 0) process.exitCode = 1;
