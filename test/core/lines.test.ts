// Processes that have been quick wait in line at the launcher, as calls do at a worker.
import t from "tap";
import { noRetries, Run, type TaskSketch } from "./sample.ts";

const quickMs = 1;
const command: TaskSketch = { retries: { ...noRetries, lost: 1 } };
const lines = { lines: true } as const;

const other = (n: number): TaskSketch => ({
  ...command,
  run: { kind: "shell", script: `echo ${n}` },
});

function wide(count: number, sketch: TaskSketch = command): Record<string, TaskSketch> {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`w${i}`, sketch]));
}

function chained(count: number, sketch: (n: number) => TaskSketch): Record<string, TaskSketch> {
  const needs = (i: number) => (i === 0 ? {} : { needs: [`w${i - 1}`] });
  return Object.fromEntries(
    Array.from({ length: count }, (_, i) => [`w${i}`, { ...sketch(i), ...needs(i) }]),
  );
}

/** What the end of the fourth gives: from then on processes count as quick, when all were. */
function warmed(tasks: Record<string, TaskSketch>, { wallMs = quickMs, capacity = {} } = {}) {
  const run = new Run(tasks, { pools: { one: 1 } });
  run.start(1, capacity);
  let last: string[] = [];
  for (let i = 0; i < 4; i += 1) last = run.endAfter(`w${i}`, wallMs);
  return { run, last };
}

t.test(
  "after four quick ones in a row 16 are with the launcher, and half is refilled",
  async (t) => {
    const { run, last } = warmed(wide(40), { capacity: lines });
    t.same(last.slice(0, 3), ["w3 succeeded", "start w4#1", "start w5#1 behind w4, free"]);
    t.equal(last.length, 1 + 16);
    for (let i = 4; i < 11; i += 1) t.same(run.endAfter(`w${i}`, quickMs), [`w${i} succeeded`]);
    t.equal(run.endAfter("w11", quickMs).length, 1 + 8);
  },
);

t.test("a chain of different programs is handed over, each on the one before", async (t) => {
  const { run, last } = warmed(chained(12, other), { capacity: lines });
  t.same(last.slice(0, 3), ["w3 succeeded", "start w4#1", "start w5#1 behind w4"]);
  t.match(run.stateIds(), { w4: "running", w5: "handed", w11: "handed" });
  t.same(run.fail("w4").slice(0, 2), ["w4 failed: exit-code", "w5 skipped: w4"]);
});

t.test("where nothing can wait, and behind what is slow, each is asked for", async (t) => {
  t.same(warmed(wide(40)).last, ["w3 succeeded", "start w4#1"]);
  t.same(warmed(wide(40), { wallMs: 6, capacity: lines }).last, ["w3 succeeded", "start w4#1"]);
  t.same(warmed(chained(9, other), { wallMs: 6, capacity: lines }).last, [
    "w3 succeeded",
    "start w4#1",
  ]);
});

t.test("nothing waits in line while a slot is free", async (t) => {
  const tasks = chained(4, other);
  for (const name of ["a", "b"]) tasks[name] = { ...command, needs: ["w3"] };
  const run = new Run(tasks);
  run.start(2, lines);
  let last: string[] = [];
  for (let i = 0; i < 4; i += 1) last = run.endAfter(`w${i}`, quickMs);
  t.same(last.slice(1), ["start a#1", "start b#1"]);
});

t.test("what is given back is ready again, and gets its number again", async (t) => {
  const { run } = warmed(wide(8), { capacity: lines });
  t.same(run.giveBack("w6"), []);
  t.match(run.stateIds(), { w5: "queued", w6: "ready", w7: "queued" });
  run.endAfter("w4", 50);
  run.endAfter("w5", 50);
  t.same(run.endAfter("w7", 50), ["w7 succeeded", "start w6#1"]);
});

for (const [what, more] of Object.entries<TaskSketch>({
  "files to collect": { outputs: ["a.txt"] },
  secrets: { secrets: { KEY: { secret: "key" } } },
  "a place in a pool": { pool: "one" },
  "an attempt that may begin only once": { retries: noRetries },
})) {
  t.test(`with ${what} it is asked for`, async (t) => {
    const { last } = warmed(wide(40, { ...command, ...more }), { capacity: lines });
    t.equal(last.length, 2);
  });
}
