import t from "tap";
import { Run } from "./sample.ts";

t.test("a task starts when its needs have succeeded", async (t) => {
  const run = new Run({ a: {}, b: {}, c: { needs: ["a", "b"] } });
  t.equal(run.state.phase, "new");
  t.same(run.start(), ["start a#1", "start b#1"]);
  t.equal(run.state.phase, "tasks");
  t.same(run.end("a"), ["a succeeded"]);
  t.same(run.end("b"), ["b succeeded", "start c#1"]);
  t.same(run.end("c"), ["c succeeded", "run succeeded"]);
  t.equal(run.state.phase, "finished");
  t.match(run.state.counts, { total: 3, running: 0, succeeded: 3, attempts: 3 });
});

t.test("a DAG without tasks ends at once", async (t) => {
  t.same(new Run({}).start(), ["run succeeded"]);
});

t.test("a failure skips what needs success, and what needs that", async (t) => {
  const run = new Run({ a: {}, b: { needs: ["a"] }, c: { needs: ["b"] }, d: { needs: ["b?any"] } });
  run.start();
  t.same(run.fail("a"), ["a failed: exit-code", "b skipped: a", "c skipped: b", "start d#1"]);
  t.same(run.end("d"), ["d succeeded", "run failed: a"]);
  t.same(run.state.failedTasks, ["a"]);
});

t.test("an edge on failure is met by a failure alone", async (t) => {
  const tasks = { a: {}, good: { needs: ["a"] }, bad: { needs: ["a?failure"] } };
  const failing = new Run(tasks);
  failing.start();
  t.same(failing.fail("a"), ["a failed: exit-code", "good skipped: a", "start bad#1"]);
  const fine = new Run(tasks);
  fine.start();
  t.same(fine.end("a"), ["a succeeded", "bad skipped: a", "start good#1"]);
});

t.test("a skipped task meets an edge on any, and neither success nor failure", async (t) => {
  const run = new Run({
    a: {},
    skipped: { needs: ["a?failure"] },
    any: { needs: ["skipped?any"] },
    success: { needs: ["skipped"] },
    failure: { needs: ["skipped?failure"] },
  });
  run.start();
  t.same(run.end("a"), [
    "a succeeded",
    "skipped skipped: a",
    "failure skipped: skipped",
    "success skipped: skipped",
    "start any#1",
  ]);
});

t.test("one unmet need skips a task although others are open, and once", async (t) => {
  const run = new Run({ a: {}, b: {}, c: { needs: ["a", "b"] } });
  run.start();
  t.same(run.fail("a"), ["a failed: exit-code", "c skipped: a"]);
  t.same(run.fail("b"), ["b failed: exit-code", "run failed: a,b"]);
});

t.test("the same task can be skipped by two edges at the same time", async (t) => {
  const run = new Run({
    a: {},
    b: { needs: ["a"] },
    c: { needs: ["a", "b"] },
    d: { needs: ["c?any"] },
  });
  run.start();
  t.same(run.fail("a"), ["a failed: exit-code", "c skipped: a", "b skipped: a", "start d#1"]);
});

t.test("a failure that is allowed does not fail the run", async (t) => {
  const run = new Run({
    a: { allowFailure: true },
    b: { needs: ["a"] },
    c: { needs: ["a?failure"] },
  });
  run.start();
  run.fail("a");
  t.same(run.end("c"), ["c succeeded", "run succeeded"]);
  t.match(run.state.counts, { failed: 1, skipped: 1, succeeded: 1 });
});

t.test("what fails while the first tasks are armed arms its successors once", async (t) => {
  const run = new Run({ big: { resources: { cpu: 99 } }, after: { needs: ["big?failure"] } });
  t.same(run.start(), ["big failed: backend", "start after#1"]);
});

t.test("a deep DAG is skipped without recursion", async (t) => {
  const tasks: Record<string, { needs?: string[] }> = { t0: {} };
  for (let i = 1; i < 20_000; i += 1) tasks[`t${i}`] = { needs: [`t${i - 1}`] };
  const run = new Run(tasks);
  run.start();
  t.equal(run.fail("t0").length, 20_001);
});

t.test("when decides whether a task runs", async (t) => {
  const run = new Run({ a: { when: ["{{ x }}"] }, b: { needs: ["a?any"] } });
  t.same(run.start(), ["when a"]);
  t.same(run.state.openEvaluations(), [{ type: "evaluate-when", task: 0 }]);
  t.same(run.when("a", false), ["a skipped: when", "start b#1"]);
  t.same(run.state.openEvaluations(), []);
  t.same(run.when("a", true), [], "a second answer is ignored");
  const other = new Run({ a: { when: ["{{ x }}"] } });
  other.start();
  t.same(other.when("a", true), ["start a#1"]);
  t.same(other.when("a", true), [], "a second answer is ignored");
});

t.test("an evaluation that fails fails the task", async (t) => {
  const run = new Run({ a: { when: ["{{ x }}"] } });
  run.start();
  const failure = { reason: "bad-result", detail: "x is not there" } as const;
  const event = { type: "evaluation-failed", task: 0, now: 0, failure } as const;
  t.same(run.event(event), ["a failed: bad-result", "run failed: a"]);
  t.same(run.event(event), [], "a late answer is ignored");
});

t.test(
  "an attempt that nobody cancelled the run for, but ended so, is not a success",
  async (t) => {
    const run = new Run({ a: {}, b: { needs: ["a"] } });
    run.start();
    t.same(run.end("a", { kind: "cancelled", by: "policy" }), [
      "a cancelled by policy",
      "b skipped: a",
      "run cancelled by policy",
    ]);
  },
);
