// The files that tasks in sandboxes leave, on their way into the run's working folder, where tasks of
// every level find them; and from there into the sandboxes of the tasks that need them. Nothing that
// stands in that folder is followed: tasks of level `none` write there too.
import { globSync, lstatSync } from "node:fs";
import { lstat, mkdir, rename, rm } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import type { KeptOutput } from "./exec/isolation/sandbox-spec.ts";

/** Moves what was kept to where its task had it. Gives what could not be moved, with the reason. */
export async function publishOutputs(
  work: string,
  artifacts: readonly KeptOutput[],
): Promise<{ path: string; why: string }[]> {
  const refused: { path: string; why: string }[] = [];
  for (const { path, keptAt } of artifacts) {
    try {
      await makeFolders(work, path);
      const target = join(work, path);
      const known = await lstat(target).catch(() => undefined); // mostly there is none
      if (known?.isDirectory()) throw new Error("a folder of that name is there");
      await rename(keptAt, target); // takes the place of a link, and does not follow it
    } catch (error) {
      refused.push({ path, why: error instanceof Error ? error.message : String(error) });
    }
  }
  return refused;
}

async function makeFolders(work: string, path: string): Promise<void> {
  const above: string[] = [];
  for (let parent = dirname(path); parent !== "."; parent = dirname(parent)) above.unshift(parent);
  for (const folder of above) {
    await mkdir(join(work, folder), { recursive: true });
    if (!(await lstat(join(work, folder))).isDirectory()) throw new Error(`${folder} is no folder`);
  }
}

/** Forgets what was kept of an attempt that did not succeed. */
export async function dropOutputs(artifacts: readonly KeptOutput[]): Promise<void> {
  for (const { keptAt } of artifacts) await rm(keptAt, { force: true });
}

/** Regular files in the working folder that match; relative, without links on the way. */
export function outputFiles(work: string, patterns: readonly string[]): string[] {
  const found = new Set<string>();
  for (const pattern of patterns) {
    for (const entry of globSync(pattern, { cwd: work, withFileTypes: true })) {
      const path = relative(work, join(entry.parentPath, entry.name));
      if (entry.isFile() && !path.startsWith("..") && hasNoLink(work, path)) found.add(path);
    }
  }
  return [...found];
}

function hasNoLink(work: string, path: string): boolean {
  for (let part = path; part !== "."; part = dirname(part)) {
    if (lstatSync(join(work, part), { throwIfNoEntry: false })?.isSymbolicLink() !== false) {
      return false;
    }
  }
  return true;
}
