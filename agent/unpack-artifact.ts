// Writes the files of an artifact into the working folder of a run. Never outside of it: paths
// were checked by `loadArtifact`, and no symbolic link in the folder is followed.
import { constants } from "node:fs";
import { lstat, mkdir, open } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { DagArtifact } from "../protocol/artifact.ts";
import type { Result } from "../protocol/diagnostic.ts";
import { refuse } from "../protocol/findings.ts";
import { fileBytes } from "../protocol/pack.ts";
import { artifactPathProblem } from "../protocol/safe-path.ts";
import { syncFolder } from "./kept-files.ts";

const diskRemedy = "Free space on that file system or check the disk; it is tried again.";
const remedy = "Use an empty folder with room on a disk that can be written.";

/**
 * Files that are there already are overwritten. The value is the number of files. With `sync` they are
 * on the disk then. Fails with E_STATE_IO when the disk does not take them, else with E_DAG_FILE.
 */
export async function unpackArtifact(
  artifact: DagArtifact,
  folder: string,
  { sync = false }: { sync?: boolean } = {},
): Promise<Result<number>> {
  try {
    await mkdir(folder, { recursive: true });
    /** Folders below `folder` that are known to be folders and no links. */
    const checked = new Set<string>();
    for (const file of artifact.files) {
      const problem = artifactPathProblem(file.path) ?? (await parents(folder, file.path, checked));
      if (problem !== undefined) {
        const message = `The file must not be written: ${problem}.`;
        return refuse("E_DAG_FILE", file.path, message, remedy);
      }
      const { O_WRONLY, O_CREAT, O_TRUNC, O_NOFOLLOW } = constants;
      const mode = file.executable === true ? 0o755 : 0o644;
      const flags = O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW;
      await using handle = await open(join(folder, file.path), flags, mode);
      await handle.writeFile(fileBytes(file));
      await handle.chmod(mode);
      if (sync) await handle.sync();
    }
    if (sync) {
      for (const path of [folder, ...[...checked].map((below) => join(folder, below))]) {
        await syncFolder(path);
      }
    }
    return { ok: true, value: artifact.files.length };
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    if (["ENOSPC", "EDQUOT", "EIO"].includes(code)) {
      const message = `the artifact cannot be unpacked (${code})`;
      const problem = { code: "E_STATE_IO", path: folder, message, remedy: diskRemedy };
      return { ok: false, diagnostics: [problem] };
    }
    const message = `The artifact cannot be unpacked: ${error instanceof Error ? error.message : error}.`;
    return refuse("E_DAG_FILE", folder, message, remedy);
  }
}

/** Makes the folders above a file; a problem when one of them is not a real folder. */
async function parents(
  folder: string,
  path: string,
  checked: Set<string>,
): Promise<string | undefined> {
  const below: string[] = [];
  for (let parent = dirname(path); parent !== "."; parent = dirname(parent)) below.unshift(parent);
  for (const parent of below) {
    if (checked.has(parent)) continue;
    await mkdir(join(folder, parent), { recursive: true });
    const found = await lstat(join(folder, parent));
    if (!found.isDirectory()) return `${JSON.stringify(parent)} is not a folder`;
    checked.add(parent);
  }
  return undefined;
}
