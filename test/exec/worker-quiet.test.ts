// Calls that write nothing need no marks, and still no byte of others is taken for theirs.
import { existsSync, writeFileSync } from "node:fs";
import t from "tap";
import type { ProcessStarter } from "../../agent/exec/launcher/process.ts";
import type { CallHandle } from "../../agent/exec/workers/worker-pool.ts";
import { resultOf, type Started, WorkerRig } from "./worker-rig.ts";

const python = `
import os, sys, time
def say(n, out, err):
    if out: sys.stdout.write("o%d." % n * out)
    if err: os.write(2, b"e%d." % n * err)
    return n
def live(n, until):
    os.write(1, b"on%d" % n)
    while not os.path.exists(until): time.sleep(0.001)
`;
const node = `
import { existsSync, writeSync } from "node:fs";
const sleep = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
export function say({ n, out, err }) {
  if (out) process.stdout.write(("o" + n + ".").repeat(out));
  if (err) writeSync(2, ("e" + n + ".").repeat(err));
  return n;
}
export function live({ n, until }) { writeSync(1, "on" + n); while (!existsSync(until)) sleep(1); }
`;

for (const [runtime, name, source] of [
  ["python", "quiet.py", python],
  ["node", "quiet.mjs", node],
] as const) {
  t.test(`${runtime}: a call that writes nothing is not marked`, async (t) => {
    let marks = 0;
    const launcher: Pick<ProcessStarter, "spawn" | "flush"> = {
      spawn: (spec, listener) =>
        rig.launcher.spawn(spec, {
          started: (info) => listener.started(info),
          output: (stream, bytes) => listener.output(stream, bytes),
          mark: (stream, id) => {
            marks += 1;
            listener.mark(stream, id);
          },
          ended: (end) => listener.ended(end),
        }),
      flush: () => rig.launcher.flush(),
    };
    const rig: WorkerRig = await WorkerRig.start(runtime, { launcher });
    t.teardown(() => rig.close());
    const file = rig.file(name, source);
    const say = (n: number, out: number) =>
      rig.call({ file, function: "say", args: { n, out, err: 0 } });
    // The first has nothing to compare with, and one is marked when the launcher reads meanwhile.
    for (let n = 0; n < 5; n++) await say(n, 0);
    t.ok(marks < 10, `${marks} marks for five quiet calls`);
    const before = marks;
    t.equal((await say(5, 1)).stdout.toString(), "o5.");
    t.equal(marks, before + 2);
  });

  t.test(`${runtime}: quiet and loud calls in any order keep their output`, async (t) => {
    const rig = await WorkerRig.start(runtime);
    t.teardown(() => rig.close());
    const file = rig.file(name, source);
    const pick = randoms(11);
    for (let round = 0; round < 12; round++) {
      const calls: { call: Started; out: number; err: number; n: number }[] = [];
      for (let i = 0; i < 40; i++) {
        const n = round * 100 + i;
        const amount = () => (pick() < 0.7 ? 0 : pick() < 0.9 ? 1 : 20_000);
        const args = { n, out: amount(), err: amount() };
        const behind: CallHandle | undefined = calls.at(-1)?.call.handle;
        const call = rig.start({ file, function: "say", args, after: i > 0 }, behind);
        calls.push({ call, ...args });
      }
      for (const { call, out, err, n } of calls) {
        const told = await call.told;
        const isRight =
          resultOf(told) === n &&
          told.stdout.equals(Buffer.from(`o${n}.`.repeat(out))) &&
          told.stderr.equals(Buffer.from(`e${n}.`.repeat(err)));
        if (!isRight) t.fail(`call ${n}: ${told.stdout.length}, ${told.stderr.length} bytes`);
      }
    }
    t.pass("all have their own");
  });

  t.test(`${runtime}: output is told while its call runs, behind quiet ones`, async (t) => {
    const rig = await WorkerRig.start(runtime);
    t.teardown(() => rig.close());
    const file = rig.file(name, source);
    const until = `${rig.folder}/until`;
    writeFileSync(until, "");
    await rig.call({ file, function: "live", args: { n: 0, until } });
    for (let n = 0; n < 3; n++) {
      await rig.call({ file, function: "say", args: { n, out: 0, err: 0 } });
    }
    const stop = `${rig.folder}/stop`;
    const calls: Started[] = [];
    for (let n = 0; n < 12; n++) {
      const what =
        n === 8
          ? { function: "live", args: { n, until: stop } }
          : { function: "say", args: { n, out: 0, err: 0 } };
      calls.push(rig.start({ file, ...what, after: n > 0 }, calls.at(-1)?.handle));
    }
    await calls[8]?.output;
    t.notOk(existsSync(stop), "it still runs");
    writeFileSync(stop, "");
    for (const [n, call] of calls.entries()) {
      t.equal((await call.told).stdout.toString(), n === 8 ? "on8" : "", `call ${n}`);
    }
  });
}

/** The same numbers in each run of the test. */
function randoms(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
