// How many GET and SET a second: our store beside redis-server, on this machine, in the same run.
// redis-benchmark over a Unix socket, 1 and 50 clients, alone and with 16 in a pipeline. The two
// take turns, so that a busy moment of the machine meets both; the median of the rounds counts.
// Usage: node test/bench/store.ts [rounds]    prints a table and, last, one line of JSON.

import { execFile } from "node:child_process";
import { loadavg } from "node:os";
import { promisify } from "node:util";
import { missing, startRedis, startStore } from "../store/rig.ts";

const exec = promisify(execFile);
const reason = missing("redis-benchmark");
if (reason !== false) {
  console.error(reason);
  process.exit(69);
}
const rounds = Number(process.argv[2] ?? "3");
const shapes = [
  { clients: 1, pipeline: 1, requests: 40_000 },
  { clients: 50, pipeline: 1, requests: 100_000 },
  { clients: 1, pipeline: 16, requests: 300_000 },
  { clients: 50, pipeline: 16, requests: 500_000 },
];

await using ours = await startStore();
await using redis = await startRedis();

async function measure(socketPath: string, shape: (typeof shapes)[number]) {
  const { clients, pipeline, requests } = shape;
  const counts = ["-c", `${clients}`, "-P", `${pipeline}`, "-n", `${requests}`];
  const args = ["-s", socketPath, "-t", "get,set", "--csv", ...counts];
  const { stdout } = await exec("redis-benchmark", args);
  const rate = (name: string) => Number(new RegExp(`"${name}","([0-9.]+)"`).exec(stdout)?.[1]);
  return { SET: rate("SET"), GET: rate("GET") };
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

// Both warm up: a first round would measure the compiler of V8, and the first faults of memory.
for (const server of [ours, redis]) {
  await measure(server.socketPath, { clients: 20, pipeline: 16, requests: 300_000 });
}

console.log("clients  pipeline  command      ours/s     redis/s  ratio");
const results = [];
for (const shape of shapes) {
  const samples = { ours: { SET: [], GET: [] }, redis: { SET: [], GET: [] } } as Record<
    "ours" | "redis",
    Record<"SET" | "GET", number[]>
  >;
  for (let round = 0; round < rounds; round++) {
    for (const [name, server] of [["ours", ours] as const, ["redis", redis] as const]) {
      const rates = await measure(server.socketPath, shape);
      samples[name].SET.push(rates.SET);
      samples[name].GET.push(rates.GET);
    }
  }
  for (const command of ["SET", "GET"] as const) {
    const [a, b] = [median(samples.ours[command]), median(samples.redis[command])];
    results.push({ ...shape, command, ours: a, redis: b, ratio: Number((a / b).toFixed(2)) });
    console.log(
      `${String(shape.clients).padStart(7)}${String(shape.pipeline).padStart(10)}  ${command}` +
        `${a.toFixed(0).padStart(15)}${b.toFixed(0).padStart(12)}${(a / b).toFixed(2).padStart(7)}`,
    );
  }
}
console.log(JSON.stringify({ rounds, load: loadavg()[0], results }));
