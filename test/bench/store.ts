// How many GET and SET a second: our store beside redis-server, on this machine, in the same run.
// redis-benchmark over a Unix socket, 1 and 50 clients, alone and with 16 in a pipeline.
// usage: node test/bench/store.ts [--quick]
import { missing, startRedis, startStore } from "../store/rig.ts";
import { type Answer, ask, sized, tell } from "./frame.ts";
import { perSecond } from "./redis-benchmark.ts";

const reason = missing("redis-benchmark");
if (reason !== false) throw new Error(reason);

// Enough of each for a quarter of a second or more.
const shapes = [
  { clients: 1, pipeline: 1, requests: 10_000, goal: 0.95 },
  { clients: 50, pipeline: 1, requests: 50_000, goal: 0.95 },
  { clients: 1, pipeline: 16, requests: 150_000, goal: 0.6 },
  { clients: 50, pipeline: 16, requests: 400_000, goal: 0.6 },
];

await using ours = await startStore();
await using redis = await startRedis();

// Both warm up: a first round would measure the compiler of V8, and the first faults of memory.
for (const server of [ours, redis]) {
  for (const command of ["set", "get"] as const) {
    const requests = sized(200_000, 20_000);
    await perSecond(server.socketPath, { clients: 20, pipeline: 16, requests, command });
  }
}

const answers: Answer[] = [];
for (const { goal, ...shape } of shapes) {
  for (const command of ["set", "get"] as const) {
    const load = { ...shape, requests: sized(shape.requests, shape.requests / 10), command };
    const of = `${shape.clients} ${shape.clients === 1 ? "client" : "clients"}`;
    const answer = await ask({
      question: `store: ${command.toUpperCase()}, ${of}, pipeline of ${shape.pipeline}`,
      unit: "a second",
      better: "more",
      rounds: sized(5, 1),
      warmUps: 0,
      contenders: [
        { name: "edgedag", isOurs: true, round: () => perSecond(ours.socketPath, load) },
        { name: "redis-server", round: () => perSecond(redis.socketPath, load) },
      ],
    });
    answer.notes.push(`goal: ${goal * 100} % of redis-server`);
    answers.push(answer);
  }
}
tell(...answers);
