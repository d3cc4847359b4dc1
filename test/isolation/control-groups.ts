// Control groups as they are mounted on this machine.
import { type Dirent, readdirSync } from "node:fs";
import { join } from "node:path";

/** Folders of the groups of that name, in every hierarchy. */
export function groupsNamed(name: string): string[] {
  const found: string[] = [];
  const look = (folder: string) => {
    for (const entry of entriesOf(folder)) {
      if (!entry.isDirectory()) continue;
      const path = join(folder, entry.name);
      if (entry.name === name) found.push(path);
      else look(path);
    }
  };
  look("/sys/fs/cgroup");
  return found;
}

/** None when it has gone: groups of other tests come and go meanwhile. */
function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
}
