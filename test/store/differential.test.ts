// Random commands on few keys, to our store and to a real redis-server: every reply must be equal.
// Left out is only what may differ by right: random choices, clocks, cursors and orders.

import fc from "fast-check";
import t from "tap";
import { encode, missing, PlainClient, type Reply, startRedis, startStore } from "./rig.ts";

const key = fc.constantFrom("a", "b", "c", "d");
const value = fc.constantFrom("", "0", "1", "-7", "x", "yy", "9223372036854775807", "3.5", "1 2");
const index = fc.constantFrom("0", "1", "2", "-1", "-2", "5", "-9", "x", "");
const end = fc.constantFrom("LEFT", "RIGHT", "left", "DOWN");
const word = fc.constantFrom(
  "NX",
  "XX",
  "GET",
  "KEEPTTL",
  "EX",
  "1000",
  "PX",
  "0",
  "COUNT",
  "LIMIT",
);

const shapes: readonly (readonly [string, ...("k" | "v" | "i" | "e" | "w")[]])[] = [
  ["SET", "k", "v"],
  ["SET", "k", "v", "w"],
  ["SET", "k", "v", "w", "w"],
  ["GET", "k"],
  ["GETEX", "k", "w", "w"],
  ["SETNX", "k", "v"],
  ["GETSET", "k", "v"],
  ["GETDEL", "k"],
  ["MSET", "k", "v", "k", "v"],
  ["MSETNX", "k", "v", "k", "v"],
  ["MGET", "k", "k"],
  ["APPEND", "k", "v"],
  ["STRLEN", "k"],
  ["GETRANGE", "k", "i", "i"],
  ["SETRANGE", "k", "i", "v"],
  ["INCR", "k"],
  ["DECR", "k"],
  ["INCRBY", "k", "v"],
  ["DECRBY", "k", "v"],
  ["HSET", "k", "v", "v"],
  ["HSET", "k", "v", "v", "v"],
  ["HSETNX", "k", "v", "v"],
  ["HGET", "k", "v"],
  ["HMGET", "k", "v", "v"],
  ["HDEL", "k", "v", "v"],
  ["HLEN", "k"],
  ["HINCRBY", "k", "v", "v"],
  ["HEXISTS", "k", "v"],
  ["LPUSH", "k", "v", "v"],
  ["RPUSH", "k", "v", "v", "v"],
  ["LPUSHX", "k", "v"],
  ["LPOP", "k"],
  ["RPOP", "k", "i"],
  ["LPOP", "k", "i"],
  ["LLEN", "k"],
  ["LRANGE", "k", "i", "i"],
  ["LINDEX", "k", "i"],
  ["LSET", "k", "i", "v"],
  ["LREM", "k", "i", "v"],
  ["LTRIM", "k", "i", "i"],
  ["LPOS", "k", "v"],
  ["LPOS", "k", "v", "w", "i"],
  ["LMOVE", "k", "k", "e", "e"],
  ["RPOPLPUSH", "k", "k"],
  ["SADD", "k", "v", "v"],
  ["SREM", "k", "v"],
  ["SISMEMBER", "k", "v"],
  ["SMISMEMBER", "k", "v", "v"],
  ["SCARD", "k"],
  ["SMOVE", "k", "k", "v"],
  ["SUNIONSTORE", "k", "k", "k"],
  ["SINTERSTORE", "k", "k", "k"],
  ["SDIFFSTORE", "k", "k", "k"],
  ["DEL", "k"],
  ["EXISTS", "k", "k"],
  ["TYPE", "k"],
  ["RENAME", "k", "k"],
  ["RENAMENX", "k", "k"],
  ["COPY", "k", "k"],
  ["PERSIST", "k"],
  ["EXPIRE", "k", "i", "w"],
  ["DBSIZE"],
  ["MULTI"],
  ["EXEC"],
  ["DISCARD"],
  ["WATCH", "k"],
  ["UNWATCH"],
  ["NOSUCH", "v"],
];
const parts = { k: key, v: value, i: index, e: end, w: word };

const commandOf = fc
  .constantFrom(...shapes)
  .chain(([name, ...places]) =>
    fc.tuple(fc.constant(name), ...places.map((place) => parts[place])).map((args) => [...args]),
  );
/** Several commands travel in one write, so that pipelines are compared too. */
const pipeline = fc.array(fc.tuple(fc.nat(1), commandOf), { minLength: 1, maxLength: 60 });

async function replies(
  clients: readonly PlainClient[],
  commands: readonly (readonly [number, readonly string[]])[],
): Promise<Reply[]> {
  const [first] = clients;
  for (const client of clients) await client.call("RESET");
  await first?.call("FLUSHALL");
  const all: Reply[] = [];
  for (let at = 0; at < commands.length; ) {
    const [who = 0] = commands[at] ?? [];
    let end = at;
    while (end < commands.length && commands[end]?.[0] === who) end++;
    const client = clients[who];
    client?.write(
      commands
        .slice(at, end)
        .map(([, args]) => encode(args))
        .join(""),
    );
    for (; at < end; at++) all.push((await client?.reply()) ?? "");
  }
  for (const name of ["a", "b", "c", "d"]) {
    for (const args of [
      ["TYPE", name],
      ["GET", name],
      ["LRANGE", name, "0", "-1"],
    ]) {
      all.push((await first?.call("DISCARD")) ?? "", (await first?.call(...args)) ?? "");
    }
  }
  return all;
}

t.test(
  "random commands get the replies of redis-server",
  {
    skip: missing("redis-server"),
  },
  async (t) => {
    await using ours = await startStore();
    await using redis = await startRedis();
    const connect = (path: string) =>
      Promise.all([PlainClient.connect(path), PlainClient.connect(path)]);
    const [oursClients, redisClients] = [
      await connect(ours.socketPath),
      await connect(redis.socketPath),
    ];
    await fc.assert(
      fc.asyncProperty(pipeline, async (commands) => {
        const expected = await replies(redisClients, commands);
        const actual = await replies(oursClients, commands);
        for (const [at, reply] of expected.entries()) {
          if (actual[at] !== reply) {
            throw new Error(`${commands[at]}: ours ${actual[at]}, redis ${reply}`);
          }
        }
      }),
      { numRuns: 300, interruptAfterTimeLimit: 60_000, markInterruptAsFailure: false },
    );
    t.pass("all equal");
    for (const client of [...oursClients, ...redisClients]) await client[Symbol.asyncDispose]();
  },
);
