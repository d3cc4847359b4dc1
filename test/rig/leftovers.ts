// Finds what a run must not leave behind: processes, by a variable that all of them inherit, and
// folders in shared memory, by the name that the agent gives them.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { outsidePrefix } from "../../agent/outside.ts";

/** `variable` is NAME=value. Zombies do not count: they have no environment. */
export async function processesMarked(variable: string): Promise<string[]> {
  const found: string[] = [];
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const environment = await readFile(`/proc/${name}/environ`, "utf8");
      if (!environment.split("\0").includes(variable)) continue;
      const line = (await readFile(`/proc/${name}/cmdline`, "utf8")).replaceAll("\0", " ");
      found.push(`${name} ${line}`);
    } catch (error) {
      // It ended while we looked.
      if (!(error instanceof Error && "code" in error)) throw error;
    }
  }
  return found;
}

export async function shmFoldersOf(stateDir: string): Promise<string[]> {
  const prefix = outsidePrefix(stateDir, false);
  const names = await readdir("/dev/shm");
  return names.filter((name) => name.startsWith(prefix)).map((name) => join("/dev/shm", name));
}
