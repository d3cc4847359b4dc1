// Where the folders of sandboxes lie: below the first folder that the users of sandboxes can reach,
// under a name by which the next agent on the same state finds them again.
import { accessSync, constants, existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { isOfDeadOwner } from "./outside.ts";
import { isOwnFolder, isTaken } from "./own-folder.ts";
import { isReachable } from "./sandbox-python.ts";

const fallbacks = ["/run", "/tmp"];
const prefix = "edgedag.boxes-";

/** `tag`: that of `outsidePrefix`. As root other users must get there. */
export function boxesFolder(runtimeDir: string, tag: string): string {
  const known = [runtimeDir, ...fallbacks].map((parent) => join(parent, nameOf(tag)));
  const earlier = known.find(isOwnFolder);
  if (earlier !== undefined) return earlier;
  const parents = [runtimeDir, ...fallbacks].filter((path) => !isTaken(join(path, nameOf(tag))));
  const parent = parents.find(isUsable) ?? runtimeDir;
  return join(parent, nameOf(tag));
}

/** An earlier agent of this state had sandboxes, and has not taken them all away. */
export function hasLeftBoxes(runtimeDir: string, tag: string): boolean {
  return [runtimeDir, ...fallbacks].some((parent) => isOwnFolder(join(parent, nameOf(tag))));
}

/** Those of one-off agents that were killed: nobody comes back for them. */
export function abandonedBoxes(runtimeDir: string): string[] {
  const found: string[] = [];
  for (const parent of new Set([runtimeDir, ...fallbacks])) {
    if (!existsSync(parent)) continue;
    for (const name of readdirSync(parent)) {
      if (!name.startsWith(prefix) || !isOfDeadOwner(name.slice(prefix.length))) continue;
      if (!isOwnFolder(join(parent, name))) continue;
      found.push(join(parent, name));
    }
  }
  return found;
}

/** Not as other folders of the agent are named: those are removed without looking for mounts. */
function nameOf(tag: string): string {
  return `${prefix}${tag}`;
}

function isUsable(folder: string): boolean {
  if (process.getuid?.() === 0 && !isReachable(folder)) return false;
  try {
    accessSync(folder, constants.W_OK);
    return true;
  } catch {
    return false; // the next one may be
  }
}
