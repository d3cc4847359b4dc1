// Independent calls of quick functions that wait behind others at a worker.
import t from "tap";
import { python, Run, type TaskSketch } from "./sample.ts";

const quickMs = 0.01;
const other = { run: { kind: "python", file: "other.py", function: "f" } } as const;

function wide(count: number, sketch: TaskSketch = python): Record<string, TaskSketch> {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`w${i}`, sketch]));
}

/** Four quick calls in a row, on one slot: from then on the function counts as quick. */
function warmed(tasks: Record<string, TaskSketch>, slots = 1): { run: Run; last: string[] } {
  const run = new Run(tasks);
  run.start(slots);
  let last: string[] = [];
  for (let i = 0; i < 4; i += 1) last = run.endAfter(`w${i}`, quickMs);
  return { run, last };
}

t.test("nothing is queued before a function has been quick four times in a row", async (t) => {
  const run = new Run(wide(110));
  run.start(1);
  for (let i = 0; i < 3; i += 1) {
    t.same(run.endAfter(`w${i}`, quickMs), [`w${i} succeeded`, `start w${i + 1}#1`]);
  }
  t.equal(run.endAfter("w3", quickMs).length, 1 + 96);
});

t.test("calls are queued 96 deep behind the first, in order, each free", async (t) => {
  const { last, run } = warmed(wide(120));
  t.same(last.slice(0, 4), [
    "w3 succeeded",
    "start w4#1",
    "start w5#1 behind w4, free",
    "start w6#1 behind w5, free",
  ]);
  t.equal(last.length, 97);
  t.match(run.stateIds(), { w4: "running", w5: "queued", w99: "queued", w100: "ready" });
  t.match(run.state.counts, { running: 1, attempts: 5 });
});

t.test("what is ready is shared out over the slots", async (t) => {
  const run = new Run(wide(14));
  run.start(2);
  run.endAfter("w0", quickMs);
  run.endAfter("w1", quickMs);
  run.endAfter("w2", quickMs);
  const last = run.endAfter("w3", quickMs);
  t.same(last.slice(1), [
    "start w5#1",
    "start w6#1 behind w5, free",
    "start w7#1 behind w6, free",
    "start w8#1 behind w7, free",
    "start w9#1 behind w8, free",
  ]);
});

t.test("a failure does not touch what is queued behind it", async (t) => {
  const { run } = warmed(wide(8));
  t.same(run.fail("w4"), ["w4 failed: exit-code"]);
  t.match(run.stateIds(), { w5: "running", w6: "queued" });
});

t.test("a failure takes back what counts on it, and no more", async (t) => {
  const tasks = wide(6);
  // Last in rank, although a task follows it.
  tasks.w5 = { ...python, priority: -1 };
  tasks.next = { ...python, needs: ["w5"] };
  const { run } = warmed(tasks);
  t.match(run.stateIds(), { w4: "running", w5: "queued" });
  run.endAfter("w4", quickMs);
  t.match(run.stateIds(), { w5: "running", next: "handed" });
  t.same(run.fail("w5"), ["w5 failed: exit-code", "next skipped: w5", "run failed: w5"]);
});

t.test("a slow call ends the queueing of its function", async (t) => {
  const { run } = warmed(wide(80));
  for (let i = 4; i < 36; i += 1) run.endAfter(`w${i}`, i === 35 ? 600 : quickMs);
  t.ok(run.state.dump().slots[0]?.length ?? 0, "others were queued before it was slow");
  for (let i = 36; run.stateIds()[`w${i}`] === "running"; i += 1) run.endAfter(`w${i}`, 600);
  t.same(
    run.state.dump().slots.map((slot) => slot.length),
    [],
  );
});

t.test("a queued call that comes back is ready again under the same number", async (t) => {
  const { run } = warmed(wide(8));
  t.same(run.giveBack("w6"), []);
  t.match(run.stateIds(), { w4: "running", w5: "queued", w6: "ready", w7: "queued" });
  t.equal(run.state.attemptOf(run.instance("w6")), 0);
  t.same(run.endAfter("w4", quickMs), ["start w6#1 behind w7, free", "w4 succeeded"]);
});

t.test("a worker that retires gives back everything, and gets nothing more", async (t) => {
  const { run } = warmed(wide(8));
  t.same(run.giveBack("w4"), []);
  t.same(run.giveBack("w5"), []);
  t.same(run.giveBack("w6"), []);
  t.same(run.giveBack("w7"), [
    "start w4#1",
    "start w5#1 behind w4, free",
    "start w6#1 behind w5, free",
    "start w7#1 behind w6, free",
  ]);
  t.match(run.state.counts, { running: 1, attempts: 5 });
});

t.test("a call of another function, or with needs of its own, is not queued behind", async (t) => {
  const tasks = wide(5);
  tasks.slow = other;
  t.same(warmed(tasks).last, ["w3 succeeded", "start w4#1"]);
  const pooled = new Run({ ...wide(5), p: { ...python, pool: "p" } }, { pools: { p: 1 } });
  pooled.start(1);
  for (let i = 0; i < 3; i += 1) pooled.endAfter(`w${i}`, quickMs);
  t.same(pooled.endAfter("w3", quickMs), ["w3 succeeded", "start w4#1"]);
});

t.test("items of a fan-out are queued, unless their number is bounded", async (t) => {
  const run = new Run({ w: { ...python, map: [] } });
  run.start(1);
  run.map("w", 8);
  for (let i = 0; i < 3; i += 1) run.endAfter(`w[${i}]`, quickMs);
  t.same(run.endAfter("w[3]", quickMs).slice(1, 3), [
    "start w[4]#1",
    "start w[5]#1 behind w[4], free",
  ]);
  const bounded = new Run({ w: { ...python, map: [], mapConcurrency: 1 } });
  bounded.start(2);
  bounded.map("w", 8);
  for (let i = 0; i < 3; i += 1) bounded.endAfter(`w[${i}]`, quickMs);
  t.same(bounded.endAfter("w[3]", quickMs), ["w[3] succeeded", "start w[4]#1"]);
});

t.test("a cancel stops what is queued, and each tells how it ended", async (t) => {
  const { run } = warmed(wide(7));
  t.same(run.cancel(), ["stop w4#1 by user", "stop w5#1 by user", "stop w6#1 by user"]);
  t.same(run.giveBack("w5"), ["w5 cancelled by user"]);
  t.same(run.endAfter("w4", quickMs), ["w4 succeeded"]);
  t.same(run.endAfter("w6", quickMs), ["w6 succeeded", "run cancelled by user"]);
  t.match(run.state.counts, { succeeded: 6, cancelled: 1, running: 0, attempts: 6 });
});

t.test("after a crash nothing is queued any more", async (t) => {
  const { run } = warmed(wide(7));
  run.resume(1);
  t.same(run.restarted(), []);
  t.match(run.stateIds(), { w4: "running", w5: "ready", w6: "ready" });
  t.same(run.fail("w4", { reason: "lost" }), ["retry w4#1 at 0", "start w4#2"]);
});

t.test("a drain queues nothing more", async (t) => {
  const { run } = warmed(wide(120));
  run.drain();
  for (let i = 4; i < 99; i += 1) t.same(run.endAfter(`w${i}`, quickMs), [`w${i} succeeded`]);
  t.same(run.endAfter("w99", quickMs), ["w99 succeeded", "drained"]);
});

t.test("a queued call that another worker runs may end before its turn", async (t) => {
  const { run } = warmed(wide(8));
  t.same(run.endAfter("w6", quickMs), ["w6 succeeded"]);
  t.match(run.stateIds(), { w4: "running", w5: "queued", w6: "finished", w7: "queued" });
  t.same(run.fail("w7"), ["w7 failed: exit-code"]);
  t.same(run.endAfter("w4", quickMs), ["w4 succeeded"]);
  t.same(run.endAfter("w5", quickMs), ["w5 succeeded", "run failed: w7"]);
  t.match(run.state.counts, { attempts: 8, running: 0, succeeded: 7, failed: 1 });
});

t.test("what counts on a queued call has no condition once that has succeeded", async (t) => {
  const tasks = wide(7);
  tasks.w6 = { ...python, priority: -1 };
  tasks.next = { ...python, needs: ["w6"], priority: -1 };
  const { run } = warmed(tasks);
  run.endAfter("w4", quickMs);
  t.same(run.state.dump().slots, [["w5", "w6", "next"]]);
  t.match(run.stateIds(), { w6: "queued", next: "handed" });
  t.same(run.endAfter("w6", quickMs), ["w6 succeeded"], "it ran elsewhere");
  t.match(run.stateIds(), { w5: "running", next: "queued" });
  t.same(run.endAfter("next", quickMs), ["next succeeded"]);
  t.same(run.endAfter("w5", quickMs), ["w5 succeeded", "run succeeded"]);
});
