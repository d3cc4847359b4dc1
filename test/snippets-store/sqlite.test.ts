// The store in SQLite, in a file and in memory: what every store must do, and what is its own.
import t from "tap";
import { SqliteSnippets } from "../../master/snippets/store/sqlite/sqlite-snippets.ts";
import { end, finished, here, insert, snippet } from "./rig.ts";
import { storeSuite } from "./suite.ts";

void t.test("SQLite in a file, with its thread", async (t) => {
  storeSuite(t, {
    open: (t) => SqliteSnippets.open({ folder: t.testdir(), durability: "process" }),
  });
});

void t.test("SQLite in a file, synced to the disk", async (t) => {
  storeSuite(t, {
    open: (t) => SqliteSnippets.open({ folder: t.testdir(), durability: "power" }),
  });
});

void t.test("SQLite in memory", async (t) => {
  storeSuite(t, {
    open: () => SqliteSnippets.open({ folder: ":memory:", durability: "process" }),
  });
});

void t.test("many and large ones are removed by one call, and others go on between", async (t) => {
  const store = await SqliteSnippets.open({ folder: t.testdir(), durability: "process" });
  const files = [{ name: "f", sizeBytes: 12e6, content: Buffer.alloc(12e6) }];
  for (let made = 0; made < 4; made++) await finished(store, {}, { finishedAt: 1, files });
  for (let made = 0; made < 250; made++) await finished(store, {}, { finishedAt: 2 });
  t.equal(await store.prune(10, 203), 203, "not more than was said");
  t.equal(await store.prune(10, 500), 51);
  t.equal((await store.list({ limit: 5 })).length, 0);
  await store.close();
});

void t.test("what is asked together is answered in its order, each by itself", async (t) => {
  const store = await SqliteSnippets.open({ folder: t.testdir(), durability: "power" });
  const one = snippet();
  const answers = await Promise.allSettled([
    store.get(one.id),
    store.insert([{ snippet: one }], { isPublished: true }),
    store.claim(one.id, here),
    store.insert([{ snippet: { ...one, id: null as unknown as string } }], { isPublished: true }),
    store.finish(one.id, 1, end()),
    store.finish(one.id, 1, end()),
    store.get(one.id),
  ]);
  t.match(answers, [
    { value: undefined },
    { value: [{ kind: "new" }] },
    { value: { kind: "claimed", attempt: 1 } },
    { status: "rejected" },
    { value: true },
    { value: false },
    { value: { state: "finished" } },
  ]);
  await store.close();
});

void t.test("thousands that are asked at the same time are all done", async (t) => {
  const store = await SqliteSnippets.open({ folder: t.testdir(), durability: "process" });
  const all = await Promise.all(Array.from({ length: 5000 }, () => insert(store)));
  const claims = await Promise.all(all.map(({ id }) => store.claim(id, here)));
  t.ok(claims.every(({ kind }) => kind === "claimed"));
  const large = Buffer.alloc(300_000);
  const ended = await Promise.all(
    all.slice(0, 200).map(({ id }) => store.finish(id, 1, end({ stdout: large }))),
  );
  t.ok(ended.every((isFirst) => isFirst));
  t.equal((await store.list({ state: "finished", limit: 1000 })).length, 200);
  await store.close();
});
