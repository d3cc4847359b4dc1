// Finds what a run must not leave behind: processes, by a variable that all of them inherit, and
// folders in shared memory, by the name that the agent gives them.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { boxesFolder } from "../../agent/boxes-folder.ts";
import { mountsBelow } from "../../agent/exec/isolation/files/box-folder.ts";
import { outsidePrefix, outsideTag } from "../../agent/outside.ts";

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

/** Sandboxes of an agent that was killed and will not be started again. */
export async function removeBoxes(state: string, runtime: string): Promise<void> {
  const folder = boxesFolder(runtime, outsideTag(state, false));
  if (!existsSync(folder)) return;
  for (const path of mountsBelow(folder)) execFileSync("umount", [path]);
  await rm(folder, { recursive: true, force: true });
}
