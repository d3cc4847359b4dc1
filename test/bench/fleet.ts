// How many nodes one master carries: `node test/bench/fleet.ts [nodes] [seconds]`, 1,000 and 60 unless said. The
// master is a process of its own, the nodes are simulated here and speak the real protocol: heartbeats
// every 10 s, a run of one task each in two rounds. Prints JSON: latencies, memory, CPU of the master.
import { mkdtemp, rm } from "node:fs/promises";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { setTimeout as delay } from "node:timers/promises";
import { SimulatedFleet } from "../network/simulated-fleet.ts";
import { BenchMaster } from "./bench-master.ts";
import { figuresOf } from "./process-figures.ts";

const nodes = Number(process.argv[2] ?? 1000);
const seconds = Number(process.argv[3] ?? 60);
const dataDir = await mkdtemp(join(tmpdir(), "edgedag-fleet-"));
const master = await BenchMaster.start(dataDir);
const fleet = new SimulatedFleet(master.url);
const emptyMiB = figuresOf(master.pid).pssBytes / 2 ** 20;
const since = performance.now();
await fleet.join(nodes);
const joinMs = performance.now() - since;
fleet.forget();
const before = figuresOf(master.pid);
const workMs: number[] = [];
const end = performance.now() + seconds * 1000;
for (let round = 0; round < 2; round++) {
  const at = performance.now();
  await fleet.work();
  workMs.push(performance.now() - at);
}
await delay(Math.max(0, end - performance.now()));
const after = figuresOf(master.pid);
const view = await (await fetch(`${master.url}/api/nodes`)).json();
const alive = (view as { nodes: { state: string }[] }).nodes.filter((n) => n.state === "alive");
process.stdout.write(
  `${JSON.stringify(
    {
      ...fleet.figures(),
      alive: alive.length,
      joinMs,
      workMs,
      emptyMiB,
      masterMiB: after.pssBytes / 2 ** 20,
      masterCpuShare: (after.cpuMs - before.cpuMs) / (seconds * 1000),
      load: loadavg()[0],
    },
    (_, value) => (typeof value === "number" ? Math.round(value * 100) / 100 : value),
    2,
  )}\n`,
);
await fleet.leave();
await master.stop();
await rm(dataDir, { recursive: true, force: true });
