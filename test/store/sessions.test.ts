// Many clients at once: races, slow readers, and clients that do what no client should.

import { readdirSync } from "node:fs";
import { connect } from "node:net";
import t from "tap";
import { encode, mebibyte, PlainClient, startStore, until } from "./rig.ts";

t.test("WATCH makes every increment of racing clients count once", async (t) => {
  await using store = await startStore();
  const clients = await Promise.all(
    Array.from({ length: 8 }, () => PlainClient.connect(store.socketPath)),
  );
  let aborted = 0;
  const increment = async (client: PlainClient) => {
    for (let done = 0; done < 25; ) {
      await client.call("WATCH", "n");
      const value = Number(JSON.parse((await client.call("GET", "n")).replace("nil", '"0"')));
      await client.call("MULTI");
      await client.call("SET", "n", String(value + 1));
      if ((await client.call("EXEC")) === "*nil") aborted++;
      else done++;
    }
  };
  await Promise.all(clients.map(increment));
  t.equal(await clients[0]?.call("GET", "n"), '"200"');
  t.ok(aborted > 0, `${aborted} transactions met a change and were refused`);
  for (const client of clients) await client[Symbol.asyncDispose]();
});

t.test("those who wait are served in order, and one who has left is passed over", async (t) => {
  await using store = await startStore();
  await using pusher = await PlainClient.connect(store.socketPath);
  const blocked = (count: number) =>
    until(`${count} blocked`, async () =>
      (await pusher.call("INFO", "clients")).includes(`blocked_clients:${count}\\r`),
    );
  const waiting: PlainClient[] = [];
  for (let n = 0; n < 6; n++) {
    const client = await PlainClient.connect(store.socketPath);
    client.send("BLPOP", "q", "0");
    waiting.push(client);
    await blocked(n + 1);
  }
  const [first, gone, second, halfClosed, third, fourth] = waiting;
  await gone?.[Symbol.asyncDispose]();
  halfClosed?.socket.end();
  await blocked(4);
  t.equal(await pusher.call("RPUSH", "q", "1", "2", "3"), ":3");
  t.equal(await first?.reply(), '["q" "1"]');
  t.equal(await second?.reply(), '["q" "2"]');
  t.equal(await third?.reply(), '["q" "3"]');
  fourth?.send("GET", "sent ahead");
  await pusher.call("RPUSH", "q", "4");
  t.equal(await fourth?.reply(), '["q" "4"]');
  t.equal(await fourth?.reply(), "nil", "what was sent ahead is carried out after the wait");
  t.equal(await pusher.call("EXISTS", "q"), ":0");
  for (const client of waiting) await client[Symbol.asyncDispose]();
});

t.test("a subscriber that does not read is disconnected, others are not", async (t) => {
  await using store = await startStore();
  await using slow = await PlainClient.connect(store.socketPath);
  await using good = await PlainClient.connect(store.socketPath);
  await using publisher = await PlainClient.connect(store.socketPath);
  await slow.call("SUBSCRIBE", "c");
  await good.call("SUBSCRIBE", "c");
  slow.socket.pause();
  const message = "x".repeat(mebibyte);
  let receivers = 2;
  for (let sent = 0; sent < 50 && receivers === 2; sent++) {
    receivers = Number((await publisher.call("PUBLISH", "c", message)).slice(1));
    await good.reply();
  }
  t.equal(await publisher.call("PUBSUB", "NUMSUB", "c"), '["c" :1]');
  slow.socket.resume();
  await slow.closed();
  t.pass("the slow one was disconnected");
});

t.test("a client that does not read its replies is held, and gets all of them later", async (t) => {
  await using store = await startStore();
  await using lazy = await PlainClient.connect(store.socketPath);
  await using other = await PlainClient.connect(store.socketPath);
  const value = "v".repeat(mebibyte);
  await other.call("SET", "big", value);
  lazy.socket.pause();
  const count = 100;
  lazy.write(encode(["GET", "big"]).repeat(count));
  const omem = async () =>
    Number(/id=1 .*?omem=(\d+)/.exec(await other.call("CLIENT", "LIST"))?.[1]);
  await until("replies pile up", async () => (await omem()) > 0);
  for (let n = 0; n < 100; n++) await other.call("PING");
  t.ok((await omem()) < 4 * mebibyte, "the store holds a few replies, not a hundred");
  lazy.socket.resume();
  for (let n = 0; n < count; n++) if ((await lazy.reply()).length !== value.length + 2) t.fail();
  t.pass("all replies came");
});

t.test("abuse leaves memory and descriptors as they were", async (t) => {
  await using store = await startStore();
  await using good = await PlainClient.connect(store.socketPath);
  const fds = () => readdirSync("/proc/self/fd").length;
  const clients = async () => /connected_clients:(\d+)/.exec(await good.call("INFO"))?.[1];
  const abuse = async (text: string) => {
    const client = connect(store.socketPath);
    client.on("error", () => {});
    const closed = new Promise((resolve) => client.once("close", resolve));
    client.end(text, "latin1");
    client.resume();
    await closed;
  };
  await abuse("*1\r\n");
  // The client may be closed before the store has closed its end.
  await until("the first one gone", async () => (await clients()) === "1");
  const fdsBefore = fds();
  const before = process.memoryUsage().rss;
  for (let round = 0; round < 40; round++) {
    await Promise.all([
      abuse("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870911\r\nxxxx"),
      abuse("*1\r\n$60000000\r\n"),
      abuse("*1048576\r\n$1\r\n"),
      abuse(`*1\r\n$${"1".repeat(30_000)}`),
      abuse("x".repeat(100_000)),
      abuse(encode(["SET", "k", "v"]).slice(0, -3)),
      abuse(`${encode(["MULTI"])}${encode(["SET", "k", "v"]).repeat(100)}`),
      abuse(`${encode(["WATCH", "k"])}${encode(["SUBSCRIBE", "c"])}${encode(["PSUBSCRIBE", "p"])}`),
      abuse(encode(["BLPOP", "never", "0"])),
      abuse("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
      ...Array.from({ length: 40 }, () => abuse("")),
    ]);
  }
  await until("all gone", async () => (await clients()) === "1");
  await until("fds back", () => fds() <= fdsBefore);
  t.equal(await good.call("PUBSUB", "NUMSUB", "c"), '["c" :0]');
  t.equal(await good.call("PUBSUB", "NUMPAT"), ":0");
  t.match(await good.call("INFO", "clients"), /blocked_clients:0/);
  t.equal(await good.call("DBSIZE"), ":0");
  const grown = process.memoryUsage().rss - before;
  t.ok(grown < 120 * mebibyte, `2,000 connections later: ${Math.round(grown / mebibyte)} MiB more`);
});

t.test("a transaction that queues without end is cut off", async (t) => {
  await using store = await startStore(2 * mebibyte);
  await using client = await PlainClient.connect(store.socketPath);
  client.send("MULTI");
  const queued = encode(["GET", "x".repeat(500_000)]);
  for (let n = 0; n < 10; n++) client.write(queued);
  await client.closed();
  t.pass("disconnected");
});

t.test("a reply that no string can hold ends that client only", async (t) => {
  await using store = await startStore();
  await using good = await PlainClient.connect(store.socketPath);
  await using greedy = await PlainClient.connect(store.socketPath);
  await good.call("SADD", "s", "x".repeat(mebibyte));
  greedy.send("SRANDMEMBER", "s", "-1000000");
  await greedy.closed();
  await using many = await PlainClient.connect(store.socketPath);
  many.send("MULTI");
  for (let n = 0; n < 600; n++) many.send("SMEMBERS", "s");
  many.send("EXEC");
  await many.closed();
  t.equal(await good.call("PING"), "+PONG");
});
