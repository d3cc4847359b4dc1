// The parts that RunState is made of, where a run cannot show what they refuse: bugs of ours.
import t from "tap";
import { at } from "../../agent/core/at.ts";
import { Books } from "../../agent/core/books.ts";
import { FanOuts } from "../../agent/core/fan-out.ts";
import { buildGraph } from "../../agent/core/graph.ts";
import { Heap } from "../../agent/core/heap.ts";
import { problemsOf } from "../../agent/core/invariants.ts";
import { Slots } from "../../agent/core/slots.ts";
import { InvalidTransition, isLegalMove, READY, RUNNING } from "../../agent/core/task-state.ts";
import { TaskTable } from "../../agent/core/task-table.ts";
import { capacityOf, chain, dagOf, Run } from "./sample.ts";

t.test("a heap gives its items in order", async (t) => {
  const heap = new Heap<number>((a, b) => a < b);
  t.equal(heap.pop(), undefined);
  for (const n of [5, 3, 8, 1, 9, 2, 7, 3]) heap.push(n);
  t.equal(heap.size, 8);
  t.equal(heap.peek(), 1);
  t.same(
    Array.from({ length: 8 }, () => heap.pop()),
    [1, 2, 3, 3, 5, 7, 8, 9],
  );
  t.same(heap.values(), []);
});

t.test("a move that is not legal throws, and tells the moves that led to it", async (t) => {
  t.ok(isLegalMove("waiting", "ready"));
  t.notOk(isLegalMove("finished", "ready"));
  const table = new TaskTable(buildGraph(dagOf({ a: {} })));
  for (let i = 0; i < 150; i += 1) {
    table.move(0, READY, i);
    table.move(0, RUNNING, i);
  }
  try {
    table.move(0, { id: "waiting" }, 300);
    t.fail("it moved");
  } catch (error) {
    if (!(error instanceof InvalidTransition)) throw error;
    t.equal(error.message, "task a cannot go from running to waiting");
    t.equal(error.story.length, 256, "the last moves, not all");
    t.equal(error.story[0], "22 a running -> ready");
    t.equal(error.story.at(-1), "149 a ready -> running");
  }
});

t.test("a short story is told from its start", async (t) => {
  const run = new Run({ a: {} });
  run.now = 3;
  run.start();
  t.same(run.state.dump().story, ["3 a waiting -> ready", "3 a ready -> running"]);
});

t.test("an index beyond the end is a bug", async (t) => {
  t.equal(at([1, 0], 1), 0);
  t.throws(() => at(new Int32Array(2), 2), /no entry 2 of 2/);
});

t.test("what has no slot cannot leave it", async (t) => {
  t.throws(() => new Slots().remove(1), /instance 1 has no slot/);
});

t.test("what was not expanded has no items", async (t) => {
  const finish = () => new FanOuts(3).finish({ parent: 1, index: 0 }, { kind: "succeeded" });
  t.throws(finish, /instance 1 has no items/);
});

/** A run in the middle, whose books are spoiled by hand. */
function books(): Books {
  const pooled = { pool: "p", resources: { cpu: 1 } };
  const tasks = {
    ...chain(3),
    p: pooled,
    m: { map: "{{ x }}", mapConcurrency: 1 },
    w: { waitFor: { event: "e" } },
    last: { needs: ["m"] },
  };
  const books = new Books(dagOf(tasks, { pools: { p: 1 } }));
  books.progress.phase = "tasks";
  books.admission.reset(capacityOf(4), []);
  return books;
}

t.test("books that do not add up are told one by one", async (t) => {
  const told = (spoil: (b: Books) => void) => {
    const spoiled = books();
    spoil(spoiled);
    return problemsOf(spoiled).join("\n");
  };
  t.equal(
    told((b) => b.move(0, READY) ?? b.admission.push(0)),
    "nothing runs and nothing will",
  );
  t.match(
    told((b) => b.move(0, READY)),
    /the ready queue holds , ready are 0/,
  );
  t.match(
    told((b) => b.slots.open(0)),
    /c0 is waiting, its slot says otherwise/,
  );
  t.match(
    told((b) => b.slots.open(0)),
    /counts.running is 0, counted 1/,
  );
  const runSecond = (b: Books) => {
    b.slots.append(b.slots.open(0), 1);
    for (const i of [0, 1]) {
      b.move(i, READY);
      b.move(i, RUNNING);
    }
    b.table.countAttempt(1);
  };
  t.match(told(runSecond), /c1 runs and is not first/);
  t.match(told(runSecond), /c0 has no attempt number/);
  const handed = (b: Books) => {
    b.slots.append(b.slots.open(0), 1);
    b.table.countAttempt(1);
    b.move(1, { id: "handed", after: 2 });
  };
  t.match(told(handed), /c1 is behind another/);
  t.match(
    told((b) => b.slots.open(3)),
    /cpu: 4 free, 1 used of 4/,
  );
  t.match(
    told((b) => b.slots.open(3)),
    /free and held places of p is 2, counted 1/,
  );
  const expand = (b: Books) => {
    b.move(4, { id: "evaluating", what: "map" });
    b.move(4, { id: "expanded" });
    b.table.expand(4, 2);
  };
  t.match(told(expand), /places of 4 is 0, counted 1/);
  t.match(told(expand), /counts.total is 7, counted 9/);
  const finishItem = (b: Books) => {
    expand(b);
    b.table.fanOuts.finish({ parent: 4, index: 0 }, { kind: "succeeded" });
  };
  t.match(told(finishItem), /left of m is 1, counted 2/);
  t.match(
    told((b) => b.move(5, { id: "awaiting", event: "e", until: 9 })),
    /w: timer differs/,
  );
  const meet = (b: Books) => {
    const ignore = () => undefined;
    b.unmet.settle(4, "succeeded", { isWaiting: () => true, unreachable: ignore, met: ignore });
  };
  t.match(told(meet), /unmet of last is 0, counted 1/);
  const skip = (b: Books) =>
    b.move(0, { id: "finished", outcome: { kind: "skipped", because: "x" } });
  t.match(told(skip), /left is 7, counted 6/);
  t.match(told(skip), /counts.skipped is 0, counted 1/);
  const onlyExit = new Books(dagOf({ x: { exit: "any" } }));
  onlyExit.progress.exitLeft = 5;
  t.same(problemsOf(onlyExit), ["exitLeft is 5, counted 1"]);
});

t.test("check throws with every sentence", async (t) => {
  const run = new Run({ m: { map: "{{ x }}" } });
  run.start();
  t.throws(() => {
    Object.assign(run.state.counts, { total: 9, failed: 3 });
    run.state.check();
  }, /invariants broken:\ncounts.total is 9, counted 1\ncounts.failed is 3, counted 0/);
});
