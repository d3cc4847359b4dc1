// Trees that a task has left in a plain folder: removes and measures them whatever modes they have.
// Never follows a symlink. Only when every process that could change them is dead.
import { chmod, lstat, readdir, rm } from "node:fs/promises";
import { join } from "node:path";

export async function removeTree(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
  } catch (error) {
    if (!isDenied(error)) throw error;
    // A task may take its own folders' modes away; they are ours to give back.
    await openFolders(path);
    await rm(path, { recursive: true, force: true });
  }
}

/** Bytes that the tree takes on its disk, as far as it can be seen; it may change meanwhile. */
export async function measureTree(path: string): Promise<number> {
  try {
    const stat = await lstat(path);
    let bytes = stat.blocks * 512;
    if (!stat.isDirectory()) return bytes;
    for (const name of await readdir(path)) bytes += await measureTree(join(path, name));
    return bytes;
  } catch (error) {
    if (isDenied(error) || isMissing(error)) return 0;
    throw error;
  }
}

async function openFolders(path: string): Promise<void> {
  const stat = await lstat(path);
  if (!stat.isDirectory()) return;
  await chmod(path, 0o700);
  for (const name of await readdir(path)) await openFolders(join(path, name));
}

function isDenied(error: unknown): boolean {
  const code = codeOf(error);
  return code === "EACCES" || code === "EPERM" || code === "ENOTEMPTY";
}

function isMissing(error: unknown): boolean {
  const code = codeOf(error);
  return code === "ENOENT" || code === "ENOTDIR";
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
