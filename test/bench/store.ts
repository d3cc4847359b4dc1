// How many GET and SET a second: our store beside redis-server, on this machine, in the same run.
// redis-benchmark over a Unix socket, 1 and 50 clients, alone and with 16 in a pipeline.
// usage: node test/bench/store.ts [--quick]
import { missing, startRedis, startStore } from "../store/rig.ts";
import { tell } from "./frame.ts";
import { askBoth } from "./redis-benchmark.ts";

const reason = missing("redis-benchmark");
if (reason !== false) throw new Error(reason);
await using ours = await startStore();
await using redis = await startRedis();
tell(...(await askBoth({ ours: ours.socketPath, redis: redis.socketPath }, { what: "store" })));
