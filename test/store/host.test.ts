// The agent's side: opening, publishing both ways, quota, expiry, and the ends of things.

import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import t from "tap";
import { StoreHost, StoreOpenError } from "../../agent/store/store-host.ts";
import { mebibyte, PlainClient, startStore, until } from "./rig.ts";

t.test("clients can connect as soon as open resolves, and keyspaces are apart", async (t) => {
  await using store = await startStore();
  const socketPath = join(dirname(store.socketPath), "other.sock");
  const other = await store.host.open("other", {
    socketPath,
    quotaBytes: mebibyte,
    onPublish() {},
  });
  await using a = await PlainClient.connect(store.socketPath);
  await using b = await PlainClient.connect(socketPath);
  t.equal(await a.call("SET", "k", "v"), "+OK");
  t.equal(await b.call("GET", "k"), "nil");
  await other.close();
  t.equal(existsSync(socketPath), false, "the socket file goes with the keyspace");
  await b.closed();
  t.equal(await a.call("GET", "k"), '"v"', "the other keyspace goes on");
});

t.test("every publication of a task reaches the agent, in order, as it was", async (t) => {
  await using store = await startStore();
  await using client = await PlainClient.connect(store.socketPath);
  const utf8 = (text: string) => Buffer.from(text).toString("latin1");
  client.send("PUBLISH", "edgedag.log", '{"text":"hello"}');
  client.send("PUBLISH", utf8("kanal.ü"), utf8("grün ✓"));
  client.send("PUBLISH", "bytes", "\xff\x00\xfe");
  client.send("MULTI");
  client.send("PUBLISH", "in", "transaction");
  client.send("EXEC");
  await until("all came", () => store.published.length === 4);
  t.strictSame(store.published.slice(0, 2), [
    { channel: "edgedag.log", message: '{"text":"hello"}' },
    { channel: "kanal.ü", message: "grün ✓" },
  ]);
  t.strictSame(store.published[2]?.message, Buffer.from([0xff, 0, 0xfe]));
  t.equal(store.published[3]?.message, "transaction");
});

t.test("publications of the agent reach subscribers and patterns, not the agent", async (t) => {
  await using store = await startStore();
  await using client = await PlainClient.connect(store.socketPath);
  store.run.publish("task.a.started", "before anyone listens");
  t.equal(
    await client.call("PSUBSCRIBE", "task.*.succeeded"),
    '["psubscribe" "task.*.succeeded" :1]',
  );
  store.run.publish("task.a.started", "not asked for");
  store.run.publish("task.a.succeeded", "grün");
  const grün = JSON.stringify(Buffer.from("grün").toString("latin1"));
  t.equal(await client.reply(), `["pmessage" "task.*.succeeded" "task.a.succeeded" ${grün}]`);
  t.strictSame(store.published, []);
});

t.test("a flood of publications arrives whole and is held back, not piled up", async (t) => {
  await using store = await startStore();
  await using client = await PlainClient.connect(store.socketPath);
  const message = "x".repeat(1000);
  const count = 30_000;
  for (let sent = 0; sent < count; sent++) client.send("PUBLISH", "flood", message);
  for (let got = 0; got < count; got++) await client.reply();
  await until("all came", () => store.published.length === count);
  t.pass("30 MB came through a window of 8 MB");
});

t.test("a socket that cannot be had is a StoreOpenError", async (t) => {
  await using store = await startStore();
  const options = { quotaBytes: mebibyte, onPublish() {} };
  const refused = async (socketPath: string) =>
    store.host.open("bad", { ...options, socketPath }).catch((error: unknown) => error);
  for (const [socketPath, code] of [
    [store.socketPath, "EADDRINUSE"],
    [join(dirname(store.socketPath), "no/such/folder.sock"), "EACCES"],
    [`/tmp/${"x".repeat(110)}`, "ENAMETOOLONG"],
  ] as const) {
    const error = await refused(socketPath);
    t.ok(error instanceof StoreOpenError);
    t.match(error, { code, socketPath });
  }
});

t.test("a host that never opened a keyspace has no thread to end", async (t) => {
  const host = await StoreHost.start();
  await host.close();
  const options = { socketPath: "/tmp/x", quotaBytes: 1, onPublish() {} };
  await t.rejects(host.open("late", options), { code: "ECANCELED" });
});

t.test(
  "a write above the quota is refused, and room comes back with what is removed",
  async (t) => {
    await using store = await startStore(mebibyte);
    await using client = await PlainClient.connect(store.socketPath);
    const oom = "-OOM command not allowed when used memory > 'maxmemory'.";
    const value = "x".repeat(200_000);
    let stored = 0;
    while ((await client.call("SET", `k${stored}`, value)) === "+OK") stored++;
    t.equal(stored, 5, "1 MiB holds five of 200 kB");
    t.equal(await client.call("RPUSH", "l", value), oom);
    t.equal(await client.call("SETRANGE", "pad", "900000", "x"), oom);
    t.equal(await client.call("COPY", "k0", "copy"), oom);
    t.equal(await client.call("GET", "k0"), JSON.stringify(value), "reading goes on");
    t.equal(await client.call("SET", "k0", value), "+OK", "a value may be replaced");
    t.equal(await client.call("MULTI"), "+OK");
    t.equal(await client.call("SET", "more", value), oom);
    t.match(await client.call("EXEC"), /^-EXECABORT/);
    t.equal(await client.call("DEL", "k0", "k1"), ":2");
    t.equal(await client.call("SET", "k0", value), "+OK");
    t.equal(await client.call("FLUSHALL"), "+OK");
    t.match(await client.call("INFO", "memory"), /used_memory:0\\r/, "the account is even");
  },
);

t.test("the account is even after every kind of value is gone", async (t) => {
  await using store = await startStore();
  await using client = await PlainClient.connect(store.socketPath);
  for (const line of [
    "MSET a 1 b 2|APPEND a xxx|SETRANGE b 10 y|HSET h f 1 g 2|HINCRBY h f 100000|HDEL h g",
    "RPUSH l a b c d e f g h i j|LSET l 0 zz|LREM l 1 b|LINSERT l BEFORE c x|LTRIM l 1 5|LMOVE l m LEFT LEFT",
    "SADD s a b c|SMOVE s t a|SUNIONSTORE u s t|SPOP u|COPY s v|COPY h w|COPY l x|RENAME s y",
    "EXPIRE y 100|SET y over|GETDEL a|DEL b h l m t u v w x y",
  ].flatMap((lines) => lines.split("|"))) {
    t.notMatch(await client.call(...line.split(" ")), /^-/, line);
  }
  t.equal(await client.call("DBSIZE"), ":0");
  t.match(await client.call("INFO", "memory"), /used_memory:0\\r/);
});

t.test("a key that is due goes by itself, also when nobody asks for it", async (t) => {
  await using store = await startStore();
  await using client = await PlainClient.connect(store.socketPath);
  for (let n = 0; n < 100; n++) await client.call("SET", `k${n}`, "v", "PX", String(20 + n));
  await client.call("SET", "stays", "v", "EX", "1000");
  await until("swept", async () => (await client.call("DBSIZE")) === ":1");
  t.equal(await client.call("SET", "short", "v", "PX", "1"), "+OK");
  await until("expired", async () => (await client.call("GET", "short")) === "nil");
  t.equal(await client.call("TTL", "stays"), ":1000");
});
