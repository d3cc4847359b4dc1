import t from "tap";
import { RunState } from "../../agent/core/run-state.ts";
import { capacityOf, chain, dagOf, noRetries, python, Run, succeeded } from "./sample.ts";

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);
const behind = (i: number, attempt = 1) => `start c${i}#${attempt} behind c${i - 1}`;

t.test("a chain is handed over 32 deep, and refilled when half of it is done", async (t) => {
  const run = new Run(chain(80));
  t.same(run.start(), ["start c0#1", ...range(1, 32).map((i) => behind(i))]);
  t.same(run.state.dump().slots, [range(0, 32).map((i) => `c${i}`)]);
  t.same(run.state.inFlight(), [0]);
  for (const i of range(0, 15)) t.same(run.end(`c${i}`), [`c${i} succeeded`]);
  t.same(run.end("c15"), [...range(32, 48).map((i) => behind(i)), "c15 succeeded"]);
  for (const i of range(16, 80)) run.end(`c${i}`);
  t.match(run.state.counts, { succeeded: 80, attempts: 80, running: 0 });
  t.equal(run.state.phase, "finished");
});

t.test("of quick functions 96 are at a worker, and 32 more follow 32 that are done", async (t) => {
  const run = new Run(chain(200));
  run.start();
  for (const i of range(0, 3)) t.same(run.endAfter(`c${i}`, 0.01), [`c${i} succeeded`]);
  const proven = [...range(32, 100).map((i) => behind(i)), "c3 succeeded"];
  t.same(run.endAfter("c3", 0.01), proven, "the fourth in a row says that they are quick");
  t.equal(run.state.dump().slots[0]?.length, 96);
  for (const i of range(4, 35)) t.same(run.endAfter(`c${i}`, 0.01), [`c${i} succeeded`]);
  t.same(run.endAfter("c35", 0.01), [...range(100, 132).map((i) => behind(i)), "c35 succeeded"]);
});

t.test("behind a slow function only the next one is at its worker", async (t) => {
  const run = new Run(chain(80));
  run.start();
  for (const i of range(0, 30)) t.same(run.endAfter(`c${i}`, 11), [`c${i} succeeded`]);
  t.same(run.endAfter("c30", 11), [behind(32), "c30 succeeded"]);
  t.same(run.endAfter("c31", 11), [behind(33), "c31 succeeded"]);
  t.same(run.state.dump().slots[0], ["c32", "c33"]);
});

t.test("a handed task counts as running when the one before it has succeeded", async (t) => {
  const run = new Run(chain(3));
  run.start();
  t.same(run.stateIds(), { c0: "running", c1: "handed", c2: "handed" });
  t.match(run.state.counts, { running: 1, attempts: 1 });
  run.end("c0");
  t.same(run.stateIds(), { c0: "finished", c1: "running", c2: "handed" });
  t.match(run.state.counts, { running: 1, attempts: 2 });
});

t.test("a failure in the middle takes back what is behind it", async (t) => {
  const run = new Run({ ...chain(4), other: { needs: ["c1?failure"] } });
  run.start();
  run.end("c0");
  t.same(run.fail("c1"), [
    "c1 failed: exit-code",
    "c2 skipped: c1",
    "c3 skipped: c2",
    "start other#1",
  ]);
  t.equal(run.state.attemptOf(2), 0, "its attempt has not happened");
});

t.test("a head that is retried gets its chain again, under the same attempt numbers", async (t) => {
  const tasks = chain(3);
  tasks.c0 = { ...python, retries: { ...noRetries, limit: 1, lost: 1, backoffMs: 10 } };
  const run = new Run(tasks);
  run.start();
  t.same(run.fail("c0"), ["retry c0#1 at 10", "wake 10"]);
  t.same(run.stateIds(), { c0: "delayed", c1: "waiting", c2: "waiting" });
  t.same(run.pass(10), ["start c0#2", behind(1), behind(2)]);
  run.end("c0");
  run.end("c1");
  t.same(run.end("c2"), ["c2 succeeded", "run succeeded"]);
  t.match(run.state.counts, { attempts: 4 });
});

t.test("an attempt that comes back unrun is handed out again under its number", async (t) => {
  const run = new Run(chain(3));
  run.start(1);
  run.end("c0");
  t.same(run.giveBack("c1"), ["start c1#1", behind(2)]);
  t.same(run.giveBack("c2"), [], "it is handed out again by now");
  run.end("c1");
  t.same(run.end("c2"), ["c2 succeeded", "run succeeded"]);
  t.match(run.state.counts, { attempts: 3, succeeded: 3 });
  t.same(run.giveBack("c2"), [], "a late one is ignored");
});

t.test("an attempt that was never handed out cannot come back", async (t) => {
  const run = new Run({ a: {} });
  run.start();
  t.same(run.giveBack("a", 2), []);
  t.match(run.stateIds(), { a: "running" });
});

t.test("tasks that need more than the one before are not handed over", async (t) => {
  const needs = ["a"];
  const alone = {
    command: { needs },
    node: { needs, run: { kind: "node", file: "f", function: "f" } as const },
    condition: { ...python, needs: ["a?any"] },
    when: { ...python, needs, when: ["{{ x }}"] },
    map: { ...python, needs, map: "{{ x }}" },
    wait: { ...python, needs, waitFor: { event: "x" } },
    pool: { ...python, needs, pool: "p" },
    resources: { ...python, needs, resources: { cpu: 1 } },
    limits: { ...python, needs, limits: { cpuMs: 5 } },
    timeout: { ...python, needs, timeoutMs: 5 },
    process: { ...python, needs, isolation: "subprocess" as const },
    isolated: { ...python, needs, isolation: "seccomp" as const },
    gvisor: { ...python, needs, isolation: "gvisor" as const },
    code: { needs, run: { kind: "code" as const, language: "c", code: "x", args: [] } },
    joined: { ...python, needs: ["a", "command"] },
    exit: { ...python, needs, exit: "any" as const },
  };
  const run = new Run({ a: python, ...alone }, { pools: { p: 1 } });
  t.same(run.start(1), ["start a#1"]);
});

t.test("of several successors the best one is handed over", async (t) => {
  const needs = ["a"];
  const run = new Run({
    a: python,
    b: { ...python, needs },
    long: { ...python, needs },
    short: { ...python, needs },
    after: { ...python, needs: ["long"] },
  });
  t.same(run.start(1), ["start a#1", "start long#1 behind a", "start after#1 behind long"]);
  const urgent = new Run({
    a: python,
    b: { ...python, needs },
    first: { ...python, needs, priority: 1 },
    after: { ...python, needs: ["b"] },
  });
  t.same(urgent.start(1), ["start a#1", "start first#1 behind a"]);
});

t.test("what may begin only once is not handed over ahead of its turn", async (t) => {
  const once = { ...python, retries: noRetries };
  const tasks = { a: python, b: { ...once, needs: ["a"] }, c: { ...python, needs: ["b"] } };
  const run = new Run(tasks);
  t.same(run.start(), ["start a#1"]);
  t.same(run.end("a"), ["a succeeded", "start b#1"]);
});

t.test("Node.js functions chain as Python functions do", async (t) => {
  const node = { ...python, run: { kind: "node", file: "f", function: "f" } as const };
  t.same(new Run({ a: node, b: { ...node, needs: ["a"] } }).start(), [
    "start a#1",
    "start b#1 behind a",
  ]);
});

t.test("a chain does not grow while something of higher priority waits for a slot", async (t) => {
  const run = new Run({ ...chain(60), gate: {}, urgent: { needs: ["gate"], priority: 1 } });
  run.start(2);
  run.end("gate");
  t.match(run.stateIds(), { urgent: "running" });
  const busy = new Run({
    ...chain(60),
    urgent: { ...python, priority: 1, waitFor: { event: "go" } },
  });
  busy.start(1);
  busy.publish("go");
  for (const i of range(0, 31)) busy.end(`c${i}`);
  t.same(busy.end("c31"), ["c31 succeeded", "start urgent#1"]);
  t.same(busy.end("urgent").slice(0, 3), ["urgent succeeded", "start c32#1", behind(33)]);
});

t.test("a join is handed over by the last task before it", async (t) => {
  const run = new Run({ a: python, b: python, c: { ...python, needs: ["a", "b"] } });
  run.start(1);
  t.same(run.end("a"), ["a succeeded", "start b#1", "start c#1 behind b"]);
});

t.test("an attempt that is not in flight cannot finish: a bug of the shell", async (t) => {
  const run = new Run(chain(2));
  run.start();
  t.throws(() => run.end("c1"), /c1#1 finished in state handed, attempt 1 was expected/);
  t.throws(() => run.end("c0", succeeded, 2), /c0#2 finished in state running, attempt 1/);
  run.end("c0");
  t.throws(() => run.end("c0"), /c0#1 finished in state finished/);
});

t.test("a hundred thousand tasks pass in well under ten seconds", async (t) => {
  const state = new RunState(dagOf(chain(100_000)));
  const start = process.cpuUsage();
  state.handle({ type: "run-started", now: 0, capacity: capacityOf(2) });
  for (let task = 0; task < 100_000; task += 1) {
    const outcome = succeeded;
    state.handle({ type: "attempt-finished", task, attempt: 1, outcome, now: 0, random: 0 });
  }
  t.equal(state.phase, "finished");
  const { user } = process.cpuUsage(start);
  t.ok(user < 10e6, `${user / 1e6} s of CPU time; nothing is rescanned`);
});
