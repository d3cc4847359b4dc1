// What is left of the store's speed while a DAG runs? A task of the run tells where its store is;
// redis-benchmark asks it, and a redis-server beside, while other tasks of the run go on.
// usage: node test/bench/store-busy.ts [--quick]
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { until } from "../rig/until.ts";
import { missing, startRedis } from "../store/rig.ts";
import { allOn, BenchAgent } from "./bench-agent.ts";
import { artifactOf, fanOf } from "./documents.ts";
import { type Answer, ask, sized, tell } from "./frame.ts";
import { perSecond } from "./redis-benchmark.ts";

const reason = missing("redis-benchmark");
if (reason !== false) throw new Error(reason);

const shapes = [
  { clients: 1, pipeline: 1, requests: 10_000, goal: 0.95 },
  { clients: 50, pipeline: 1, requests: 50_000, goal: 0.95 },
  { clients: 50, pipeline: 16, requests: 400_000, goal: 0.6 },
];

await using agent = await BenchAgent.start({ hasMaster: true });
await using redis = await startRedis();

const told = join(agent.folder, "socket");
const enough = join(agent.folder, "enough");
// More than are needed: once it is enough, the rest of them has nothing to do.
const tasks = {
  tell: {
    needs: ["first"],
    shell: `printf %s "$EDGEDAG_STORE" > ${told}.new; mv ${told}.new ${told}`,
  },
  ...fanOf(sized(20_000, 2000), { needs: ["tell"], shell: `[ -e ${enough} ] || sleep 0.02` }),
};
const run = agent.run(await artifactOf(tasks));
await until(
  "the run has told where its store is",
  () => existsSync(told),
  (does) => does,
);
const socket = readFileSync(told, "utf8");

for (const path of [socket, redis.socketPath]) {
  for (const command of ["set", "get"] as const) {
    await perSecond(path, { clients: 20, pipeline: 16, requests: sized(200_000, 20_000), command });
  }
}
const answers: Answer[] = [];
for (const { goal, ...shape } of shapes) {
  for (const command of ["set", "get"] as const) {
    const load = { ...shape, requests: sized(shape.requests, shape.requests / 10), command };
    const of = `${shape.clients} ${shape.clients === 1 ? "client" : "clients"}`;
    const answer = await ask({
      question: `store while its DAG runs: ${command.toUpperCase()}, ${of}, pipeline of ${shape.pipeline}`,
      unit: "a second",
      better: "more",
      on: allOn,
      rounds: sized(5, 1),
      warmUps: 0,
      contenders: [
        { name: "edgedag", isOurs: true, round: () => perSecond(socket, load) },
        {
          name: "redis-server, beside the same DAG",
          round: () => perSecond(redis.socketPath, load),
        },
      ],
    });
    answer.notes.push(`goal: ${goal * 100} % of redis-server; tasks of 20 ms, two at a time`);
    answers.push(answer);
  }
}
writeFileSync(enough, "");
await run;
rmSync(told);
tell(...answers);
