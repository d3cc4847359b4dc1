// What store.ts says, sentence by sentence, for any store: registered once for each of them.
import type { Test } from "tap";
import type { SnippetEnd } from "../../master/snippets/snippet.ts";
import { type Claim, type SnippetStore, StoreDown } from "../../master/snippets/store/store.ts";
import { dead, end, finished, here, insert, live, plain, snippet, task, there } from "./rig.ts";

export interface Subject {
  /** A store of its own with nothing in it; closed by the suite. */
  open(t: Test): Promise<SnippetStore>;
}

export function storeSuite(t: Test, { open }: Subject): void {
  const test = (name: string, body: (t: Test, store: SnippetStore) => Promise<void>): void => {
    void t.test(name, async (t) => {
      const store = await open(t);
      try {
        await body(t, store);
      } finally {
        await store.close();
      }
    });
  };

  // ---- insert ----

  test("what was inserted is got back whole", async (t, store) => {
    const all = [
      snippet(),
      snippet({
        owner: "",
        language: "commands",
        priority: 0,
        callback: "http://127.0.0.1:1/told?x='\"\\",
        levels: [],
        files: [
          { path: "a/ä b.txt", sha256: "00", text: "\u0000\ud800 é\r\n" },
          { path: "run", executable: true, sha256: "11", base64: "AAEC" },
        ],
        task: task({
          run: { kind: "command", argv: ["sh", "-c", "{{ not a template }}"] },
          stdin: "x".repeat(300_000),
          env: JSON.parse('{"__proto__":"1","A":""}') as { [name: string]: string },
        }),
        createdAt: 0.5,
      }),
    ];
    const inserted = await store.insert(
      all.map((one) => ({ snippet: one })),
      { isPublished: true },
    );
    t.same(
      inserted,
      all.map(({ id }) => ({ kind: "new", id })),
    );
    for (const one of all) {
      t.strictSame(plain(await store.get(one.id)), { snippet: one, state: "queued", attempt: 0 });
    }
    t.equal(await store.get("nobody"), undefined);
  });

  test("a key with the same digest is the same snippet, with another one a conflict", async (t, store) => {
    const first = snippet();
    const key = "k' \"ü";
    const insertKey = async (owner: string, digest: string, id = snippet().id) =>
      (
        await store.insert([{ snippet: { ...first, id, owner }, idempotency: { key, digest } }], {
          isPublished: true,
        })
      )[0];
    t.same(await insertKey("ann", "d1", first.id), { kind: "new", id: first.id });
    t.same(await insertKey("ann", "d1"), { kind: "known", id: first.id });
    t.same(await insertKey("ann", "d2"), { kind: "conflict", id: first.id });
    t.match(await insertKey("bob", "d2"), { kind: "new" }, "another owner's key is another one");
    t.equal((await store.list({ limit: 10 })).length, 2, "nothing else is kept");
  });

  test("keys count within one call, and leave the others alone", async (t, store) => {
    const [a, b, c, d] = [snippet(), snippet(), snippet(), snippet()];
    const inserted = await store.insert(
      [
        { snippet: a, idempotency: { key: "k", digest: "1" } },
        { snippet: b, idempotency: { key: "k", digest: "1" } },
        { snippet: d },
      ],
      { isPublished: true },
    );
    t.same(inserted, [
      { kind: "new", id: a.id },
      { kind: "known", id: a.id },
      { kind: "new", id: d.id },
    ]);
    const before = [d.id, a.id];
    const ids = async () => (await store.list({ limit: 10 })).map(({ id }) => id);
    t.strictSame(await ids(), before);
    for (const [key, digest] of [
      ["k", "2"],
      ["fresh", "2"],
    ] as const) {
      const refused = await store.insert(
        [
          { snippet: c, idempotency: { key: "fresh", digest: "1" } },
          { snippet: snippet() },
          { snippet: snippet(), idempotency: { key, digest } },
        ],
        { isPublished: true },
      );
      t.match(refused[2], { kind: "conflict" }, key);
      t.strictSame(await ids(), before, "where one is a conflict none is stored");
    }
  });

  test("of many with one key at the same time one is new", async (t, store) => {
    const inserted = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const one = { snippet: snippet(), idempotency: { key: "k", digest: "d" } };
        return (await store.insert([one], { isPublished: true }))[0];
      }),
    );
    t.equal(inserted.filter((one) => one?.kind === "new").length, 1);
    t.equal(inserted.filter((one) => one?.kind === "known").length, 19);
    t.equal(new Set(inserted.map((one) => one?.id)).size, 1);
  });

  test("the same insert again gives the same answer", async (t, store) => {
    const news = [
      { snippet: snippet(), idempotency: { key: "k", digest: "d" } },
      { snippet: snippet() },
    ];
    const first = await store.insert(news, { isPublished: false });
    t.same(await store.insert(news, { isPublished: false }), first);
    t.equal((await store.list({ limit: 10 })).length, 2);
    t.same(await store.insert([], { isPublished: true }), []);
  });

  test("all are stored or none, and a call that breaks spoils no other", async (t, store) => {
    const good = snippet();
    const bad = { ...snippet(), owner: null } as unknown as typeof good; // what no column takes
    const [broken, other] = await Promise.allSettled([
      store.insert([{ snippet: good }, { snippet: bad }], { isPublished: true }),
      insert(store),
    ]);
    t.equal(broken.status, "rejected");
    t.equal(other.status, "fulfilled");
    t.equal(await store.get(good.id), undefined);
    t.equal((await store.list({ limit: 10 })).length, 1);
  });

  test("what no broker has confirmed is listed, oldest first, while it is queued", async (t, store) => {
    const [a, b, c, d] = [snippet(), snippet(), snippet(), snippet()];
    const news = [c, a, d, b].map((one) => ({ snippet: one }));
    await store.insert(news, { isPublished: false });
    await insert(store);
    const { id, language, priority, owner, createdAt } = a;
    t.strictSame((await store.unpublished(1))[0], { id, language, priority, owner, createdAt });
    t.same(ids(await store.unpublished(10)), ids([a, b, c, d]));
    await store.markPublished([b.id, "nobody"]);
    await store.claim(c.id, here);
    await store.markPublished([]);
    t.same(ids(await store.unpublished(10)), ids([a, d]));
  });

  test("queued ones come in pages, oldest first", async (t, store) => {
    const all = Array.from({ length: 7 }, () => snippet());
    await store.insert(
      all.map((one) => ({ snippet: one })),
      { isPublished: true },
    );
    await store.claim(all[2]?.id ?? "", here);
    await store.cancel(all[4]?.id ?? "", "user", 1);
    const pages: string[][] = [];
    let after: string | undefined;
    for (;;) {
      const page = ids(await store.queued(after, 2));
      if (page.length === 0) break;
      pages.push(page);
      after = page.at(-1);
    }
    const left = ids(all.filter((_, index) => index !== 2 && index !== 4));
    t.same(pages, [left.slice(0, 2), left.slice(2, 4), left.slice(4)]);
    const { id, language, priority, owner, createdAt } = all[0] ?? snippet();
    t.strictSame((await store.queued(undefined, 1))[0], {
      id,
      language,
      priority,
      owner,
      createdAt,
    });
  });

  // ---- claim ----

  test("a claim gives the snippet and a growing attempt", async (t, store) => {
    await live(store, here);
    const one = await insert(store, { callback: "http://127.0.0.1:1/" });
    t.strictSame(plain(await store.claim(one.id, here)), {
      kind: "claimed",
      snippet: one,
      attempt: 1,
    });
    t.match(await store.get(one.id), { state: "running", attempt: 1 });
    t.equal(await store.release(one.id, 1), true);
    t.match(await store.claim(one.id, here), { kind: "claimed", attempt: 2 });
    t.same(await store.claim("nobody", here), { kind: "unknown" });
    await store.finish(one.id, 2, end());
    t.same(await store.claim(one.id, here), { kind: "finished" });
  });

  test("what a living master has is taken until its lease is over", async (t, store) => {
    const until = Date.now() + 60_000;
    await store.renewLease(there.master, there.boot, until);
    const one = await insert(store);
    await store.claim(one.id, there);
    near(t, await store.claim(one.id, here), until);
    near(t, await store.claim(one.id, there), until, "for itself too: it has it already");
    await store.renewLease(there.master, there.boot, until + 5000);
    near(t, await store.claim(one.id, here), until + 5000);
    await dead(store, there);
    t.match(await store.claim(one.id, here), { kind: "claimed", attempt: 2 });
  });

  test("a master that never had a lease does not live", async (t, store) => {
    const one = await insert(store);
    await store.claim(one.id, there);
    t.match(await store.claim(one.id, here), { kind: "claimed", attempt: 2 });
  });

  test("a master takes at once what it had before its restart", async (t, store) => {
    await live(store, here);
    const one = await insert(store);
    await store.claim(one.id, here);
    const again = { master: here.master, boot: "second" };
    t.match(await store.claim(one.id, again), { kind: "claimed", attempt: 2 });
    await live(store, again);
    t.match(await store.claim(one.id, there), { kind: "taken" });
  });

  test("of many claims at the same time one succeeds", async (t, store) => {
    await live(store, here);
    await live(store, there);
    const all = await Promise.all(Array.from({ length: 20 }, () => insert(store)));
    const claims = await Promise.all(
      all.flatMap(({ id }) =>
        Array.from({ length: 6 }, (_, index) => store.claim(id, index % 2 === 0 ? here : there)),
      ),
    );
    t.equal(claims.filter(({ kind }) => kind === "claimed").length, all.length);
    t.equal(claims.filter(({ kind }) => kind === "taken").length, all.length * 5);
  });

  // ---- started, release ----

  test("a start is noted for the present attempt only", async (t, store) => {
    const one = await insert(store);
    await store.started(one.id, 0, 5);
    await store.claim(one.id, here);
    await store.started(one.id, 2, 6);
    t.notOk("startedAt" in ((await store.get(one.id)) ?? {}));
    await store.started(one.id, 1, 1234.5);
    t.match(await store.get(one.id), { startedAt: 1234.5 });
    await store.release(one.id, 1);
    t.notOk("startedAt" in ((await store.get(one.id)) ?? {}), "it runs no longer");
    await store.claim(one.id, here);
    t.notOk("startedAt" in ((await store.get(one.id)) ?? {}), "the next attempt has not started");
  });

  test("only the present attempt can be released, and not when it has ended", async (t, store) => {
    const one = await insert(store);
    await store.claim(one.id, here);
    t.equal(await store.release(one.id, 2), false);
    t.equal(await store.release(one.id, 1), true);
    t.equal(await store.release(one.id, 1), true, "it is queued still");
    t.same(ids(await store.queued(undefined, 10)), [one.id]);
    await store.claim(one.id, here);
    t.equal(await store.release(one.id, 1), false, "of an earlier attempt");
    await store.finish(one.id, 2, end());
    t.equal(await store.release(one.id, 2), false);
    t.equal(await store.release("nobody", 1), false);
    t.match(await store.get(one.id), { state: "finished" });
  });

  // ---- finish ----

  test("an end is got back whole", async (t, store) => {
    const every = Buffer.from(Array.from({ length: 256 }, (_, value) => value));
    const ends: SnippetEnd[] = [
      end(),
      end({
        outcome: { kind: "failed", failure: { reason: "exit-code", code: 3 } },
        facts: { stdoutBytes: 9, leaked: true },
        stdout: Buffer.concat([every, Buffer.alloc(3 * 2 ** 20, "x")]),
        stderr: every,
        result: JSON.parse('{"__proto__":[1,"\\ud800\\u0000",null],"n":1e300}'),
        files: [
          { name: "b.bin", sizeBytes: 256, content: every },
          { name: "a/ü.txt", sizeBytes: 0, content: new Uint8Array() },
          { name: "big", sizeBytes: 2 ** 21, content: Buffer.alloc(2 ** 21, "y") },
        ],
        refused: [{ path: "../x", why: "outside" }],
      }),
      end({ result: null, outcome: { kind: "cancelled", by: "user" }, finishedAt: 9.75 }),
      end({ result: "" }),
    ];
    const { node: _, ...nowhere } = end({ finishedAt: 2 ** 53 + 2 ** 10 });
    ends.push(nowhere);
    for (const one of ends) {
      const inserted = await insert(store);
      await store.claim(inserted.id, here);
      await store.started(inserted.id, 1, 77.5);
      t.equal(await store.finish(inserted.id, 1, one), true);
      t.strictSame(plain(await store.get(inserted.id)), {
        snippet: plain(inserted),
        state: "finished",
        attempt: 1,
        startedAt: 77.5,
        end: plain(one),
      });
    }
  });

  test("the first end counts, whichever attempt it is of", async (t, store) => {
    const one = await insert(store);
    await store.claim(one.id, there);
    await store.claim(one.id, here);
    await store.started(one.id, 2, 50);
    const first = end({ facts: { startedAt: 40.5 }, stdout: Buffer.from("of the first attempt") });
    t.equal(await store.finish(one.id, 1, first), true);
    const before = plain(await store.get(one.id));
    t.match(before, { state: "finished", attempt: 2, startedAt: 40.5 });
    t.equal(await store.finish(one.id, 2, end({ stderr: Buffer.from("late") })), false);
    t.equal(await store.finish(one.id, 1, first), false);
    t.strictSame(plain(await store.get(one.id)), before, "nothing was changed");
    t.equal(await store.finish("nobody", 1, end()), false);
  });

  test("an end may come for what was put back", async (t, store) => {
    const one = await insert(store);
    await store.claim(one.id, here);
    await store.release(one.id, 1);
    t.equal(await store.finish(one.id, 1, end({ facts: {} })), true);
    t.same(await store.queued(undefined, 10), []);
    t.notOk("startedAt" in ((await store.get(one.id)) ?? {}));
    t.same(await store.claim(one.id, here), { kind: "finished" });
  });

  test("of many ends at the same time one counts", async (t, store) => {
    const one = await insert(store);
    await store.claim(one.id, here);
    const told = await Promise.all(
      Array.from({ length: 12 }, (_, index) =>
        store.finish(one.id, 1, end({ stdout: Buffer.from(`${index}`) })),
      ),
    );
    t.equal(told.filter((isFirst) => isFirst).length, 1);
    const record = await store.get(one.id);
    t.equal(Buffer.from(record?.end?.stdout ?? []).toString(), `${told.indexOf(true)}`);
  });

  test("what is kept is what it was when it was told", async (t, store) => {
    const one = await insert(store);
    const stdout = Buffer.from("as it was");
    const told = store.finish(one.id, 0, end({ stdout }));
    await told;
    stdout.fill("x");
    const record = await store.get(one.id);
    t.equal(Buffer.from(record?.end?.stdout ?? []).toString(), "as it was");
  });

  // ---- cancel ----

  test("a queued one is finished as cancelled", async (t, store) => {
    const one = await insert(store, { callback: "http://127.0.0.1:1/" });
    t.equal(await store.cancel(one.id, "user", 1234), "cancelled");
    const nothing = new Uint8Array();
    t.strictSame(
      plain(await store.get(one.id)),
      plain({
        snippet: one,
        state: "finished",
        attempt: 0,
        end: {
          outcome: { kind: "cancelled", by: "user" },
          facts: {},
          stdout: nothing,
          stderr: nothing,
          files: [],
          refused: [],
          finishedAt: 1234,
        },
      }),
    );
    t.equal(await store.cancel(one.id, "user", 5), "over");
    t.equal(await store.cancel("nobody", "user", 5), "unknown");
    t.same(ids(await store.dueCallbacks(2000, 10)), [one.id], "its caller is told");
  });

  test("a running one is noted, for whoever runs it", async (t, store) => {
    await live(store, here);
    const [one, other, third] = [await insert(store), await insert(store), await insert(store)];
    await store.claim(one.id, here);
    await store.claim(other.id, there);
    await store.claim(third.id, here);
    t.equal(await store.cancel(one.id, "user", 1), "requested");
    t.equal(await store.cancel(one.id, "policy", 2), "requested");
    t.equal(await store.cancel(other.id, "user", 3), "requested");
    t.match(await store.get(one.id), { state: "running", cancel: "user" }, "who asked first");
    t.same(await store.cancelAsked(here.master), [one.id]);
    t.same(await store.cancelAsked(there.master), [other.id]);
    await store.finish(one.id, 1, end({ outcome: { kind: "cancelled", by: "user" } }));
    t.same(await store.cancelAsked(here.master), []);
    t.notOk("cancel" in ((await store.get(one.id)) ?? {}), "it is over");
  });

  test("what is wanted cancelled is not run again", async (t, store) => {
    const one = await insert(store);
    await store.claim(one.id, here);
    await store.cancel(one.id, "user", 1);
    await store.release(one.id, 1);
    const now = Date.now();
    t.same(await store.claim(one.id, here), { kind: "finished" });
    const record = await store.get(one.id);
    t.match(record, { state: "finished", attempt: 1 });
    t.same(record?.end?.outcome, { kind: "cancelled", by: "user" });
    t.ok(Math.abs((record?.end?.finishedAt ?? 0) - now) < 60_000);
  });

  test("cancel, claim and finish at the same time leave one end", async (t, store) => {
    await live(store, here);
    for (let round = 0; round < 15; round++) {
      const one = await insert(store);
      const [claim, cancel, ended] = await Promise.all([
        store.claim(one.id, here),
        store.cancel(one.id, "user", 1),
        store.finish(one.id, 1, end()),
      ]);
      const told = Number(cancel === "cancelled") + Number(ended);
      t.equal(told, 1, `${claim.kind}, ${cancel}, ${ended}`);
      t.match(await store.get(one.id), { state: "finished" });
    }
  });

  // ---- list, depths ----

  test("a list is newest first, by owner, state and language, in pages", async (t, store) => {
    const a = await insert(store, { owner: "ann", language: "c" });
    const b = await finished(store, { owner: "bob" });
    const c = await insert(store, { owner: "ann" });
    await store.claim(c.id, here);
    const d = await insert(store, { owner: "ann" });
    const list = async (query: object) => ids(await store.list({ limit: 10, ...query }));
    t.same(await list({}), ids([d, c, b, a]));
    t.same(await list({ limit: 2 }), ids([d, c]));
    t.same(await list({ before: c.id }), ids([b, a]));
    t.same(await list({ owner: "ann" }), ids([d, c, a]));
    t.same(await list({ owner: "ann", before: d.id, limit: 1 }), ids([c]));
    t.same(await list({ state: "queued" }), ids([d, a]));
    t.same(await list({ state: "running" }), ids([c]));
    t.same(await list({ state: "finished" }), ids([b]));
    t.same(await list({ language: "c" }), ids([a]));
    t.same(await list({ owner: "ann", language: "python", state: "queued" }), ids([d]));
    t.same(await list({ owner: "nobody" }), []);
    const { id, language, priority, owner, createdAt } = b;
    const known = { id, language, priority, owner, createdAt };
    const { outcome, facts, node, finishedAt } = end();
    t.strictSame(
      (await store.list({ state: "finished", limit: 1 }))[0],
      {
        ...known,
        state: "finished",
        attempt: 1,
        startedAt: facts.startedAt,
        finishedAt,
        outcome,
        facts,
        node,
      },
      "without output, files and task",
    );
    t.strictSame((await store.list({ before: b.id, limit: 1 }))[0], {
      id: a.id,
      owner: "ann",
      language: "c",
      priority: a.priority,
      createdAt: a.createdAt,
      state: "queued",
      attempt: 0,
    });
  });

  test("depths count what is queued, with the oldest", async (t, store) => {
    t.same(await store.depths(), {});
    await insert(store, { language: "c", createdAt: 30 });
    await insert(store, { language: "c", createdAt: 20.5 });
    await insert(store, { createdAt: 10 });
    const gone = await insert(store, { createdAt: 5 });
    await store.claim(gone.id, here);
    t.strictSame(await store.depths(), {
      c: { count: 2, oldestAt: 20.5 },
      python: { count: 1, oldestAt: 10 },
    });
  });

  // ---- callbacks ----

  test("callbacks are due until they are told or given up", async (t, store) => {
    const callback = "http://127.0.0.1:1/a";
    const a = await finished(store, { callback }, { finishedAt: 200 });
    const b = await finished(store, { callback: `${callback}b` }, { finishedAt: 100 });
    const c = await insert(store, { callback });
    await finished(store, {}, { finishedAt: 100 });
    t.same(await store.dueCallbacks(99, 10), [], "not before the end");
    t.strictSame(await store.dueCallbacks(200, 10), [
      { id: b.id, url: `${callback}b`, tries: 0 },
      { id: a.id, url: callback, tries: 0 },
    ]);
    t.same(ids(await store.dueCallbacks(200, 1)), [b.id]);
    await store.callbackTried(b.id, 500);
    await store.callbackTried(a.id, undefined);
    t.same(await store.dueCallbacks(499, 10), []);
    t.same(await store.dueCallbacks(500, 10), [{ id: b.id, url: `${callback}b`, tries: 1 }]);
    await store.callbackTried(b.id, 600);
    t.match(await store.dueCallbacks(600, 10), [{ id: b.id, tries: 2 }]);
    await store.callbackTried(b.id, undefined);
    await store.callbackTried(b.id, 700);
    await store.callbackTried("nobody", 700);
    t.same(await store.dueCallbacks(1000, 10), [], "given up is given up");
    await store.finish(c.id, 0, end({ finishedAt: 900 }));
    t.same(ids(await store.dueCallbacks(1000, 10)), [c.id]);
  });

  // ---- leases ----

  test("abandoned are running ones whose master's lease is over", async (t, store) => {
    const now = Date.now();
    await store.renewLease(here.master, here.boot, now + 60_000);
    const [a, b, c] = [await insert(store), await insert(store), await insert(store)];
    const queued = await insert(store);
    await store.claim(a.id, here);
    await store.claim(b.id, there);
    await store.claim(c.id, here);
    await store.finish(c.id, 1, end());
    t.same(ids(await store.abandoned(now, 10)), [b.id], "of one without a lease");
    t.same(ids(await store.abandoned(now + 120_000, 10)), [a.id, b.id], "oldest first");
    t.same(ids(await store.abandoned(now + 120_000, 1)), [a.id]);
    const { id, language, priority, owner, createdAt } = b;
    t.strictSame(await store.abandoned(now, 10), [{ id, language, priority, owner, createdAt }]);
    await store.renewLease(here.master, "second", now + 60_000);
    t.same(ids(await store.abandoned(now, 10)), [a.id, b.id], "of its earlier start");
    t.equal((await store.get(queued.id))?.state, "queued");
  });

  // ---- prune, close ----

  test("finished ones are removed when they are old, so many at a time", async (t, store) => {
    const content = Buffer.alloc(100_000, "f");
    const files = [{ name: "f", sizeBytes: content.length, content }];
    const old = await Promise.all(
      [10, 20, 30].map((finishedAt) => finished(store, {}, { finishedAt, files })),
    );
    const young = await finished(store, {}, { finishedAt: 40 });
    const keyed = snippet();
    const news = [{ snippet: keyed, idempotency: { key: "k", digest: "d" } }];
    await store.insert(news, { isPublished: true });
    await store.cancel(keyed.id, "user", 15);
    const waiting = await insert(store, { createdAt: 1 });
    for (const { id } of [...old, young]) await store.get(id);
    t.equal(await store.prune(40, 2), 2);
    t.same(
      ids(await store.list({ state: "finished", limit: 10 })).sort(),
      ids([old[1], old[2], young].flatMap((one) => one ?? [])).sort(),
      "the longest ended first",
    );
    t.equal(await store.prune(40, 10), 2);
    t.equal(await store.prune(40, 10), 0);
    for (const { id } of [...old, keyed]) t.equal(await store.get(id), undefined);
    t.equal((await store.get(young.id))?.state, "finished");
    t.equal((await store.get(waiting.id))?.state, "queued");
    const again = snippet();
    const later = [{ snippet: again, idempotency: { key: "k", digest: "other" } }];
    t.match(await store.insert(later, { isPublished: true }), [{ kind: "new", id: again.id }]);
  });

  test("a close waits for what was asked, and what is asked later is refused", async (t, store) => {
    const asked = insert(store);
    await store.close();
    await asked;
    await store.close();
    const refused = await store.get("x").then(
      () => undefined,
      (error: unknown) => error,
    );
    t.ok(refused instanceof StoreDown);
    t.ok(refused instanceof StoreDown && refused.remedy.length > 10);
  });
}

function ids(rows: readonly { id: string }[]): string[] {
  return rows.map(({ id }) => id);
}

/** Databases count on their own clocks. */
function near(t: Test, claim: Claim, untilMs: number, why = "until its lease is over"): void {
  t.equal(claim.kind, "taken");
  if (claim.kind === "taken") t.ok(Math.abs(claim.untilMs - untilMs) < 1000, why);
}
