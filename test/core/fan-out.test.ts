import t from "tap";
import { noRetries, Run } from "./sample.ts";

const map = "{{ needs.a.result }}";

t.test("a fan-out runs its items and succeeds when all have", async (t) => {
  const run = new Run({ m: { map }, z: { needs: ["m"] } });
  t.same(run.start(), ["map m"]);
  t.same(run.state.openEvaluations(), [{ type: "evaluate-map", task: 0 }]);
  t.equal(run.state.itemsOf(0), undefined);
  t.same(run.map("m", 3), ["start m[0]#1", "start m[1]#1"]);
  t.same(run.map("m", 3), [], "a second answer is ignored");
  t.same(run.when("m", false), [], "an answer to what was not asked is ignored");
  t.same(run.state.itemsOf(0), [2, 3, 4]);
  t.same(run.state.itemOf(3), { parent: 0, index: 1 });
  t.equal(run.state.itemOf(0), undefined);
  t.equal(run.state.taskIndexOf(4), 0);
  t.equal(run.state.taskOf(4), run.state.taskOf(0));
  t.same(run.end("m[1]"), ["m[1] succeeded", "start m[2]#1"]);
  t.same(run.end("m[0]"), ["m[0] succeeded"]);
  t.same(run.end("m[2]"), ["m[2] succeeded", "m succeeded", "start z#1"]);
  t.match(run.state.counts, { total: 5, succeeded: 4, running: 1, attempts: 4 });
});

t.test("a fan-out over nothing succeeds", async (t) => {
  const run = new Run({ m: { map, mapConcurrency: 1 }, z: { needs: ["m"] } });
  run.start();
  t.same(run.map("m", 0), ["m succeeded", "start z#1"]);
  t.same(run.state.itemsOf(0), []);
});

t.test(
  "the first failed item by index is the failure of the fan-out, once all have ended",
  async (t) => {
    const run = new Run({ m: { map }, z: { needs: ["m?failure"] } });
    run.start(3);
    run.map("m", 3);
    t.same(run.fail("m[2]", { reason: "signal", signal: "SIGSEGV" }), ["m[2] failed: signal"]);
    t.same(run.fail("m[1]"), ["m[1] failed: exit-code"]);
    t.same(run.end("m[0]"), ["m[0] succeeded", "m failed: exit-code", "start z#1"]);
    t.same(run.end("z"), ["z succeeded", "run failed: m"]);
  },
);

t.test("an allowed failure of items is the fan-out's", async (t) => {
  const run = new Run({ m: { map, allowFailure: true } });
  run.start();
  run.map("m", 1);
  t.same(run.fail("m[0]"), ["m[0] failed: exit-code", "m failed: exit-code", "run succeeded"]);
});

t.test("an item that was cancelled alone cancels the fan-out", async (t) => {
  const run = new Run({ m: { map } });
  run.start();
  run.map("m", 2);
  run.end("m[1]", { kind: "cancelled", by: "policy" });
  t.same(run.end("m[0]"), ["m[0] succeeded", "m cancelled by policy", "run cancelled by policy"]);
});

t.test("items are retried one by one", async (t) => {
  const run = new Run({ m: { map, retries: { ...noRetries, limit: 1, backoffMs: 100 } } });
  run.start();
  run.map("m", 2);
  t.same(run.fail("m[0]"), ["retry m[0]#1 at 100", "wake 100"]);
  t.same(run.end("m[1]"), ["m[1] succeeded"]);
  t.same(run.pass(100), ["start m[0]#2"]);
  t.same(run.end("m[0]"), ["m[0] succeeded", "m succeeded", "run succeeded"]);
});

t.test("map concurrency bounds the items of one fan-out", async (t) => {
  const run = new Run({ m: { map, mapConcurrency: 2 }, n: { map } });
  run.start(9);
  t.same(run.map("m", 3), ["start m[0]#1", "start m[1]#1"]);
  t.same(run.map("n", 2), ["start n[0]#1", "start n[1]#1"]);
  t.same(run.end("m[0]"), ["m[0] succeeded", "start m[2]#1"]);
  run.end("m[1]");
  t.same(run.end("m[2]"), ["m[2] succeeded", "m succeeded"]);
});

t.test("items that this node can never run fail, and the fan-out with them", async (t) => {
  const run = new Run({ m: { map, resources: { gpu: 1 } } });
  run.start();
  t.same(run.map("m", 2), [
    "m[0] failed: backend",
    "m[1] failed: backend",
    "m failed: backend",
    "run failed: m",
  ]);
});

t.test("an evaluation of map that fails fails the task", async (t) => {
  const run = new Run({ m: { map } });
  run.start();
  const failure = { reason: "bad-result", detail: "not a list" } as const;
  t.same(run.event({ type: "evaluation-failed", task: 0, now: 0, failure }), [
    "m failed: bad-result",
    "run failed: m",
  ]);
});

t.test("when, wait_for and map follow each other", async (t) => {
  const run = new Run({ m: { map, when: ["{{ x }}"], waitFor: { event: "go" } } });
  t.same(run.start(), ["when m"]);
  t.same(run.when("m", true), []);
  t.same(run.publish("go"), ["map m"]);
  t.same(run.map("m", 1), ["start m[0]#1"]);
});
