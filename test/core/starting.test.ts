import t from "tap";
import { RunState } from "../../agent/core/run-state.ts";
import { dagOf, python, Run } from "./sample.ts";

t.test(
  "priority comes first, then the longest remaining path, then the order of the document",
  async (t) => {
    const run = new Run({
      plain: {},
      second: {},
      long: {},
      urgent: { priority: 5 },
      next: { needs: ["long"] },
    });
    t.same(run.start(1), ["start urgent#1"]);
    t.same(run.state.dump().ready, ["long", "plain", "second"]);
    t.same(run.end("urgent"), ["urgent succeeded", "start long#1"]);
    t.same(run.end("long"), ["long succeeded", "start plain#1"]);
    t.same(run.end("plain"), ["plain succeeded", "start second#1"]);
  },
);

t.test("no more run at once than there are slots, or than the DAG's concurrency", async (t) => {
  const tasks = { a: {}, b: {}, c: {} };
  t.same(new Run(tasks).start(2), ["start a#1", "start b#1"]);
  t.same(new Run(tasks, { concurrency: 1 }).start(2), ["start a#1"]);
  t.same(new Run(tasks, { concurrency: 5 }).start(2), ["start a#1", "start b#1"]);
});

t.test("a full pool keeps back its tasks and no others", async (t) => {
  const pooled = { pool: "disk", priority: 9 };
  const run = new Run({ a: pooled, b: pooled, c: {}, d: pooled }, { pools: { disk: 1 } });
  t.same(run.start(3), ["start a#1", "start c#1"]);
  t.same(run.state.dump().free.pools, { disk: 0 });
  t.same(run.end("c"), ["c succeeded"]);
  t.same(run.fail("a"), ["a failed: exit-code", "start b#1"]);
  t.same(run.end("b"), ["b succeeded", "start d#1"]);
});

t.test("resources are held while a task runs", async (t) => {
  const run = new Run({
    a: { resources: { cpu: 3, memoryBytes: 100 } },
    b: { resources: { cpu: 2 } },
    c: { resources: { memoryBytes: 900 } },
    d: { resources: { memoryBytes: 1 } },
  });
  t.same(run.start(9), ["start a#1", "start c#1"]);
  t.same(run.end("a"), ["a succeeded", "start b#1", "start d#1"]);
});

t.test("shares of a core add up to a core", async (t) => {
  const share = { resources: { cpu: 0.1 } };
  const tasks = Object.fromEntries(Array.from({ length: 10 }, (_, i) => [`t${i}`, share]));
  t.equal(new Run(tasks).start(20, { cpu: 1 }).length, 10);
});

t.test("a task that asks for more than the node has fails, and says what", async (t) => {
  const run = new Run({ a: { resources: { gpu: 1 } }, b: { needs: ["a?failure"] } });
  t.same(run.start(), ["a failed: backend", "start b#1"]);
  t.match(run.state.stateOf(0), {
    outcome: { failure: { detail: "the task asks for 1 of gpu, this node has 0" } },
  });
});

t.test("a document that could not end is refused", async (t) => {
  const make = (tasks: Parameters<typeof dagOf>[0], pools = {}) =>
    new RunState(dagOf(tasks, { pools }));
  t.throws(() => make({ a: { needs: ["x"] } }), /edge x -> a names an unknown task/);
  t.throws(() => make({ a: { needs: ["b"] }, b: { needs: ["a"] } }), /cycle/);
  t.throws(() => make({ a: { pool: "p" } }), /the pool p, which has no places/);
  t.throws(() => make({ a: { pool: "p" } }, { p: 0 }), /no places/);
  t.throws(
    () => make({ a: { exit: "any" }, b: { needs: ["a"] } }),
    /b waits for the exit handler a/,
  );
});

t.test("a run starts once", async (t) => {
  const run = new Run({ a: python });
  run.start();
  t.throws(() => run.start(), /already started/);
});

t.test("what does not exist has no name and no task", async (t) => {
  const run = new Run({ a: {} });
  t.equal(run.state.keyOf(7), "?7");
  t.equal(run.state.taskIndexOf(7), -1);
  t.equal(run.state.attemptOf(7), 0);
  t.equal(run.state.instanceCount, 1);
  t.match(run.state.stateOf(7), { id: "waiting" });
  t.throws(() => run.state.taskOf(7), /no instance 7/);
});
