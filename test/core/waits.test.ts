import t from "tap";
import { Run } from "./sample.ts";

t.test("a task waits for its event", async (t) => {
  const run = new Run({ a: { waitFor: { event: "go" } }, b: { waitFor: { event: "go" } } });
  t.same(run.start(), []);
  t.same(run.publish("other"), []);
  t.same(run.publish("go"), ["start a#1", "start b#1"]);
  t.same(run.publish("go"), []);
});

t.test("an event that was published before counts", async (t) => {
  const run = new Run({ a: {}, b: { needs: ["a"], waitFor: { event: "go", timeoutMs: 10 } } });
  run.start();
  t.same(run.publish("go"), []);
  t.same(run.end("a"), ["a succeeded", "start b#1"]);
});

t.test("only the first publication on a channel that a task names is wanted", async (t) => {
  const run = new Run({ a: { waitFor: { event: "go" } } });
  t.notOk(run.state.isWanted("other"));
  t.ok(run.state.isWanted("go"));
  run.publish("go");
  t.notOk(run.state.isWanted("go"));
});

t.test("a wait that takes too long fails the task", async (t) => {
  const run = new Run({
    a: { waitFor: { event: "go", timeoutMs: 50 } },
    b: { needs: ["a?failure"] },
  });
  run.now = 100;
  t.same(run.start(), ["wake 150"]);
  t.same(run.pass(150), ["a failed: timeout", "start b#1"]);
  t.same(run.publish("go"), []);
});

t.test("an event in time ends the timer", async (t) => {
  const run = new Run({ a: { waitFor: { event: "go", timeoutMs: 50 } } });
  run.start();
  t.same(run.publish("go"), ["start a#1"]);
  t.same(run.pass(60), []);
});

t.test("a timer that fires early is set again", async (t) => {
  const run = new Run({ a: { waitFor: { event: "go", timeoutMs: 50 } } });
  t.same(run.start(), ["wake 50"]);
  t.same(run.pass(49), ["wake 50"]);
  t.same(run.pass(50), ["a failed: timeout", "run failed: a"]);
});

t.test("the shell is asked for the earliest time, and not twice for the same", async (t) => {
  const run = new Run({
    a: { waitFor: { event: "x", timeoutMs: 50 } },
    b: {},
    c: { needs: ["b"], waitFor: { event: "y", timeoutMs: 20 } },
  });
  t.same(run.start(), ["start b#1", "wake 50"]);
  t.same(run.publish("z"), []);
  t.same(run.end("b"), ["b succeeded", "wake 20"]);
  t.same(run.pass(20), ["c failed: timeout", "wake 50"]);
});
