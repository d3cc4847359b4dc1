// Clients that people use, unchanged, over the Unix socket: redis-cli, redis-benchmark, Python's
// redis, ioredis and redis of npm, in RESP2 and RESP3.

import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { Redis } from "ioredis";
import { createClient } from "redis";
import t from "tap";
import { missing, pythonWithRedis, startStore } from "./rig.ts";

const exec = promisify(execFile);

t.test("redis-cli", { skip: missing("redis-cli") }, async (t) => {
  await using store = await startStore();
  const cli = async (...args: string[]) =>
    (await exec("redis-cli", ["-s", store.socketPath, ...args])).stdout.trim();
  t.equal(await cli("SET", "k", "v"), "OK");
  t.equal(await cli("GET", "k"), "v");
  t.equal(await cli("-3", "HSET", "h", "f", "v"), "1");
  t.equal(await cli("-3", "HGETALL", "h"), "f v");
  t.equal(await cli("NOSUCH"), "ERR unknown command 'NOSUCH', with args beginning with:");
  t.match(await cli("INFO", "server"), /redis_version:7/);
  t.equal(await cli("--scan", "--pattern", "h*"), "h");
});

t.test("redis-benchmark", { skip: missing("redis-benchmark") }, async (t) => {
  await using store = await startStore();
  const tests = "ping,set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,lrange,mset";
  const args = ["-s", store.socketPath, "-t", tests, "-n", "2000", "-P", "8", "-q"];
  const { stdout, stderr } = await exec("redis-benchmark", args);
  t.equal(stderr.trim(), "");
  for (const name of [
    "PING_INLINE",
    "PING_MBULK",
    "SET",
    "GET",
    "LPUSH",
    "HSET",
    "LRANGE_600",
    "MSET",
  ]) {
    t.match(stdout, new RegExp(`${name}.*requests per second`), name);
  }
});

const python = pythonWithRedis();
const program = `
import sys, threading, redis
for protocol in (2, 3):
    r = redis.Redis(unix_socket_path=sys.argv[1], decode_responses=True, protocol=protocol)
    r.flushall()
    assert r.ping() and r.set("k", "grün", ex=100) and r.get("k") == "grün" and r.ttl("k") == 100
    assert r.incrby("n", 5) == 5 and r.incrbyfloat("f", 0.5) == 0.5
    r.hset("h", mapping={"a": 1, "b": 2})
    assert r.hgetall("h") == {"a": "1", "b": "2"} and dict(r.hscan_iter("h")) == {"a": "1", "b": "2"}
    r.rpush("l", *range(5))
    assert r.lrange("l", 0, -1) == list("01234") and r.lpop("l", 2) == ["0", "1"]
    r.sadd("s", "x", "y")
    assert r.smembers("s") == {"x", "y"} and set(r.sscan_iter("s")) == {"x", "y"}
    for i in range(500): r.set(f"scan:{i}", i)
    assert len(set(r.scan_iter("scan:*"))) == 500 and r.info()["redis_version"]
    with r.pipeline() as p:
        p.watch("n"); value = int(p.get("n")); p.multi(); p.set("n", value + 1); p.get("n")
        assert p.execute() == [True, "6"]
    with r.pipeline() as p:
        p.watch("n"); r.incr("n"); p.multi(); p.get("n")
        try: p.execute(); raise SystemExit("no WatchError")
        except redis.WatchError: pass
    try: r.lpush("k", 1); raise SystemExit("no error")
    except redis.ResponseError as e: assert "WRONGTYPE" in str(e)
    assert r.blpop("l", 1) == (["l", "2"] if protocol == 3 else ("l", "2"))
    assert r.blpop("none", 0.01) is None
    s = r.pubsub(ignore_subscribe_messages=True)
    s.subscribe("c"); s.psubscribe("p*")
    while r.pubsub_numsub("c")[0][1] == 0 or r.pubsub_numpat() == 0: s.get_message(timeout=1)
    r.publish("c", "one"); r.publish("p1", "two")
    got = []
    while len(got) < 2:
        m = s.get_message(timeout=5)
        if m: got.append((m["type"], m["data"]))
    assert got == [("message", "one"), ("pmessage", "two")], got
    lock = r.lock("lock", timeout=5)
    s.close()
    b = redis.Redis(unix_socket_path=sys.argv[1], protocol=protocol)
    data = bytes(range(256)) * 8192
    b.set("bin", data)
    assert b.get("bin") == data
print("ok")
`;

t.test("Python's redis", { skip: "reason" in python ? python.reason : false }, async (t) => {
  if ("reason" in python) return;
  await using store = await startStore();
  const { stdout } = await exec(python.path, ["-c", program, store.socketPath]);
  t.equal(stdout.trim(), "ok");
});

t.test("ioredis", async (t) => {
  await using store = await startStore();
  const redis = new Redis(store.socketPath);
  const subscriber = new Redis(store.socketPath);
  t.equal(await redis.set("k", "grün", "PX", 100_000), "OK");
  t.equal(await redis.get("k"), "grün");
  await redis.hset("h", { a: 1, b: 2 });
  t.strictSame(await redis.hgetall("h"), { a: "1", b: "2" });
  const data = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
  await redis.set("bin", data);
  t.strictSame(await redis.getBuffer("bin"), data);
  t.strictSame(await redis.multi().incr("n").incr("n").exec(), [
    [null, 1],
    [null, 2],
  ]);
  const message = new Promise((resolve) => subscriber.once("message", (...args) => resolve(args)));
  await subscriber.subscribe("c");
  await redis.publish("c", "hello");
  t.strictSame(await message, ["c", "hello"]);
  const pusher = new Redis(store.socketPath);
  const popped = redis.blpop("q", 5);
  await pusher.rpush("q", "v");
  t.strictSame(await popped, ["q", "v"]);
  pusher.disconnect();
  const keys: string[] = [];
  for await (const batch of redis.scanStream({ match: "*", count: 2 })) keys.push(...batch);
  t.strictSame(keys.sort(), ["bin", "h", "k", "n"]);
  await t.rejects(redis.call("NOSUCH", "x"), /unknown command 'NOSUCH'/);
  redis.disconnect();
  subscriber.disconnect();
});

for (const RESP of [2, 3] as const) {
  t.test(`redis of npm with RESP${RESP}`, async (t) => {
    await using store = await startStore();
    const client = createClient({ RESP, socket: { path: store.socketPath, tls: false } });
    await client.connect();
    const subscriber = client.duplicate();
    await subscriber.connect();
    t.equal(await client.set("k", "grün", { EX: 100 }), "OK");
    t.equal(await client.get("k"), "grün");
    await client.hSet("h", { a: "1", b: "2" });
    t.same({ ...(await client.hGetAll("h")) }, { a: "1", b: "2" });
    await client.sAdd("s", ["x", "y"]);
    t.same([...(await client.sMembers("s"))].sort(), ["x", "y"]);
    t.strictSame(await client.multi().incr("n").get("n").exec(), [1, "1"]);
    const message = Promise.withResolvers<string>();
    await subscriber.subscribe("c", (text) => message.resolve(text));
    await client.publish("c", "hello");
    t.equal(await message.promise, "hello");
    t.equal(await client.blPop("none", 0.01), null);
    await t.rejects(client.lPush("k", "x"), /WRONGTYPE/);
    await subscriber.close();
    await client.close();
  });
}
