// What is left of the store's speed while a DAG runs? A task of the run tells where its store is;
// redis-benchmark asks it, and a redis-server beside, while other tasks of the run go on.
// usage: node test/bench/store-busy.ts [--quick]
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { until } from "../rig/until.ts";
import { missing, startRedis } from "../store/rig.ts";
import { allOn, BenchAgent } from "./bench-agent.ts";
import { artifactOf, fanOf, warmUp } from "./documents.ts";
import { sized, tell } from "./frame.ts";
import { askBoth } from "./redis-benchmark.ts";

const reason = missing("redis-benchmark");
if (reason !== false) throw new Error(reason);
await using agent = await BenchAgent.start({ hasMaster: true });
await using redis = await startRedis();

const told = join(agent.folder, "socket");
const enough = join(agent.folder, "enough");
// More than are needed: once it is enough, the rest of them has nothing to do.
const run = agent.run(
  await artifactOf({
    tell: {
      needs: [warmUp],
      shell: `printf %s "$EDGEDAG_STORE" > ${told}.new; mv ${told}.new ${told}`,
    },
    ...fanOf(sized(20_000, 2000), { needs: ["tell"], shell: `[ -e ${enough} ] || sleep 0.02` }),
  }),
);
await until(
  "the run has told where its store is",
  () => existsSync(told),
  (does) => does,
);
const sockets = { ours: readFileSync(told, "utf8"), redis: redis.socketPath };
const note = "; both beside the DAG, tasks of 20 ms, two at a time";
const answers = await askBoth(sockets, { what: "store while its DAG runs", note, on: allOn });
writeFileSync(enough, "");
await run;
rmSync(told);
tell(...answers);
