// Two launchers with one parent of control groups, as after a kill of the agent: the second one has
// the parent only when the first one, whose end may take seconds, is gone.
import { readdirSync, readFileSync } from "node:fs";
import t from "tap";
import { until } from "../rig/until.ts";
import { run, startLauncher } from "./launcher-rig.ts";

const name = `edgedag-ts${process.pid}`;
const skip = process.getuid?.() !== 0 && "needs root to make control groups";

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // the process has ended
  }
}

function launchers(): number[] {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .filter((pid) => read(`/proc/${pid}/cmdline`).endsWith(`--cgroup\0${name}\0`))
    .map(Number);
}

t.test("a launcher waits for its predecessor, and then has groups", { skip }, async (t) => {
  const told: string[] = [];
  const first = await startLauncher(() => {}, ["--cgroup", name]);
  process.kill(first.pid, "SIGSTOP");
  const starting = startLauncher(() => {}, ["--cgroup", name]).then((started) => {
    told.push("the second is ready");
    return started;
  });
  const waits = () => {
    const next = launchers().find((pid) => pid !== first.pid) ?? 0;
    return told.length > 0 || read(`/proc/${next}/wchan`).includes("nanosleep");
  };
  await until("the second waits", waits, (does) => does);
  t.strictSame(told, []);
  const closed = first.close();
  process.kill(first.pid, "SIGCONT");
  const second = await starting;
  await closed;
  t.strictSame(launchers(), [second.pid]);
  const { end, stdout } = await run(second, ["/bin/cat", "/proc/self/cgroup"], {
    cgroup: true,
  });
  t.match(end, { kind: "exited", exitCode: 0 });
  t.match(stdout.toString(), `/${name}/`);
  await second.close();
});
