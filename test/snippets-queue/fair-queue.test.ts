// Who is next. Examples first; then random histories, which must go as a plain reference says, and
// which show the two promises: a flood delays nobody else, and nobody is starved.
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import { FairQueue } from "../../master/snippets/fair-queue.ts";
import type { QueueItem } from "../../master/snippets/store/store.ts";
import { ReferenceQueue } from "./fair-queue-reference.ts";
import { queueItem, queueItems } from "./items.ts";

const numRuns = Number(process.env.EDGEDAG_TEST_RUNS ?? 1500);
const agingMs = 30_000;
const all = () => true;

function queueOf(...items: QueueItem[]): FairQueue<{ item: QueueItem }> {
  const queue = new FairQueue<{ item: QueueItem }>({ agingMs });
  for (const item of items) queue.add({ item });
  return queue;
}

function taken(queue: FairQueue<{ item: QueueItem }>, n: number, now = 1000): QueueItem[] {
  return Array.from({ length: n }, () => queue.take(now, all)?.item).filter((item) => !!item);
}

function owners(items: QueueItem[]): string {
  return items.map(({ owner }) => owner).join(" ");
}

t.test("of one owner, what came first is first", async (t) => {
  const items = queueItems(5);
  t.strictSame(taken(queueOf(...items), 6), items);
});

t.test("a higher priority is first", async (t) => {
  const items = [1, 9, 0, 5].map((priority) => queueItem({ priority }));
  const order = taken(queueOf(...items), 4).map(({ priority }) => priority);
  t.strictSame(order, [9, 5, 1, 0]);
});

t.test("owners have turns, whatever each of them sent first", async (t) => {
  const flood = queueItems(4, { owner: "ann" });
  const others = [...queueItems(2, { owner: "bob" }), ...queueItems(2, { owner: "cid" })];
  const order = owners(taken(queueOf(...flood, ...others), 8));
  t.equal(order, "ann bob cid ann bob cid ann ann");
});

t.test("languages have turns, and owners inside of them", async (t) => {
  const queue = queueOf(
    ...queueItems(4, { owner: "ann" }),
    ...queueItems(1, { owner: "bob" }),
    ...queueItems(2, { owner: "ann", language: "rust" }),
  );
  const order = taken(queue, 7).map(({ language, owner }) => `${language[0]}:${owner}`);
  t.equal(order.join(" "), "p:ann r:ann p:bob r:ann p:ann p:ann p:ann");
});

t.test("a language without room is passed over, and asked once a take", async (t) => {
  const queue = queueOf(
    queueItem({ language: "rust", priority: 9 }),
    queueItem({ language: "rust", priority: 3 }),
    queueItem(),
  );
  const asked: string[] = [];
  const next = queue.take(1000, (language) => {
    asked.push(language);
    return language !== "rust";
  });
  t.equal(next?.item.language, "python");
  t.strictSame(asked.sort(), ["python", "rust"]);
  t.equal(
    queue.take(1000, () => false),
    undefined,
  );
  t.equal(queue.size, 2, "what was passed over still waits");
});

t.test("who waits gains a priority per aging interval, up to the highest", async (t) => {
  const low = queueItem({ priority: 3, createdAt: 0 });
  const mid = queueItem({ priority: 5, owner: "bob", createdAt: agingMs * 2 - 1 });
  t.strictSame(taken(queueOf(low, mid), 1, agingMs * 2 - 1), [mid], "a moment too early");
  t.strictSame(
    taken(queueOf(low, mid), 1, agingMs * 2),
    [low],
    "it waits longer, at the same rank",
  );
  const high = queueItem({ priority: 9, owner: "bob", createdAt: agingMs * 50 });
  const queue = queueOf(low, high);
  t.strictSame(taken(queue, 2, agingMs * 50), [low, high], "at the highest, not above it");
});

t.test("an owner who was served gains nothing until the next turn", async (t) => {
  const old = queueItems(100, { createdAt: 0 });
  const queue = queueOf(...old);
  const now = agingMs * 20;
  t.strictSame(taken(queue, 1, now), [old[0]]);
  const fresh = queueItem({ owner: "bob", createdAt: now });
  queue.add({ item: fresh });
  t.strictSame(taken(queue, 1, now), [old[1]], "it waits for a turn since the same time");
  t.strictSame(taken(queue, 1, now), [fresh], "the rest of the old flood does not go before it");
});

t.test("a clock that is ahead elsewhere, or set back here, disturbs nothing", async (t) => {
  const ahead = queueItem({ owner: "bob", createdAt: 1e15 });
  const queue = queueOf(...queueItems(3), ahead);
  t.equal(owners(taken(queue, 2, 5000)), "ann bob");
  t.equal(owners(taken(queue, 2, 0)), "ann ann");
});

t.test("what is removed is not taken, and the sizes say so", async (t) => {
  const items = [...queueItems(3), queueItem({ language: "rust" })];
  const queue = queueOf(...items);
  t.strictSame([...queue.sizes()].sort(), [
    ["python", 3],
    ["rust", 1],
  ]);
  t.equal(queue.oldest()?.item, items[0]);
  t.ok(queue.remove(items[0]?.id ?? ""));
  t.notOk(queue.remove(items[0]?.id ?? ""), "it is gone");
  t.notOk(queue.remove("never there"));
  t.equal(queue.oldest()?.item, items[1]);
  t.equal(queue.size, 3);
  t.strictSame(new Set(taken(queue, 4)), new Set(items.slice(1)));
  t.strictSame([...queue.sizes()], []);
  t.equal(queue.oldest(), undefined);
});

t.test("an id that was delivered twice waits twice", async (t) => {
  const item = queueItem();
  const again = { ...item };
  const queue = queueOf(item, again);
  t.equal(queue.size, 2);
  t.ok(queue.remove(item.id));
  t.equal(queue.take(1000, all)?.item, item, "the later one was removed");
  t.equal(queue.size, 0);
  t.notOk(queue.remove(item.id));
});

const commandArbitrary = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("add" as const),
      language: fc.constantFrom("python", "rust", "go"),
      owner: fc.constantFrom("", "ann", "bob", "cid"),
      priority: fc.constantFrom(0, 4, 5, 6, 9),
      age: fc.integer({ min: -5, max: 40 }),
      isTwin: fc.boolean(),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("take" as const),
      without: fc.constantFrom("", "python", "rust"),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("remove" as const), nth: fc.nat(30) }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.integer({ min: 0, max: 30 }) }),
  },
);

t.test("any history goes as the plain reference says", async (t) => {
  let takes = 0;
  fc.assert(
    fc.property(fc.array(commandArbitrary, { maxLength: 120, size: "max" }), (commands) => {
      const queue = new FairQueue<{ item: QueueItem }>({ agingMs: 10 });
      const reference = new ReferenceQueue(10);
      let now = 1000;
      for (const command of commands) {
        switch (command.do) {
          case "add": {
            const { language, owner, priority, age, isTwin } = command;
            const twin = isTwin ? reference.items.at(-1) : undefined;
            const item = queueItem({ language, owner, priority, createdAt: now - age });
            if (twin !== undefined) item.id = twin.id;
            queue.add({ item });
            reference.add(item);
            break;
          }
          case "take": {
            const canRun = (language: string) => language !== command.without;
            strictEqual(queue.take(now, canRun)?.item, reference.take(now, canRun));
            takes += 1;
            break;
          }
          case "remove": {
            const id = reference.items[command.nth]?.id ?? "none";
            strictEqual(queue.remove(id), reference.remove(id));
            break;
          }
          case "wait":
            now += command.ms;
        }
        const { items } = reference;
        strictEqual(queue.size, items.length);
        strictEqual(queue.oldest()?.item, items[0]);
        const sizes = Object.groupBy(items, ({ language }) => language);
        deepStrictEqual(
          Object.fromEntries(queue.sizes()),
          Object.fromEntries(Object.entries(sizes).map(([name, of]) => [name, of?.length])),
        );
      }
    }),
    { numRuns },
  );
  t.ok(takes > numRuns * 10, `${takes} takes`);
});

const floodArbitrary = fc.record({
  floods: fc.uniqueArray(
    fc.record({
      language: fc.constantFrom("python", "rust", "go"),
      owner: fc.constantFrom("ann", "bob", "cid"),
      priority: fc.integer({ min: 0, max: 5 }),
    }),
    { minLength: 1, maxLength: 8, selector: (flood) => JSON.stringify(flood) },
  ),
  served: fc.nat(200),
  stepMs: fc.constantFrom(0, 1, 500, 20_000),
});

t.test("however long others flood, one who comes is served after a turn of each", async () => {
  fc.assert(
    fc.property(floodArbitrary, ({ floods, served, stepMs }) => {
      const queue = new FairQueue<{ item: QueueItem }>({ agingMs });
      for (const flood of floods) for (const item of queueItems(300, flood)) queue.add({ item });
      let now = 1000;
      const next = () => {
        now += stepMs;
        return queue.take(now, all)?.item;
      };
      for (let i = 0; i < served; i += 1) next();
      const late = queueItem({ owner: "eve", priority: 5, createdAt: now });
      queue.add({ item: late });
      let turns = 1;
      while (next() !== late) turns += 1;
      // Each flood may have aged once, and each language may be before it in the turns.
      const bound = 2 * floods.length + 1;
      ok(turns <= bound, `${turns} turns beside ${floods.length} floods`);
    }),
    { numRuns: numRuns / 5 },
  );
});

t.test("beside a load of the highest priority that never ends, the lowest is served", async () => {
  fc.assert(
    fc.property(
      fc.record({
        language: fc.constantFrom("python", "rust"),
        owner: fc.constantFrom("ann", "bob"),
        priority: fc.integer({ min: 0, max: 8 }),
      }),
      fc.integer({ min: 100, max: 10_000 }),
      (low, stepMs) => {
        const queue = new FairQueue<{ item: QueueItem }>({ agingMs });
        const item = queueItem({ ...low, createdAt: 0 });
        queue.add({ item });
        let now = 0;
        const busy = { priority: 9 };
        for (;;) {
          for (const owner of ["ann", "bob"]) {
            queue.add({ item: queueItem({ ...busy, owner, createdAt: now }) });
          }
          if (queue.take(now, all)?.item === item) break;
          now += stepMs;
          ok(now <= agingMs * (9 - low.priority) + stepMs * 4, `it still waits after ${now} ms`);
        }
      },
    ),
    { numRuns: numRuns / 5 },
  );
});
