// What does a process cost through the launcher alone, beside plain C on the same machine? The
// difference to the row `true` is what the agent adds.
// usage: node test/bench/launcher.ts [--quick]
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findLauncher } from "../../agent/exec/launcher/find.ts";
import { Launcher } from "../../agent/exec/launcher/launcher.ts";
import { root } from "./bench-agent.ts";
import { type Answer, ask, median, short, sized, tell } from "./frame.ts";
import { compileBaseline, spawnInC } from "./spawn-c.ts";

const tasks = sized(500, 100);
const env = { PATH: "/usr/bin:/bin" };

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

const found = findLauncher({ root });
if (!found.found) throw new Error(found.detail);
const folder = mkdtempSync(join(tmpdir(), "bench-"));
const baseline = compileBaseline(folder);
const launcher = await Launcher.start({
  path: found.path,
  onExit: (detail) => {
    throw new Error(detail);
  },
});
const answers: Answer[] = [];
for (const inFlight of [1, 2]) {
  const loops: number[] = [];
  const answer = await ask({
    question: `launcher alone: ${tasks} x /bin/true, ${inFlight} at a time`,
    unit: "ms a task",
    better: "less",
    rounds: sized(9, 2),
    contenders: [
      {
        name: "edgedag's launcher",
        isOurs: true,
        round: async () => {
          const { wall, loop } = await runAll(launcher, inFlight);
          loops.push(loop);
          return wall;
        },
      },
      {
        name: "C: posix_spawn and wait",
        round: () => spawnInC(baseline, { count: tasks, inFlight }),
      },
    ],
  });
  answer.notes.push(`${short(median(loops))} ms a task of the event loop`);
  answers.push(answer);
}
await launcher.close();
rmSync(folder, { recursive: true });
tell(...answers);
