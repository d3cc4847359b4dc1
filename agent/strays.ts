// What is left of tasks when their launcher was killed: the kernel then kills the leaders, and
// nobody their children. They are known by the environment that every process of a task has.
import { readdirSync, readFileSync } from "node:fs";

/**
 * Kills processes whose shared-memory folder has a name with this prefix, which only tasks of this state
 * folder have, unless their attempt is one of `wanted` (`RUN/KEY#ATTEMPT`). To be called before any
 * task is started. Gives how many there were.
 */
export function killStrays(prefix: string, wanted: ReadonlySet<string>): number {
  let killed = 0;
  for (const name of readdirSync("/proc")) {
    const pid = /^\d+$/.test(name) ? Number(name) : process.pid;
    if (pid === process.pid) continue;
    const env = environmentOf(pid);
    if (env.EDGEDAG_SHM?.includes(`/${prefix}`) !== true) continue;
    const attempt = `${env.EDGEDAG_RUN}/${env.EDGEDAG_TASK}#${env.EDGEDAG_ATTEMPT}`;
    if (wanted.has(attempt)) continue;
    try {
      process.kill(pid, "SIGKILL");
      killed += 1;
    } catch {
      // It has ended by itself.
    }
  }
  return killed;
}

function environmentOf(pid: number): { [name: string]: string | undefined } {
  try {
    const entries = readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
    return Object.fromEntries(
      entries
        .filter((entry) => entry.startsWith("EDGEDAG_"))
        .map((entry) => [entry.slice(0, entry.indexOf("=")), entry.slice(entry.indexOf("=") + 1)]),
    );
  } catch {
    return {}; // it has ended meanwhile, or belongs to somebody else
  }
}
