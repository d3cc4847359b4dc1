// How long a no-op call in a warm worker takes from submit to finished, marks included, at 1, 4, 16
// and 64 calls a frame. Prints one JSON object; run it alone: `node test/bench/worker-roundtrip.ts`.
import { loadavg } from "node:os";
import { WorkerRig } from "../exec/worker-rig.ts";

const rounds = Number(process.argv[2] ?? 5);
const sources = {
  python: { name: "noop.py", text: "def noop():\n    return None\n" },
  node: { name: "noop.ts", text: "export function noop(): null {\n  return null;\n}\n" },
} as const;

const figures: Record<string, Record<string, number[]>> = {};
for (const runtime of ["python", "node"] as const) {
  if (process.argv[3] !== undefined && process.argv[3] !== runtime) continue;
  const rig = await WorkerRig.start(runtime);
  const file = rig.file(sources[runtime].name, sources[runtime].text);
  await rig.call({ file, function: "noop" });
  const byFrame: Record<string, number[]> = {};
  for (const perFrame of [1, 4, 16, 64]) {
    await burst({ rig, file, perFrame, frames: Math.ceil(2000 / perFrame) });
    const samples: number[] = [];
    for (let round = 0; round < rounds; round++) {
      samples.push(await burst({ rig, file, perFrame, frames: Math.ceil(4000 / perFrame) }));
    }
    byFrame[perFrame] = samples.sort((a, b) => a - b).map((us) => Math.round(us * 10) / 10);
  }
  figures[runtime] = byFrame;
  await rig.close();
}
console.log(
  JSON.stringify(
    { unit: "us a call, sorted", date: new Date().toISOString(), load: loadavg()[0], figures },
    null,
    1,
  ),
);

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
