import t from "tap";
import { Run } from "./sample.ts";

const handlers = {
  good: { exit: "success" as const },
  bad: { exit: "failure" as const },
  always: { exit: "any" as const },
};

t.test("exit handlers start when all other tasks have finished", async (t) => {
  const run = new Run({ always: { exit: "any" }, a: {}, b: {} });
  t.same(run.start(), ["start a#1", "start b#1"]);
  t.same(run.end("a"), ["a succeeded"]);
  t.same(run.end("b"), ["b succeeded", "start always#1"]);
  t.equal(run.state.phase, "exit");
  t.same(run.end("always"), ["always succeeded", "run succeeded"]);
});

t.test("each runs by the outcome of what was before it", async (t) => {
  const fine = new Run({ a: {}, ...handlers });
  fine.start(5);
  t.same(fine.end("a"), [
    "a succeeded",
    "bad skipped: run succeeded",
    "start good#1",
    "start always#1",
  ]);
  const failing = new Run({ a: {}, ...handlers });
  failing.start(5);
  t.same(failing.fail("a"), [
    "a failed: exit-code",
    "good skipped: run failed",
    "start bad#1",
    "start always#1",
  ]);
  const cancelled = new Run({ a: {}, ...handlers });
  cancelled.start(5);
  cancelled.cancel();
  t.same(cancelled.end("a", { kind: "cancelled", by: "user" }), [
    "a cancelled by user",
    "good skipped: run cancelled",
    "bad skipped: run cancelled",
    "start always#1",
  ]);
  t.same(cancelled.end("always"), ["always succeeded", "run cancelled by user"]);
});

t.test("a DAG of exit handlers alone has succeeded before them", async (t) => {
  t.same(new Run(handlers).start(5), [
    "bad skipped: run succeeded",
    "start good#1",
    "start always#1",
  ]);
});

t.test("a handler's failure fails the run, and is not seen by other handlers", async (t) => {
  const run = new Run({ big: { exit: "any", resources: { cpu: 99 } }, ...handlers });
  t.same(run.start(5), [
    "bad skipped: run succeeded",
    "big failed: backend",
    "start good#1",
    "start always#1",
  ]);
  t.same(run.state.outcomeSoFar, { kind: "succeeded" });
  run.end("good");
  t.same(run.end("always"), ["always succeeded", "run failed: big"]);
  t.same(run.state.outcomeSoFar, { kind: "failed", failed: ["big"] });
});

t.test("a handler that needs a handler waits for it", async (t) => {
  const run = new Run({ a: {}, x: { exit: "any" }, y: { exit: "any", needs: ["x"] } });
  run.start(5);
  t.same(run.end("a"), ["a succeeded", "start x#1"]);
  t.same(run.end("x"), ["x succeeded", "start y#1"]);
});

t.test("a handler after an unwanted handler is skipped with it, or runs on any", async (t) => {
  const run = new Run({
    x: { exit: "failure" },
    after: { exit: "any", needs: ["x"] },
    any: { exit: "any", needs: ["x?any"] },
    unwanted: { exit: "failure", needs: ["x?any"] },
  });
  t.same(run.start(5), [
    "x skipped: run succeeded",
    "unwanted skipped: run succeeded",
    "after skipped: x",
    "start any#1",
  ]);
});

t.test("a handler may need an ordinary task, and still waits for all", async (t) => {
  const run = new Run({
    a: {},
    b: {},
    x: { exit: "any", needs: ["a"] },
    y: { exit: "any", needs: ["a?failure"] },
  });
  run.start();
  t.same(run.end("a"), ["a succeeded", "y skipped: a"]);
  t.same(run.end("b"), ["b succeeded", "start x#1"]);
});

t.test("a handler may be a fan-out", async (t) => {
  const run = new Run({ x: { exit: "any", map: "{{ run }}" } });
  t.same(run.start(), ["map x"]);
  t.same(run.map("x", 2), ["start x[0]#1", "start x[1]#1"]);
  t.same(run.cancel(), ["stop x[0]#1 by user", "stop x[1]#1 by user"]);
  run.end("x[0]", { kind: "cancelled", by: "user" });
  t.same(run.end("x[1]"), ["x[1] succeeded", "x cancelled by user", "run cancelled by user"]);
});
