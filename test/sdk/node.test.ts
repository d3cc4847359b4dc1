// The Node.js SDK against the golden frames that every SDK must make, and against a real server.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import {
  artifact,
  events,
  item,
  log,
  needs,
  OutsideOfRun,
  params,
  progress,
  StoreError,
  store,
  task,
  WaitTimeout,
} from "../../sdk/node/index.js";
import { noRedis, startRedis } from "../rig/redis.ts";

interface Row {
  call: string;
  args: unknown[];
  options: object;
  wire: string;
  reply: string;
  value: unknown;
}

const fixture = join(import.meta.dirname, "..", "fixtures", "wire", "resp-sdk.ndjson");
const rows = readFileSync(fixture, "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as Row); // our own file

function setEnvironment(values: Record<string, string>): () => void {
  Object.assign(process.env, values);
  return () => {
    for (const name of Object.keys(values)) delete process.env[name];
  };
}

t.test("golden frames", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "edgedag-g-"));
  const socketPath = join(folder, "s.sock");
  const seen: string[] = [];
  const server = createServer((socket) => {
    let got = "";
    socket.setEncoding("utf8").on("data", (text: string) => {
      got += text;
      const row = rows[seen.length];
      if (row === undefined || got.length < row.wire.length) return;
      seen.push(got);
      got = "";
      // In two pieces: a reply may be cut anywhere.
      socket.write(row.reply.slice(0, 3));
      setImmediate(() => socket.write(row.reply.slice(3)));
    });
  });
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  const restore = setEnvironment({ EDGEDAG_STORE: socketPath });
  t.teardown(() => {
    restore();
    server.close();
    rmSync(folder, { recursive: true });
  });
  for (const row of rows) {
    const call: unknown = Reflect.get(store, row.call);
    if (typeof call !== "function") throw new Error(`no ${row.call}`);
    const options = Object.keys(row.options).length === 0 ? [] : [row.options];
    const value: unknown = await Promise.resolve(call(...row.args, ...options)).catch(
      (error: unknown) => {
        if (!(error instanceof StoreError)) throw error;
        return { $error: error.message };
      },
    );
    const plain = value instanceof Set ? [...value] : (value ?? null);
    t.same(plain, row.value, row.call);
  }
  t.same(
    seen,
    rows.map((row) => row.wire),
  );
});

t.test("outside of a run every use says what is missing", async (t) => {
  await t.rejects(store.get("x"), OutsideOfRun);
  await t.rejects(log.info("x"), /outside of edgedag/);
  t.throws(() => needs.a, OutsideOfRun);
});

t.test("with a real server", { skip: noRedis }, async (t) => {
  const redis = await startRedis();
  const restore = setEnvironment({
    EDGEDAG_STORE: redis.socketPath,
    EDGEDAG_RUN: "r",
    EDGEDAG_TASK: "t[1]",
    EDGEDAG_ATTEMPT: "2",
    EDGEDAG_INPUTS: JSON.stringify({
      params: { p: 1 },
      needs: { a: { outcome: "succeeded", result: [3] } },
      item: 9,
    }),
  });
  t.teardown(async () => {
    restore();
    await redis.close();
  });
  await Promise.all(Array.from({ length: 100 }, () => store.incr("n")));
  t.equal(await store.get("n"), "100");
  await store.setJson("j", { é: [null, 1.5] }, { ttl: 60 });
  t.same(await store.getJson("j"), { é: [null, 1.5] });
  t.equal(await store.blpop("none", 0.01), null);
  await t.rejects(store.execute("NOSUCHCOMMAND"), StoreError);
  t.same(needs.a?.result, [3]);
  t.same(Object.keys(params), ["p"]);
  t.same([item(), task.key, task.attempt, task.run], [9, "t[1]", 2, "r"]);

  const channels = ["x", "edgedag.log", "edgedag.progress", "edgedag.artifact"];
  const subscription = events.subscribe(...channels);
  await subscription.ready;
  t.equal(await events.publish("x", { a: 1 }), 1);
  await log.warn("careful", { file: "a.csv" });
  await progress(0.5, "half");
  await artifact(fixture, "me");
  const found: Record<string, unknown> = {};
  for await (const event of subscription) {
    found[event.channel] = event.data;
    if (Object.keys(found).length === channels.length) break;
  }
  const who = { task: "t[1]", attempt: 2 };
  t.same(found, {
    x: { a: 1 },
    "edgedag.log": { ...who, level: "warn", text: "careful", fields: { file: "a.csv" } },
    "edgedag.progress": { ...who, fraction: 0.5, text: "half" },
    "edgedag.artifact": { ...who, name: "me", path: fixture },
  });
  await t.rejects(events.wait("never", { timeoutMs: 20 }), WaitTimeout);
});
