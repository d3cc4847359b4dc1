// The memory for ends before a store: what every store must do, with it in between, and what it adds.
import t from "tap";
import type { SnippetRecord } from "../../master/snippets/snippet.ts";
import { CachedSnippets } from "../../master/snippets/store/cached.ts";
import { RecentEnds, sizeOf } from "../../master/snippets/store/recent-ends.ts";
import { bytesOf, recordFrom } from "../../master/snippets/store/record-bytes.ts";
import { SqliteSnippets } from "../../master/snippets/store/sqlite/sqlite-snippets.ts";
import type { SnippetStore } from "../../master/snippets/store/store.ts";
import { end, finished, here, insert, live, logOf, plain, snippet, there } from "./rig.ts";
import { storeSuite } from "./suite.ts";

void t.test("SQLite with a memory for ends", async (t) => {
  storeSuite(t, { open: () => cached() });
});

void t.test("SQLite with a memory that holds one end", async (t) => {
  storeSuite(t, { open: () => cached({ count: 1 }) });
});

interface Counted {
  store: SnippetStore;
  /** Ids that the store was asked for. */
  gets: string[];
}

async function counted(): Promise<Counted> {
  const store = await SqliteSnippets.open({ folder: ":memory:", durability: "process" });
  const gets: string[] = [];
  const get = store.get.bind(store);
  store.get = (id) => {
    gets.push(id);
    return get(id);
  };
  return { store, gets };
}

async function cached(more: { count?: number; bytes?: number } = {}): Promise<CachedSnippets> {
  const { store } = await counted();
  return await CachedSnippets.open(store, { ...more, log: logOf().log });
}

void t.test("an end that came here is known without asking the store", async (t) => {
  const { store, gets } = await counted();
  const memory = await CachedSnippets.open(store, { log: logOf().log });
  await live(memory, here);
  const noted = await insert(memory, { callback: "http://127.0.0.1:1/" });
  await memory.claim(noted.id, here);
  await memory.started(noted.id, 1, 12.5);
  const content = Buffer.from("f");
  const files = [{ name: "f", sizeBytes: 1, content }];
  await memory.finish(noted.id, 1, end({ result: { a: [1] }, files }));
  const unnoted = await finished(memory);
  const factless = await finished(memory, {}, { facts: {} });
  for (const { id } of [noted, unnoted, factless]) {
    const held = await memory.get(id);
    t.same(gets, [], "not asked");
    t.strictSame(plain(held), plain(await store.get(id)), "and the same as the store has");
    gets.length = 0;
  }
  await memory.close();
});

void t.test("an end is looked up where another master may know better", async (t) => {
  const { store, gets } = await counted();
  const memory = await CachedSnippets.open(store, { log: logOf().log });
  // Without a living lease the claim may be another's by now, as a further attempt.
  const one = await insert(memory);
  await memory.claim(one.id, here);
  await store.claim(one.id, there);
  await memory.finish(one.id, 1, end());
  t.match(await memory.get(one.id), { attempt: 2 });
  t.same(gets, [one.id]);
  // Not of its last attempt.
  await live(memory, here);
  const two = await insert(memory);
  await memory.claim(two.id, here);
  await memory.release(two.id, 1);
  await memory.claim(two.id, here);
  await memory.finish(two.id, 1, end());
  t.match(await memory.get(two.id), { attempt: 2 });
  t.same(gets, [one.id, two.id]);
  await memory.get(two.id);
  t.equal(gets.length, 2, "then it is known");
  await memory.close();
});

void t.test("only ends are remembered", async (t) => {
  const { store, gets } = await counted();
  const memory = await CachedSnippets.open(store, { log: logOf().log });
  const one = await insert(memory);
  await memory.get(one.id);
  await memory.claim(one.id, here);
  t.match(await memory.get(one.id), { state: "running" });
  // Behind its back, as another master does it.
  await store.finish(one.id, 1, end());
  t.match(await memory.get(one.id), { state: "finished" });
  t.equal(gets.length, 3);
  await memory.close();
});

void t.test("what was pruned is not known from memory", async (t) => {
  const memory = await cached();
  await live(memory, here);
  const old = await finished(memory, {}, { finishedAt: 10 });
  const young = await finished(memory, {}, { finishedAt: 20 });
  t.equal(await memory.prune(20, 10), 1);
  t.equal(await memory.get(old.id), undefined);
  t.match(await memory.get(young.id), { state: "finished" });
  await memory.close();
});

void t.test("ends are told to who listens, until they stop", async (t) => {
  const memory = await cached();
  await live(memory, here);
  const told: string[] = [];
  const stop = memory.onFinished((id) => told.push(id));
  const one = await finished(memory);
  t.same(told, [one.id]);
  await memory.finish(one.id, 1, end());
  t.same(told, [one.id], "not for what does not count");
  const two = await insert(memory);
  await memory.cancel(two.id, "user", 1);
  t.same(told, [one.id, two.id]);
  const three = await insert(memory);
  await memory.claim(three.id, here);
  await memory.cancel(three.id, "user", 1);
  await memory.release(three.id, 1);
  t.equal(told.length, 2);
  await memory.claim(three.id, here);
  t.same(told.slice(2), [three.id], "a claim that finds it cancelled ends it");
  stop();
  await finished(memory);
  t.equal(told.length, 3);
  await memory.close();
});

// ---- its parts ----

function record(stdoutBytes: number): SnippetRecord {
  const how = end({ stdout: new Uint8Array(stdoutBytes) });
  return { snippet: snippet(), state: "finished", attempt: 1, end: how };
}

void t.test("the memory is bounded by number, least recently used first", async (t) => {
  const recent = new RecentEnds({ count: 3, bytes: 2 ** 20 });
  const [a, b, c, d] = [record(1), record(1), record(1), record(1)];
  for (const one of [a, b, c]) recent.put(one);
  recent.get(a.snippet.id);
  recent.put(d);
  const known = [a, b, c, d].map(({ snippet }) => recent.get(snippet.id) !== undefined);
  t.same(known, [true, false, true, true]);
  recent.put(d);
  t.equal(recent.size, 3, "the same again is one");
});

void t.test("the memory is bounded by bytes", async (t) => {
  const recent = new RecentEnds({ count: 1000, bytes: 100_000 });
  const all = Array.from({ length: 12 }, () => record(20_000));
  for (const one of all) recent.put(one);
  t.equal(recent.size, 4);
  t.ok(recent.bytes > 80_000 && recent.bytes <= 100_000, `${recent.bytes}`);
  recent.put(record(200_000));
  t.equal(recent.size, 4, "what is larger than all of it drives nothing out");
  for (const { snippet } of all) recent.delete(snippet.id);
  t.equal(recent.bytes, 0);
  t.equal(recent.size, 0);
});

void t.test("sizes count what takes memory", async (t) => {
  t.ok(sizeOf("x".repeat(1000)) >= 1000);
  t.ok(sizeOf(Array.from({ length: 200_000 }, () => 1)) >= 1_600_000);
  t.ok(sizeOf({ ["k".repeat(500)]: null }) >= 500);
  t.ok(sizeOf(undefined) > 0);
});

void t.test("a record survives being bytes, and other bytes are none", async (t) => {
  const every = Buffer.from(Array.from({ length: 256 }, (_, value) => value));
  const one: SnippetRecord = {
    snippet: snippet({ callback: "http://127.0.0.1:1/" }),
    state: "finished",
    attempt: 3,
    startedAt: 1.5,
    end: end({
      stdout: every,
      stderr: Buffer.from("é"),
      result: JSON.parse('{"__proto__":1}'),
      files: [
        { name: "a", sizeBytes: 256, content: every },
        { name: "b", sizeBytes: 0, content: new Uint8Array() },
      ],
      refused: [{ path: "x", why: "y" }],
    }),
  };
  const { id } = one.snippet;
  const bytes = bytesOf(one);
  if (bytes === undefined) throw new Error("no bytes");
  t.strictSame(plain(recordFrom(bytes, id)), plain(one));
  t.equal(recordFrom(bytes, "another"), undefined);
  t.equal(recordFrom(bytes.subarray(0, -1), id), undefined, "cut off");
  t.equal(recordFrom(Buffer.concat([bytes, every]), id), undefined, "too long");
  t.equal(recordFrom(Buffer.from("junk, not ours"), id), undefined);
  t.equal(recordFrom(Buffer.from([1, 0, 0, 0, 2, 0x7b, 0x7d]), id), undefined, "an empty head");
  t.equal(recordFrom(Buffer.from([1, 255, 255, 255, 255]), id), undefined);
  t.equal(recordFrom(new Uint8Array(), id), undefined);
  const { end: _, ...running } = one;
  t.equal(bytesOf({ ...running, state: "running" }), undefined);
});
