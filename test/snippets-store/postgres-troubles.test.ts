// PostgreSQL killed, frozen and cut off under load: calls are answered or rejected in a bounded time,
// what was confirmed is there, nothing is half done, and all goes on without a restart of ours.
import { connect, createServer, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import t from "tap";
import { InDoubt } from "../../master/snippets/store/doubts.ts";
import { PostgresSnippets } from "../../master/snippets/store/postgres/postgres-snippets.ts";
import { StoreDown } from "../../master/snippets/store/store.ts";
import { startPostgres, type TestPostgres } from "../rig/postgres.ts";
import { until } from "../rig/until.ts";
import { end, here, insert, live, plain, snippet } from "./rig.ts";

const postgres = await startPostgres();
const skip = typeof postgres === "string" ? postgres : false;
t.after(async () => {
  if (typeof postgres !== "string") await postgres[Symbol.asyncDispose]();
});

/** Of the tests, which are skipped where there is none. */
function server(): TestPostgres {
  if (typeof postgres === "string") throw new Error(postgres);
  return postgres;
}

/** As the service does: again and again while the store is down. */
async function insist<T>(call: () => Promise<T>, pauseMs = 20): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof StoreDown)) throw error;
      await delay(pauseMs);
    }
  }
}

void t.test("killed under load it loses nothing that was confirmed", { skip }, async (t) => {
  const url = await server().database();
  const store = await PostgresSnippets.open({ url, timeoutMs: 2000 });
  await live(store, here);
  const kept = new Set<string>();
  const ended = new Set<string>();
  let isOver = false;
  let refusals = 0;
  const count = async <T>(call: () => Promise<T>): Promise<T> =>
    insist(async () => {
      try {
        return await call();
      } catch (error) {
        refusals++;
        throw error;
      }
    });
  const lane = async (): Promise<void> => {
    while (!isOver) {
      const news = [0, 1, 2].map(() => ({ snippet: snippet() }));
      const ids = news.map(({ snippet }) => snippet.id);
      const inserted = await count(() => store.insert(news, { isPublished: true }));
      t.ok(inserted.every(({ kind }) => kind === "new"));
      for (const id of ids) kept.add(id);
      for (const id of ids) {
        // Also one whose answer was lost: it must not stay claimed by nobody.
        const claim = await count(() => store.claim(id, here));
        if (claim.kind !== "claimed") throw new Error(`${id} is ${claim.kind}`);
        const content = Buffer.from(`file of ${id}`);
        const files = [{ name: "f", sizeBytes: content.length, content }];
        const how = end({ stdout: Buffer.from(id), files });
        const isFirst = await count(() => store.finish(id, claim.attempt, how));
        if (!isFirst) throw new Error(`the end of ${id} does not count`);
        ended.add(id);
      }
    }
  };
  const lanes = Array.from({ length: 6 }, lane);
  for (let round = 0; round < 4; round++) {
    const [more, refused] = [ended.size + 30, refusals];
    await until(
      "it works",
      () => ended.size,
      (size) => size > more,
    );
    server().kill();
    await until(
      "calls are refused",
      () => refusals,
      (all) => all > refused,
    );
    await server().startAgain();
  }
  const last = ended.size + 30;
  await until(
    "it works again",
    () => ended.size,
    (size) => size > last,
  );
  isOver = true;
  await Promise.all(lanes);
  const all = await store.list({ limit: 100_000 });
  t.same(all.map(({ id }) => id).sort(), [...kept].sort(), "all that was confirmed, once");
  t.ok(all.every(({ state }) => state === "finished"));
  for (const id of [...ended].slice(-200)) {
    const record = await store.get(id);
    if (Buffer.from(record?.end?.stdout ?? []).toString() !== id) t.fail(`${id} has no output`);
    t.same(plain(record?.end?.files[0]?.content), plain(Buffer.from(`file of ${id}`)));
  }
  const halves = await server().ask(
    url,
    `SELECT (SELECT count(*) FROM edgedag_snippets) = ${kept.size} AS snippets,
       (SELECT count(*) FROM edgedag_bodies) = ${kept.size} AS bodies,
       (SELECT count(*) FROM edgedag_ends) = ${kept.size} AS ends,
       (SELECT count(*) FROM edgedag_files) = ${kept.size} AS files`,
  );
  t.same(halves, [{ snippets: true, bodies: true, ends: true, files: true }]);
  t.comment(`${kept.size} snippets, ${refusals} calls refused`);
  await store.close();
});

void t.test(
  "while it is away calls are refused at once, and then work again",
  { skip },
  async (t) => {
    const url = await server().database();
    const store = await PostgresSnippets.open({ url, timeoutMs: 1500 });
    const one = await insert(store);
    server().kill();
    const before = performance.now();
    const calls = await Promise.allSettled([
      store.get(one.id),
      store.insert([{ snippet: snippet() }], { isPublished: true }),
      store.claim(one.id, here),
      store.started(one.id, 1, 1),
      store.release(one.id, 1),
      store.finish(one.id, 1, end()),
      store.cancel(one.id, "user", 1),
      store.list({ limit: 1 }),
      store.depths(),
      store.renewLease("m", "b", 1),
      store.prune(1, 1),
    ]);
    const tookMs = performance.now() - before;
    for (const call of calls) {
      t.equal(call.status, "rejected");
      if (call.status === "rejected") t.ok(call.reason instanceof StoreDown, String(call.reason));
    }
    // A connection and a statement may each take the time.
    t.ok(tookMs < 2 * 1500 + 1000, `${tookMs} ms`);
    const refused = await PostgresSnippets.open({ url, timeoutMs: 1500 }).catch((error) => error);
    t.ok(refused instanceof StoreDown);
    await server().startAgain();
    t.match(await insist(() => store.get(one.id)), { state: "queued" });
    await store.close();
  },
);

void t.test("frozen it holds up no call for long", { skip }, async (t) => {
  const url = await server().database();
  const store = await PostgresSnippets.open({ url, timeoutMs: 700, poolSize: 3 });
  await live(store, here);
  const one = await insert(store);
  server().freeze();
  const before = performance.now();
  // More than there are connections: those that wait for one are refused, too.
  const calls = await Promise.allSettled(
    Array.from({ length: 12 }, () => store.claim(one.id, here)),
  );
  const tookMs = performance.now() - before;
  server().thaw();
  for (const call of calls) {
    t.equal(call.status, "rejected");
    if (call.status === "rejected") t.ok(call.reason instanceof StoreDown, String(call.reason));
  }
  t.ok(tookMs < 2 * 700 + 1000, `${tookMs} ms`);
  const claim = await insist(() => store.claim(one.id, here));
  t.equal(claim.kind, "claimed", "not taken by a claim that nobody heard of");
  await store.close();
});

void t.test("what was done without an answer is done once", { skip }, async (t) => {
  const url = new URL(await server().database());
  await using wire = await deafWire(server().port);
  url.port = `${wire.port}`;
  const store = await PostgresSnippets.open({ url: url.href, timeoutMs: 400, poolSize: 1 });
  await live(store, here);
  const news = [{ snippet: snippet(), idempotency: { key: "k", digest: "d" } }];
  const id = news[0]?.snippet.id ?? "";
  /** Done by the database, though the answer does not come through. */
  const unheard = async (call: () => Promise<unknown>): Promise<void> => {
    await store.depths(); // there is a connection that works
    wire.isDeaf = true;
    const error = await call().catch((error: unknown) => error);
    wire.isDeaf = false;
    t.ok(error instanceof InDoubt, String(error));
  };
  await unheard(() => store.insert(news, { isPublished: true }));
  t.same(await store.insert(news, { isPublished: true }), [{ kind: "new", id }]);

  await unheard(() => store.claim(id, here));
  t.match(await store.get(id), { state: "running", attempt: 1 });
  t.match(await store.claim(id, here), { kind: "claimed", attempt: 2 });
  t.match(await store.claim(id, here), { kind: "taken" }, "once");

  await unheard(() => store.release(id, 2));
  t.match(await store.get(id), { state: "queued" });
  t.equal(await store.release(id, 2), true);
  await store.claim(id, here);

  await unheard(() => store.finish(id, 3, end()));
  t.match(await store.get(id), { state: "finished" });
  t.equal(await store.finish(id, 3, end()), true, "it is its own");
  t.equal(await store.finish(id, 3, end()), false, "once");
  await store.close();
});

void t.test("a full disk of the server refuses with a remedy", { skip }, async (t) => {
  const url = await server().database();
  const store = await PostgresSnippets.open({ url });
  const one = await insert(store);
  // As a server says it: the way there is the same.
  await server().ask(
    url,
    `CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
       $$ BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = '53100'; END $$;
     CREATE TRIGGER full_disk BEFORE INSERT ON edgedag_ends EXECUTE FUNCTION full_disk()`,
  );
  const refused = await store.finish(one.id, 0, end()).catch((error: unknown) => error);
  t.ok(refused instanceof StoreDown && !(refused instanceof InDoubt));
  t.match(refused, { remedy: /[Ff]ree space/ });
  t.match(await store.get(one.id), { state: "queued" }, "nothing of it was done");
  await server().ask(url, "DROP TRIGGER full_disk ON edgedag_ends");
  t.equal(await store.finish(one.id, 0, end()), true);
  await store.close();
});

interface DeafWire extends AsyncDisposable {
  readonly port: number;
  /** What the other end answers is dropped. */
  isDeaf: boolean;
}

async function deafWire(targetPort: number): Promise<DeafWire> {
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(targetPort, "127.0.0.1");
    for (const socket of [near, far]) {
      sockets.add(socket.setNoDelay(true));
      socket.on("error", () => {});
      socket.on("close", () => {
        near.destroy();
        far.destroy();
      });
    }
    near.pipe(far);
    far.on("data", (chunk: Buffer) => {
      if (!wire.isDeaf) near.write(chunk);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  const wire: DeafWire = {
    port: address.port,
    isDeaf: false,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return wire;
}
