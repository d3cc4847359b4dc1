// What does a process cost through the launcher, beside plain C on the same machine?
// usage: node test/bench/launcher.ts [rounds] [tasks]; prints one line of JSON. The rounds of both
// alternate, so that a change of load hits both; medians are given with their spread.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { arch, loadavg, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { findLauncher } from "../../agent/exec/launcher/find.ts";
import { Launcher } from "../../agent/exec/launcher/launcher.ts";

const root = resolve(import.meta.dirname, "../..");
const rounds = Number(process.argv[2] ?? 9);
const tasks = Number(process.argv[3] ?? 500);
const env = { PATH: "/usr/bin:/bin" };

interface Series {
  inFlight: number;
  c: number[];
  launcher: number[];
  loop: number[];
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

function round(n: number): number {
  return Math.round(n * 1e4) / 1e4;
}

function summary(values: readonly number[]): { median: number; min: number; max: number } {
  return {
    median: round(median(values)),
    min: round(Math.min(...values)),
    max: round(Math.max(...values)),
  };
}

/** Milliseconds a task: on the clock, and of the event loop's own work. */
async function runAll(
  launcher: Launcher,
  inFlight: number,
): Promise<{ wall: number; loop: number }> {
  const done = Promise.withResolvers<void>();
  let started = 0;
  let ended = 0;
  const next = () => {
    if (started === tasks) return;
    started++;
    launcher.spawn({ argv: ["/bin/true"], env, cwd: "/", graceMs: 0 }, listener);
  };
  const listener = {
    started: () => {},
    output: () => {},
    mark: () => {},
    ended: () => {
      ended++;
      next();
      if (ended === tasks) done.resolve();
    },
  };
  const from = performance.now();
  const loopFrom = performance.eventLoopUtilization();
  for (let i = 0; i < inFlight; i++) next();
  await done.promise;
  const loop = performance.eventLoopUtilization(loopFrom).active;
  return { wall: (performance.now() - from) / tasks, loop: loop / tasks };
}

execFileSync(join(root, "scripts/build-launcher"));
const found = findLauncher({ root });
if (!found.found) throw new Error(found.detail);
const folder = mkdtempSync(join(tmpdir(), "edgedag-bench-"));
const baseline = join(folder, "spawn-c");
execFileSync("cc", ["-O2", "-o", baseline, join(root, "test/bench/spawn-c.c")]);
const launcher = await Launcher.start({
  path: found.path,
  onExit: (detail) => {
    throw new Error(detail);
  },
});
const series: Series[] = [1, 2].map((inFlight) => ({ inFlight, c: [], launcher: [], loop: [] }));
for (let i = 0; i <= rounds; i++) {
  for (const s of series) {
    const line = execFileSync(baseline, [String(tasks), String(s.inFlight), "/bin/true"], { env });
    const ours = await runAll(launcher, s.inFlight);
    if (i === 0) continue; // warms caches and the compiler
    s.c.push(JSON.parse(line.toString()).msPerTask);
    s.launcher.push(ours.wall);
    s.loop.push(ours.loop);
  }
}
await launcher.close();
rmSync(folder, { recursive: true });
const figures = series.map((s) => ({
  inFlight: s.inFlight,
  cMsPerTask: summary(s.c),
  launcherMsPerTask: summary(s.launcher),
  loopMsPerTask: summary(s.loop),
  ratio: round(median(s.launcher) / median(s.c)),
}));
process.stdout.write(
  `${JSON.stringify({ bench: "launcher", date: new Date().toISOString(), arch: arch(), load: loadavg()[0], tasks, rounds, figures })}\n`,
);
