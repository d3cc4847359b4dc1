// Both SDKs inside warm workers: each call finds its own inputs, and what it sends arrives.
import { Redis } from "ioredis";
import t from "tap";
import { refToCall } from "../../agent/exec/workers/values.ts";
import { resultOf, WorkerRig } from "../exec/worker-rig.ts";
import { noRedis, startRedis } from "../rig/redis.ts";

const sources = {
  python: `
from edgedag import item, log, needs, params, store, task
def use(key):
    log.info("from " + task.key)
    store.incr(key)
    return [needs["a"]["result"], params["p"], item(), task.key, task.attempt]
def give(): return {"deep": [1, 2]}
`,
  node: `
import { item, log, needs, params, store, task } from "edgedag";
export function use({ key }) {
  log.info("from " + task.key);
  store.incr(key);
  return [needs.a.result, params.p, item(), task.key, task.attempt];
}
export const give = () => ({ deep: [1, 2] });
`,
};

t.test("the SDKs in warm workers", { skip: noRedis }, async (t) => {
  const redis = await startRedis();
  t.teardown(() => redis.close());
  const client = new Redis({ path: redis.socketPath });
  const listener = new Redis({ path: redis.socketPath });
  t.teardown(async () => {
    await Promise.all([client.quit(), listener.quit()]);
  });
  const lines: string[] = [];
  await listener.subscribe("edgedag.log");
  listener.on("message", (_channel, text: string) => lines.push(JSON.parse(text).text));
  for (const runtime of ["python", "node"] as const) {
    const retired: string[] = [];
    const rig = await WorkerRig.start(runtime, { onRetire: (reason) => retired.push(reason) });
    const env = { ...rig.env, EDGEDAG_STORE: redis.socketPath };
    const code = sources[runtime];
    const give = rig.start({ code, function: "give", env });
    let last = give.handle;
    const calls = [1, 2, 3].map((n) => {
      const call = rig.start(
        {
          after: true,
          code,
          function: "use",
          env,
          task: `use[${n}]`,
          attempt: n,
          args: { key: runtime },
          inputs: {
            params: { p: n },
            needs: { a: { outcome: "succeeded", result: refToCall(give.handle.id, ["deep", 1]) } },
            item: n * 10,
          },
        },
        last,
      );
      last = call.handle;
      return call;
    });
    for (const [index, call] of calls.entries()) {
      const n = index + 1;
      t.same(resultOf(await call.told), [2, n, n * 10, `use[${n}]`, n], `${runtime} ${n}`);
    }
    t.equal(await client.get(runtime), "3");
    t.same(retired, []);
    await rig.close();
  }
  await client.publish("edgedag.log", '{"text":"end"}');
  while (lines.at(-1) !== "end") await new Promise((resolve) => listener.once("message", resolve));
  t.same(
    lines.slice(0, 6),
    [1, 2, 3, 1, 2, 3].map((n) => `from use[${n}]`),
  );
});
