// What a bad network costs the tasks: `node test/bench/network.ts [tasks] [rounds]`. The inter-task time (p50 and p99, from a
// task's end to the next one's start) of a chain of commands without a master, with one, and with one
// behind a proxy that breaks what goes through. Needs scripts/test-services toxiproxy. Prints JSON.
import { loadavg } from "node:os";
import { noToxiproxy, type Toxic, Toxiproxy } from "../rig/toxiproxy.ts";
import { BenchAgent } from "./bench-agent.ts";
import { artifactOf, chainOf } from "./documents.ts";

const faults: { [name: string]: Toxic } = {
  "black hole": { type: "timeout", attributes: { timeout: 0 } },
  "reset every 5 s": { type: "reset_peer", attributes: { timeout: 5000 } },
  "500 ms": { type: "latency", attributes: { latency: 500, jitter: 200 } },
  "1 kB/s": { type: "bandwidth", attributes: { rate: 1 } },
};

if (noToxiproxy !== false) throw new Error(noToxiproxy);
const count = Number(process.argv[2] ?? 300);
const rounds = Number(process.argv[3] ?? 5);
const artifact = await artifactOf(
  chainOf(count, (before) => ({ needs: [before], command: ["/bin/echo", "one line of output"] })),
);

async function measure(agent: BenchAgent): Promise<{ p50Ms: number; p99Ms: number }> {
  const [p50, p99]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    const { summary } = await agent.run(artifact);
    p50.push(summary.interTaskP50Ms ?? Number.NaN);
    p99.push(summary.interTaskP99Ms ?? Number.NaN);
  }
  return { p50Ms: median(p50), p99Ms: median(p99) };
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

const figures: { [name: string]: { p50Ms: number; p99Ms: number } } = {};
for (const hasMaster of [false, true]) {
  await using agent = await BenchAgent.start({ hasMaster });
  await measure(agent);
  figures[hasMaster ? "master" : "no master"] = await measure(agent);
}
for (const [name, toxic] of Object.entries(faults)) {
  await using stack = new AsyncDisposableStack();
  const proxies: Toxiproxy[] = [];
  const agent = stack.use(
    await BenchAgent.start({
      hasMaster: true,
      via: async (url) => {
        const proxy = stack.use(await Toxiproxy.start(Number(new URL(url).port)));
        proxies.push(proxy);
        return `http://127.0.0.1:${proxy.port}`;
      },
    }),
  );
  agent.waitsForMaster = false;
  await proxies[0]?.poison(toxic);
  await agent.run(artifact);
  figures[name] = await measure(agent);
}
process.stdout.write(
  `${JSON.stringify({ count, rounds, load: loadavg()[0], figures }, null, 2)}\n`,
);
