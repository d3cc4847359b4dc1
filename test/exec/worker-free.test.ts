// Calls that are put ahead into a worker's queue without needing what is before them: each runs
// exactly once, none waits behind a slow one, and nobody is blamed for another's end.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import t from "tap";
import type { CallEnd, CallHandle } from "../../agent/exec/workers/worker-pool.ts";
import { resultOf, type Started, WorkerRig } from "./worker-rig.ts";

const python = `
import os, signal, time
def step(path, n, ms=0):
    if ms: time.sleep(ms / 1000)
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, b"%d\\n" % n)
    os.close(fd)
    return n
def quick(n, until=None):
    if until:
        print("on", flush=True)
        while not os.path.exists(until): time.sleep(0.001)
    return n
def die(n): os.kill(os.getpid(), signal.SIGSEGV) if n else None
def fails(): raise ValueError("no")
def pid(): return os.getpid()
`;
const node = `
import { appendFileSync, existsSync, writeSync } from "node:fs";
const sleep = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
export function step({ path, n, ms }) { if (ms) sleep(ms); appendFileSync(path, n + "\\n"); return n; }
export function quick({ n, until }) {
  if (until) { writeSync(1, "on\\n"); while (!existsSync(until)) sleep(1); }
  return n;
}
export function die({ n }) { if (n) { process.kill(process.pid, "SIGSEGV"); sleep(5000); } return null; }
export function fails() { throw new Error("no"); }
export const pid = () => process.pid;
`;

for (const [runtime, name, source] of [
  ["python", "free.py", python],
  ["node", "free.mjs", node],
] as const) {
  t.test(`${runtime}: thousands of free calls, some of them slow, run once each`, async (t) => {
    const rig = await WorkerRig.start(runtime, { size: 2 });
    t.teardown(() => rig.close());
    await rig.pool.warm(2);
    const file = rig.file(name, source);
    const path = rig.file("ran", "");
    const total = 3000;
    const pick = randoms(7);
    const todo = Array.from({ length: total }, (_, n) => ({
      n,
      ms: pick() < 0.03 ? 10 + Math.floor(pick() * 20) : 0,
    }));
    const ended = new Map<number, number>();
    let returns = 0;
    let wrong = 0;
    const done = Promise.withResolvers<void>();
    const lanes: { last: CallHandle | undefined; depth: number }[] = [
      { last: undefined, depth: 0 },
      { last: undefined, depth: 0 },
    ];
    const fill = () => {
      for (const lane of lanes) {
        while (lane.depth < 24) {
          const work = todo.shift();
          if (work === undefined) return;
          lane.depth += 1;
          let finishes = 0;
          const spec = rig.spec({ file, function: "step", args: { path, ...work } });
          const listener = {
            started: () => {},
            output: () => {},
            finished: (end: CallEnd) => {
              lane.depth -= 1;
              finishes += 1;
              if (finishes > 1) wrong += 1;
              if (end.kind === "returned") {
                returns += 1;
                todo.unshift(work);
              } else {
                if (end.kind !== "succeeded" || end.result !== work.n) wrong += 1;
                ended.set(work.n, (ended.get(work.n) ?? 0) + 1);
                if (ended.size === total) done.resolve();
              }
              queueMicrotask(fill);
            },
          };
          lane.last =
            lane.last === undefined
              ? rig.pool.submit(spec, listener)
              : rig.pool.append(lane.last, spec, listener);
          // Withdrawn ones come back like the others, or run.
          if (work.ms === 0 && pick() < 0.005 && lane.depth > 1) lane.last.cancel(60_000);
        }
      }
    };
    fill();
    await done.promise;
    const ran = readFileSync(path, "utf8").trim().split("\n").map(Number);
    t.equal(ran.length, total, "nothing ran twice");
    t.equal(new Set(ran).size, total, "everything ran");
    t.equal(wrong, 0);
    t.ok(returns > 0, `${returns} came back`);
  });

  t.test(`${runtime}: calls and answers do not wait behind a call that became slow`, async (t) => {
    const rig = await WorkerRig.start(runtime);
    t.teardown(() => rig.close());
    const file = rig.file(name, source);
    const until = `${rig.folder}/until`;
    const quick = (n: number, behind?: CallHandle, more = {}) =>
      rig.start({ file, function: "quick", args: { n, ...more } }, behind);
    for (let n = 0; n < 3; n++) await quick(n).told;
    const before = resultOf(await rig.call({ file, function: "pid" }));
    const calls: Started[] = [quick(0)];
    for (let n = 1; n < 8; n++) {
      calls.push(quick(n, calls.at(-1)?.handle, n === 3 ? { until } : {}));
    }
    const slow = calls[3];
    const linked = rig.start({ file, function: "pid", after: true }, calls[7]?.handle);
    for (const n of [0, 1, 2]) t.equal(resultOf((await calls[n]?.told) ?? fail()), n);
    for (const n of [4, 5, 6, 7]) t.match((await calls[n]?.told)?.end, { kind: "returned" });
    t.match((await linked.told).end, { kind: "returned" });
    const later = quick(8, slow?.handle);
    t.equal(rig.pool.stats().waiting, 1, "a further one waits for any worker");
    writeFileSync(until, "");
    t.equal(resultOf((await slow?.told) ?? fail()), 3);
    t.equal(resultOf(await later.told), 8);
    t.equal(resultOf(await rig.call({ file, function: "pid" })), before, "the worker lives on");
  });

  t.test(`${runtime}: a queued call is withdrawn without harm to others`, async (t) => {
    const rig = await WorkerRig.start(runtime);
    t.teardown(() => rig.close());
    const file = rig.file(name, source);
    const until = `${rig.folder}/until`;
    const path = rig.file("ran", "");
    const before = resultOf(await rig.call({ file, function: "pid" }));
    const head = rig.start({ file, function: "quick", args: { n: 1, until } });
    const step = (n: number, behind: CallHandle) =>
      rig.start({ file, function: "step", args: { path, n } }, behind);
    const one = step(1, head.handle);
    const two = step(2, one.handle);
    two.handle.cancel(0);
    one.handle.cancel(0);
    t.match((await two.told).end, { kind: "returned" });
    t.match((await one.told).end, { kind: "returned" });
    t.match((await rig.start({ file, function: "pid", after: true }, two.handle).told).end, {
      kind: "returned",
    });
    writeFileSync(until, "");
    t.equal(resultOf(await head.told), 1);
    t.equal(resultOf(await step(3, head.handle).told), 3, "what it stood behind has ended");
    t.equal(readFileSync(path, "utf8"), "3\n");
    t.equal(resultOf(await rig.call({ file, function: "pid" })), before);
  });

  t.test(`${runtime}: only the call that ends its worker fails`, async (t) => {
    const rig = await WorkerRig.start(runtime);
    t.teardown(() => rig.close());
    const file = rig.file(name, source);
    const die = (n: number, behind?: CallHandle) =>
      rig.start({ file, function: "die", args: { n } }, behind);
    await die(0).told;
    await die(0).told;
    const calls = [die(0)];
    for (const n of [0, 0, 1, 0, 0]) calls.push(die(n, calls.at(-1)?.handle));
    const ends = await Promise.all(calls.map((call) => call.told));
    t.same(
      ends.map(({ end }) => end.kind),
      ["succeeded", "succeeded", "succeeded", "failed", "returned", "returned"],
    );
    t.match(ends[3]?.end, { failure: { reason: "signal", signal: "SIGSEGV" } });
  });

  t.test(`${runtime}: killing a slow call hits no other`, async (t) => {
    const rig = await WorkerRig.start(runtime);
    t.teardown(() => rig.close());
    const file = rig.file(name, source);
    const until = `${rig.folder}/never`;
    await rig.call({ file, function: "quick", args: { n: 0 } });
    const first = rig.start({ file, function: "quick", args: { n: 1 } });
    // Time enough for the first on a busy machine: a call that is over its limit before it has begun
    // is only taken back.
    const slow = rig.start(
      { file, function: "quick", args: { n: 2, until }, timeoutMs: 800 },
      first.handle,
    );
    const behind = rig.start({ file, function: "pid", after: true }, slow.handle);
    t.equal(resultOf(await first.told), 1);
    t.match((await slow.told).end, { failure: { reason: "timeout", limitMs: 800 } });
    t.match((await behind.told).end, { kind: "returned" });
    const again = rig.start({ file, function: "quick", args: { n: 3, until } });
    const free = rig.start({ file, function: "fails" }, again.handle);
    await again.output;
    again.handle.cancel(0);
    t.match((await again.told).end, { failure: { reason: "signal" } });
    t.match((await free.told).end, { kind: "returned" });
  });
}

t.test("a worker that runs what was taken back is killed", async (t) => {
  const script = `
import os, json, struct, time
def send(data): os.write(3, struct.pack("<I", len(data)) + data)
e = os.environ
send(json.dumps({"hello": {"worker": int(e["EDGEDAG_WORKER_ID"]), "token": e["EDGEDAG_WORKER_TOKEN"], "runtime": "python", "version": "3", "pid": os.getpid()}}).encode())
os.read(3, 65536)
while not os.path.exists("go"): time.sleep(0.001)
send(b'{"done":[{"id":1,"skipped":true},{"id":2,"skipped":true}]}')
os.read(3, 65536)
`;
  const rig = await WorkerRig.start("python", { argv: ["python3", "-c", script] });
  t.teardown(() => rig.close());
  await rig.pool.warm(1);
  const [pid] = rig.pool.stats().pids;
  const head = rig.start({ code: "", function: "f" });
  const free = rig.start({ code: "", function: "f" }, head.handle);
  t.match((await free.told).end, { kind: "returned" });
  writeFileSync(`${rig.folder}/go`, "");
  await head.told;
  await rig.pool.close();
  t.notOk(existsSync(`/proc/${pid}`));
});

function fail(): never {
  throw new Error("there is no such call");
}

/** The same numbers in each run of the test. */
function randoms(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
