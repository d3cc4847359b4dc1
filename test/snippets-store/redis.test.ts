// The memory for ends with Redis behind it: what every store must do, what masters share, and that
// Redis killed, frozen or full of junk harms nobody.
import { randomBytes } from "node:crypto";
import { inspect } from "node:util";
import { createClient } from "redis";
import t, { type Test } from "tap";
import { CachedSnippets } from "../../master/snippets/store/cached.ts";
import { SqliteSnippets } from "../../master/snippets/store/sqlite/sqlite-snippets.ts";
import { type SnippetStore, StoreDown } from "../../master/snippets/store/store.ts";
import { noRedis, startRedis, type TestRedis } from "../rig/redis.ts";
import { until } from "../rig/until.ts";
import { end, finished, here, insert, live, logOf, plain, there } from "./rig.ts";
import { storeSuite } from "./suite.ts";

const skip = noRedis;

interface Masters {
  store: SnippetStore;
  /** Ids that the store was asked for. */
  gets: string[];
  prefix: string;
  said: string[];
  one: CachedSnippets;
  two: CachedSnippets;
}

/** Two masters with one store. */
async function masters(t: Test, { url }: TestRedis): Promise<Masters> {
  const store = await SqliteSnippets.open({ folder: ":memory:", durability: "process" });
  const gets: string[] = [];
  const get = store.get.bind(store);
  store.get = (id) => {
    gets.push(id);
    return get(id);
  };
  const prefix = `${randomBytes(6).toString("hex")}:`;
  const { log, said } = logOf();
  const options = { redisUrl: url, redisPrefix: prefix, log };
  const [one, two] = await Promise.all([
    CachedSnippets.open(store, options),
    CachedSnippets.open(store, options),
  ]);
  t.after(() => Promise.all([one.close(), two.close()]));
  await live(one, here);
  return { store, gets, prefix, said, one, two };
}

function clientOf(url: string) {
  return createClient({ url });
}

async function ask<T>(
  { url }: TestRedis,
  work: (client: ReturnType<typeof clientOf>) => Promise<T>,
): Promise<T> {
  const client = clientOf(url);
  client.on("error", () => {});
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.close();
  }
}

/** What is put there is put in the background. */
async function isThere(redis: TestRedis, prefix: string, id: string): Promise<void> {
  await ask(redis, (client) =>
    until(
      "the end is in Redis",
      () => client.exists(`${prefix}snippet:${id}`),
      (n) => n === 1,
    ),
  );
}

void t.test("SQLite with a memory and Redis", { skip }, async (t) => {
  const redis = await startRedis();
  t.after(() => redis.close());
  storeSuite(t, {
    open: async () => {
      const store = await SqliteSnippets.open({ folder: ":memory:", durability: "process" });
      return await CachedSnippets.open(store, {
        // So small that Redis is asked.
        count: 1,
        redisUrl: redis.url,
        redisPrefix: `${randomBytes(6).toString("hex")}:`,
        log: logOf().log,
      });
    },
  });
});

void t.test("an end of one master is read from Redis by another", { skip }, async (t) => {
  await using redis = await startRedis();
  const { one, two, gets, prefix, store } = await masters(t, redis);
  const content = Buffer.from(Array.from({ length: 256 }, (_, value) => value));
  const files = [{ name: "f", sizeBytes: 256, content }];
  const { id } = await finished(one, {}, { stdout: content, files, result: { n: null } });
  await isThere(redis, prefix, id);
  const shared = await two.get(id);
  t.same(gets, [], "the store was not asked");
  t.strictSame(plain(shared), plain(await store.get(id)));
  await two.get(id);
  t.equal(gets.length, 1, "known since then");
  const leftS = await ask(redis, (client) => client.ttl(`${prefix}snippet:${id}`));
  t.ok(leftS > 3500 && leftS <= 3600, `${leftS} s left`);
});

void t.test("what one master read of the store, another reads from Redis", { skip }, async (t) => {
  await using redis = await startRedis();
  const { one, two, gets, prefix, store } = await masters(t, redis);
  const { id } = await insert(store);
  await store.claim(id, there);
  await store.finish(id, 1, end());
  await one.get(id);
  await isThere(redis, prefix, id);
  await two.get(id);
  t.same(gets, [id], "once");
});

void t.test("an end at one master is told to all", { skip }, async (t) => {
  await using redis = await startRedis();
  const { one, two } = await masters(t, redis);
  const told = { one: [] as string[], two: [] as string[] };
  one.onFinished((id) => told.one.push(id));
  two.onFinished((id) => told.two.push(id));
  const all = await Promise.all(Array.from({ length: 30 }, () => finished(one)));
  const cancelled = await insert(two);
  await two.cancel(cancelled.id, "user", 1);
  const ids = [...all, cancelled].map(({ id }) => id).sort();
  for (const list of [told.one, told.two]) {
    await until(
      "all were told",
      () => list,
      ({ length }) => length >= ids.length,
    );
    t.same([...list].sort(), ids, "each once");
  }
});

void t.test("what is pruned is not read from Redis", { skip }, async (t) => {
  await using redis = await startRedis();
  const { one, two, prefix } = await masters(t, redis);
  const { id } = await finished(one, {}, { finishedAt: 10 });
  await isThere(redis, prefix, id);
  await two.prune(20, 10);
  t.equal(await two.get(id), undefined);
});

void t.test("junk in Redis is as good as nothing", { skip }, async (t) => {
  await using redis = await startRedis();
  const { store, one, two, prefix } = await masters(t, redis);
  const told: string[] = [];
  one.onFinished((id) => told.push(id));
  const { id } = await insert(store);
  await store.finish(id, 0, end());
  await ask(redis, async (client) => {
    await client.set(`${prefix}snippet:${id}`, "junk");
    for (const words of ["junk", "null", '{"ids":1,"from":"x"}', '{"ids":[1,"a"],"from":"x"}']) {
      await client.publish(`${prefix}finished`, words);
    }
    const list = await insert(store);
    await client.lPush(`${prefix}snippet:${list.id}`, "of another kind");
    t.match(await two.get(list.id), { state: "queued" });
  });
  t.match(await two.get(id), { state: "finished" });
  await until(
    "what can be read of it is told",
    () => told,
    ({ length }) => length > 0,
  );
  t.same(told, ["a"]);
});

void t.test("large ends stay out of Redis", { skip }, async (t) => {
  await using redis = await startRedis();
  const { one, two, gets, prefix } = await masters(t, redis);
  const large = await finished(one, {}, { stdout: Buffer.alloc(5 * 2 ** 20) });
  const small = await finished(one);
  await isThere(redis, prefix, small.id);
  t.equal(await ask(redis, (client) => client.exists(`${prefix}snippet:${large.id}`)), 0);
  t.equal((await two.get(large.id))?.end?.stdout.length, 5 * 2 ** 20);
  t.same(gets, [large.id]);
});

void t.test(
  "killed, it is missed by nobody, and used again when it is back",
  { skip },
  async (t) => {
    await using redis = await startRedis();
    const { one, two, prefix, said } = await masters(t, redis);
    const told: string[] = [];
    two.onFinished((id) => told.push(id));
    await redis.kill();
    const before = performance.now();
    for (let round = 0; round < 20; round++) {
      const { id } = await finished(one);
      t.match(await two.get(id), { state: "finished" });
    }
    const tookMs = performance.now() - before;
    t.ok(tookMs < 2000, `${tookMs} ms for 20 ends`);
    await until(
      "it is said",
      () => said,
      (words) => words.some((text) => text.includes("Redis at")),
    );
    await redis.startAgain();
    await until(
      "ends are told again",
      async () => {
        await finished(one);
        return told;
      },
      ({ length }) => length > 0,
    );
    const { id } = await finished(one);
    await isThere(redis, prefix, id);
  },
);

void t.test(
  "frozen, it holds up calls for a moment only, and then not at all",
  { skip },
  async (t) => {
    await using redis = await startRedis();
    const { one, two, said } = await masters(t, redis);
    const waiting = await insert(one);
    redis.freeze();
    const before = performance.now();
    for (let round = 0; round < 50; round++) {
      t.match(await two.get(waiting.id), { state: "queued" });
    }
    const tookMs = performance.now() - before;
    // Three times 50 ms, then it is left alone.
    t.ok(tookMs < 1000, `${tookMs} ms for 50 reads`);
    t.match(said, ["Redis is slow: left out for now"]);
    redis.thaw();
    await until(
      "it is asked again",
      async () => {
        await two.get(waiting.id);
        return said;
      },
      (words) => words.includes("Redis answers again"),
    );
  },
);

void t.test("a frozen one does not hold up the end", { skip }, async (t) => {
  await using redis = await startRedis();
  const { one, two } = await masters(t, redis);
  redis.freeze();
  const before = performance.now();
  await Promise.all([one.close(), two.close()]);
  t.ok(performance.now() - before < 5000);
  redis.thaw();
});

void t.test("away at the start, it is used when it comes", { skip }, async (t) => {
  await using redis = await startRedis();
  await redis.kill();
  const before = performance.now();
  const { one, prefix } = await masters(t, redis);
  t.ok(performance.now() - before < 5000, "the start waits for a moment only");
  await finished(one);
  await redis.startAgain();
  const isKept = async (): Promise<number> => {
    const { id } = await finished(one);
    return await ask(redis, (client) => client.exists(`${prefix}snippet:${id}`));
  };
  await until("ends are kept there", isKept, (n) => n === 1);
});

void t.test("a URL that is none is refused, and no password is told", { skip }, async (t) => {
  await using redis = await startRedis();
  const { log, said } = logOf();
  const secret = "s3cret-w0rd";
  const store = await SqliteSnippets.open({ folder: ":memory:", durability: "process" });
  for (const redisUrl of [`not a url with ${secret}`, `http://:${secret}@127.0.0.1/`]) {
    const refused = await CachedSnippets.open(store, { redisUrl, log }).catch((error) => error);
    t.ok(refused instanceof StoreDown);
    t.match(refused, { remedy: /redis:\/\// });
    t.notOk(inspect(refused, { depth: 9, showHidden: true }).includes(secret));
  }
  const url = new URL(redis.url);
  url.username = "nobody";
  url.password = secret;
  const memory = await CachedSnippets.open(store, { redisUrl: url.href, log });
  await until(
    "the refusal is said",
    () => said,
    ({ length }) => length > 0,
  );
  t.match(said.join("\n"), /Redis at 127\.0\.0\.1/);
  t.notOk(said.join("\n").includes(secret));
  await finished(memory);
  await memory.close();
});
