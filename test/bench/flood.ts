// What do tasks that write 64 MB/s cost the others? Prints the figures of a run with four writers and
// a chain of commands beside them; fails when a line is missing.
// usage: node test/bench/flood.ts [--quick]
import { BenchAgent } from "./bench-agent.ts";
import { sized } from "./frame.ts";
import { flood } from "./overload.ts";

const seconds = sized(20, 2);
await using agent = await BenchAgent.start({ hasMaster: false, slots: 5 });
const quiet = await flood(agent, { writers: 0, megabytes: 0, chain: 500 });
const figures = await flood(agent, {
  writers: 4,
  megabytes: 16 * seconds,
  megabytesPerSecond: 16,
  chain: 500,
});
process.stdout.write(`${JSON.stringify({ quiet, flood: figures })}\n`);
if (figures.lostLines !== 0) process.exitCode = 1;
