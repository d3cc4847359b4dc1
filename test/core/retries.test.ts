import t from "tap";
import { retryClass, retryDelay } from "../../agent/core/retry.ts";
import type { Failure } from "../../protocol/outcome.ts";
import { exitCode, lost, noRetries, Run } from "./sample.ts";

const policy = { ...noRetries, limit: 2, lost: 1, backoffMs: 100 };
const timeout: Failure = { reason: "timeout", limitMs: 1 };
const internal: Failure = { reason: "internal", detail: "x" };

t.test("faults of the task and of its limits count apart from lost attempts", async (t) => {
  t.equal(retryClass(policy, exitCode), "own");
  t.equal(retryClass(policy, timeout), "own");
  t.equal(retryClass(policy, lost), "lost");
  t.equal(retryClass(policy, internal), "lost");
});

t.test("a policy that names faults or reasons retries just these, and the lost", async (t) => {
  const only = { ...policy, on: ["limit" as const, "lost" as const] };
  t.equal(retryClass(only, timeout), "own");
  t.equal(retryClass(only, exitCode), "none");
  t.equal(retryClass(only, lost), "own");
  t.equal(retryClass(only, internal), "lost");
});

t.test("the delay grows by the factor up to its cap, and a share of it is random", async (t) => {
  const growing = { ...policy, factor: 3, maxBackoffMs: 1000 };
  t.same(
    [1, 2, 3, 4].map((n) => retryDelay(growing, n, 0.9)),
    [100, 300, 900, 1000],
  );
  const half = { ...growing, jitter: 0.5 };
  t.equal(retryDelay(half, 1, 0), 50);
  t.equal(retryDelay(half, 1, 0.5), 75);
  t.equal(retryDelay(half, 5, 0), 500);
  t.equal(retryDelay({ ...policy, backoffMs: 0 }, 5000, 0.5), 0);
  t.equal(retryDelay(policy, 5000, 0.5), 60_000);
});

t.test(
  "a failed attempt is followed by another one after the delay, until the limit",
  async (t) => {
    const run = new Run({ a: { retries: policy } });
    run.start();
    t.same(run.fail("a"), ["retry a#1 at 100", "wake 100"]);
    t.match(run.state.stateOf(0), { id: "delayed", until: 100 });
    t.same(run.pass(100), ["start a#2"]);
    t.same(run.fail("a"), ["retry a#2 at 300", "wake 300"]);
    t.same(run.pass(300), ["start a#3"]);
    t.same(run.fail("a"), ["a failed: exit-code", "run failed: a"]);
    t.match(run.state.counts, { attempts: 3, failed: 1 });
  },
);

t.test("a lost attempt does not use up the task's own retries", async (t) => {
  const run = new Run({ a: { retries: { ...policy, backoffMs: 0 } } });
  run.start();
  t.same(run.fail("a", lost), ["retry a#1 at 0", "start a#2"]);
  t.same(run.fail("a"), ["retry a#2 at 0", "start a#3"]);
  t.same(run.fail("a"), ["retry a#3 at 0", "start a#4"]);
  t.same(run.state.dump().retries, { a: { own: 2, lost: 1 } });
  t.same(run.fail("a", lost), ["a failed: lost", "run failed: a"]);
});

t.test("what is not retried fails at once", async (t) => {
  const run = new Run({ a: { retries: { ...policy, on: ["timeout"] } } });
  run.start();
  t.same(run.fail("a"), ["a failed: exit-code", "run failed: a"]);
});

t.test("a task that backs off holds no slot", async (t) => {
  const run = new Run({ a: { retries: policy }, b: {} });
  t.same(run.start(1), ["start a#1"]);
  t.same(run.fail("a"), ["retry a#1 at 100", "start b#1", "wake 100"]);
  t.same(run.pass(100), []);
  t.same(run.end("b"), ["b succeeded", "start a#2"]);
});
