// How long does a no-op call in a warm worker take from submit to finished, marks included, at 1, 4,
// 16 and 64 calls a frame? The difference to the row `chain` is what the scheduler, the journal and
// the log add.
// usage: node test/bench/worker-roundtrip.ts [--quick]
import { WorkerRig } from "../exec/worker-rig.ts";
import { type Answer, ask, sized, tell } from "./frame.ts";

const calls = sized(4000, 400);
const sources = {
  python: { name: "noop.py", text: "def noop():\n    return None\n" },
  node: { name: "noop.ts", text: "export function noop(): null {\n  return null;\n}\n" },
} as const;

const answers: Answer[] = [];
for (const runtime of ["python", "node"] as const) {
  const rig = await WorkerRig.start(runtime);
  const file = rig.file(sources[runtime].name, sources[runtime].text);
  await rig.call({ file, function: "noop" });
  const contenders = [1, 4, 16, 64].map((perFrame) => ({
    name: `${perFrame} a frame`,
    isOurs: true as const,
    round: () => burst({ rig, file, perFrame, frames: Math.ceil(calls / perFrame) }),
  }));
  const title = runtime === "python" ? "Python" : "Node.js";
  answers.push(
    await ask({
      question: `no-op calls in a warm ${title} worker, without scheduler, journal and log`,
      unit: "us a call",
      better: "less",
      rounds: sized(7, 2),
      contenders,
    }),
  );
  await rig.close();
}
tell(...answers);

/** Microseconds a call, one frame after the other. */
async function burst(options: {
  rig: WorkerRig;
  file: string;
  perFrame: number;
  frames: number;
}): Promise<number> {
  const { rig, file, perFrame, frames } = options;
  const spec = rig.spec({ file, function: "noop" });
  const done = Promise.withResolvers<void>();
  let left = frames * perFrame;
  let inFrame = 0;
  const listener = {
    started: () => {},
    output: () => {},
    finished: () => {
      left -= 1;
      inFrame -= 1;
      if (left === 0) done.resolve();
      else if (inFrame === 0) sendFrame();
    },
  };
  const sendFrame = () => {
    inFrame = perFrame;
    let handle = rig.pool.submit(spec, listener);
    for (let i = 1; i < perFrame; i++) handle = rig.pool.append(handle, spec, listener);
    rig.pool.flush();
  };
  const start = process.hrtime.bigint();
  sendFrame();
  await done.promise;
  return Number(process.hrtime.bigint() - start) / 1000 / (frames * perFrame);
}
