import t from "tap";
import { chain, noRetries, Run } from "./sample.ts";

const cancelled = { kind: "cancelled", by: "user" } as const;

t.test("each task ends as its state allows", async (t) => {
  const run = new Run({
    running: { priority: 9 },
    delayed: { priority: 8, retries: { ...noRetries, limit: 1, backoffMs: 50 } },
    ready: {},
    evaluating: { when: ["{{ x }}"] },
    awaiting: { waitFor: { event: "go", timeoutMs: 99 } },
    waiting: { needs: ["running"] },
    mapping: { map: "{{ x }}" },
  });
  run.start(2);
  run.fail("delayed");
  run.end("ready");
  t.same(run.stateIds(), {
    running: "running",
    delayed: "delayed",
    ready: "finished",
    evaluating: "evaluating",
    awaiting: "awaiting",
    waiting: "waiting",
    mapping: "evaluating",
  });
  t.same(run.cancel(), [
    "stop running#1 by user",
    "delayed cancelled by user",
    "evaluating cancelled by user",
    "awaiting cancelled by user",
    "waiting cancelled by user",
    "mapping cancelled by user",
  ]);
  t.equal(run.state.cancelledBy, "user");
  t.same(run.when("evaluating", true), []);
  t.same(run.map("mapping", 2), []);
  t.same(run.publish("go"), []);
  t.same(run.pass(200), []);
  t.same(run.cancel(), [], "a second cancel finds nothing");
  t.same(run.end("running", cancelled), ["running cancelled by user", "run cancelled by user"]);
  t.same(run.cancel(), [], "nor does one after the end");
});

t.test("ready tasks are cancelled and forgotten", async (t) => {
  const run = new Run({ a: {}, b: {}, c: { pool: "p" } }, { pools: { p: 1 } });
  run.start(1);
  t.same(run.cancel(), ["stop a#1 by user", "b cancelled by user", "c cancelled by user"]);
  t.same(run.state.dump().ready, []);
  t.same(run.end("a", cancelled), ["a cancelled by user", "run cancelled by user"]);
});

t.test(
  "a task that succeeds or fails while it is stopped ends so, without another attempt",
  async (t) => {
    const run = new Run({
      a: {},
      b: { retries: { ...noRetries, limit: 3 } },
      c: { needs: ["a?any"] },
    });
    run.start();
    run.cancel();
    t.same(run.end("a"), ["a succeeded"]);
    t.same(run.fail("b"), ["b failed: exit-code", "run cancelled by user"]);
  },
);

t.test("a stopped attempt that was never begun is cancelled", async (t) => {
  const run = new Run({ a: {} });
  run.start();
  run.cancel();
  t.same(run.giveBack("a"), ["a cancelled by user", "run cancelled by user"]);
  t.match(run.state.counts, { attempts: 0, cancelled: 1 });
});

t.test("items of a fan-out are cancelled, and the fan-out with them", async (t) => {
  const run = new Run({ m: { map: "{{ x }}" } });
  run.start(1);
  run.map("m", 3);
  t.same(run.cancel(), ["stop m[0]#1 by user", "m[1] cancelled by user", "m[2] cancelled by user"]);
  t.same(run.end("m[0]"), ["m[0] succeeded", "m cancelled by user", "run cancelled by user"]);
});

t.test("a failed item counts more than a cancelled one", async (t) => {
  const run = new Run({ m: { map: "{{ x }}" } });
  run.start(1);
  run.map("m", 2);
  run.cancel();
  t.same(run.fail("m[0]"), [
    "m[0] failed: exit-code",
    "m failed: exit-code",
    "run cancelled by user",
  ]);
});

t.test("exit handlers run after a cancel, and a second one ends them", async (t) => {
  const run = new Run({ a: {}, x: { exit: "any" }, y: { exit: "any", needs: ["x"] } });
  run.start();
  run.cancel();
  t.same(run.end("a", cancelled), ["a cancelled by user", "start x#1"]);
  t.same(run.cancel(), ["stop x#1 by user", "y cancelled by user"]);
  t.same(run.end("x", cancelled), ["x cancelled by user", "run cancelled by user"]);
});

t.test("a cancelled run retries its exit handlers", async (t) => {
  const run = new Run({ a: {}, x: { exit: "any", retries: { ...noRetries, limit: 1 } } });
  run.start();
  run.cancel();
  run.end("a", cancelled);
  t.same(run.fail("x"), ["retry x#1 at 0", "start x#2"]);
});

t.test(
  "a run that is cancelled before it starts ends at once, with its exit handlers",
  async (t) => {
    const run = new Run({ a: { when: ["{{ x }}"] }, b: { needs: ["a"] }, x: { exit: "any" } });
    t.same(run.cancel(), [
      "a cancelled by user",
      "b cancelled by user",
      "x cancelled by user",
      "run cancelled by user",
    ]);
    t.same(run.start(), [], "the start that was on its way is ignored");
  },
);

t.test("a cancel while a chain is handed over stops all of it", async (t) => {
  const run = new Run(chain(3));
  run.start();
  t.same(run.cancel(), ["stop c0#1 by user", "stop c1#1 by user", "stop c2#1 by user"]);
  t.same(run.end("c0", cancelled), [
    "c1 cancelled by user",
    "c2 cancelled by user",
    "c0 cancelled by user",
    "run cancelled by user",
  ]);
  t.match(run.state.counts, { attempts: 1, cancelled: 3 });
});

t.test("one that succeeds all the same lets the next one be stopped in its place", async (t) => {
  const run = new Run(chain(3));
  run.start();
  run.cancel();
  t.same(run.end("c0"), ["c0 succeeded"]);
  t.match(run.state.counts, { running: 1, attempts: 2 });
  t.same(run.end("c1", cancelled), [
    "c2 cancelled by user",
    "c1 cancelled by user",
    "run cancelled by user",
  ]);
});

t.test("what was told to stop while it was behind may come back at once", async (t) => {
  const run = new Run(chain(3));
  run.start();
  run.cancel();
  t.same(run.giveBack("c1"), ["c1 cancelled by user"]);
  t.same(run.end("c2", cancelled), ["c2 cancelled by user"]);
  t.same(run.end("c0"), ["c0 succeeded", "run cancelled by user"]);
  t.match(run.state.counts, { running: 0, attempts: 1 });
});
