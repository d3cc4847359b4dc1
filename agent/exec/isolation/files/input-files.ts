// Puts what a task needs into the folders of its box, before anything of the task runs there: its
// named files, stdin, and what the SDK finds. Paths come from documents: nothing is followed, nothing
// is overwritten, and nothing outside of the folders is touched.
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  openSync,
  readSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { artifactPathProblem } from "../../../../protocol/safe-path.ts";
import type { BoxFolder } from "../box.ts";
import type { InputFile } from "../sandbox-spec.ts";

export type InputProblem =
  | { kind: "refused"; detail: string }
  /** They do not fit into the folder. */
  | { kind: "full" };

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = constants;
/** Written in one turn of the event loop. */
const pieceBytes = 2 ** 20;

/** Undefined when all are there. */
export async function writeInputFiles(
  { work, uid }: Pick<BoxFolder, "work" | "uid">,
  files: readonly InputFile[],
  folders: readonly string[] = [],
): Promise<InputProblem | undefined> {
  for (const path of folders) {
    const problem = artifactPathProblem(path);
    if (problem !== undefined) return refused(path, problem);
    const failed = await attempt(path, async () => {
      makeFolders(work, path.split("/"), uid);
    });
    if (failed !== undefined) return failed;
  }
  for (const { path, content, isExecutable } of files) {
    const problem = artifactPathProblem(path);
    if (problem !== undefined) return refused(path, problem);
    const parts = path.split("/");
    const mode = isExecutable === true ? 0o755 : 0o644;
    const failed = await attempt(path, async () => {
      const folder = makeFolders(work, parts.slice(0, -1), uid);
      await writeNew(join(folder, parts.at(-1) ?? ""), content, { mode, uid });
    });
    if (failed !== undefined) return failed;
  }
  return undefined;
}

/** A file beside the working folder. */
export async function writeIoFile(
  { io, uid }: Pick<BoxFolder, "io" | "uid">,
  name: string,
  content: Uint8Array | string,
  mode = 0o644,
): Promise<InputProblem | undefined> {
  return await attempt(name, () => writeNew(join(io, name), content, { mode, uid }));
}

async function attempt(
  path: string,
  write: () => Promise<void>,
): Promise<InputProblem | undefined> {
  try {
    await write();
    return undefined;
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ENOSPC" || code === "EDQUOT") return { kind: "full" };
    if (code === "EEXIST") return refused(path, "another input has the same path");
    if (code === "ENOTDIR") return refused(path, "a part of it is a file");
    return refused(path, error instanceof Error ? error.message : String(error));
  }
}

function makeFolders(work: string, folders: readonly string[], uid: number | undefined): string {
  let at = work;
  for (const name of folders) {
    at = join(at, name);
    const known = lstatSync(at, { throwIfNoEntry: false });
    if (known === undefined) {
      mkdirSync(at, 0o755);
      if (uid !== undefined) lchownSync(at, uid, uid);
    } else if (!known.isDirectory()) {
      throw Object.assign(new Error(`${at} is no folder`), { code: "ENOTDIR" });
    }
  }
  return at;
}

async function writeNew(
  path: string,
  content: InputFile["content"],
  { mode, uid }: { mode: number; uid: number | undefined },
): Promise<void> {
  if (typeof content === "object" && "copyOf" in content) {
    await copyNew(content.copyOf, path, { mode, uid });
    return;
  }
  const bytes = typeof content === "string" ? Buffer.from(content) : content;
  const fd = openSync(path, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY, 0o600);
  try {
    for (let at = 0; at < bytes.length; ) {
      at += writeSync(fd, bytes, at, Math.min(pieceBytes, bytes.length - at));
      if (at < bytes.length) await setImmediate();
    }
    // Past the umask.
    fchmodSync(fd, mode);
    if (uid !== undefined) fchownSync(fd, uid, uid);
  } finally {
    closeSync(fd);
  }
}

async function copyNew(
  from: string,
  path: string,
  { mode, uid }: { mode: number; uid: number | undefined },
): Promise<void> {
  // What another task may have put in its place is not followed, and not waited for.
  const source = openSync(from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    if (!fstatSync(source).isFile()) throw new Error(`${from} is not a regular file`);
    const fd = openSync(path, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY, 0o600);
    try {
      const piece = Buffer.allocUnsafe(pieceBytes);
      const { size } = fstatSync(source);
      for (let at = 0; at < size; ) {
        const read = readSync(source, piece, 0, Math.min(pieceBytes, size - at), at);
        if (read === 0) break;
        for (let done = 0; done < read; ) done += writeSync(fd, piece, done, read - done);
        at += read;
        await setImmediate();
      }
      fchmodSync(fd, mode);
      if (uid !== undefined) fchownSync(fd, uid, uid);
    } finally {
      closeSync(fd);
    }
  } finally {
    closeSync(source);
  }
}

function refused(path: string, why: string): InputProblem {
  return { kind: "refused", detail: `the input file ${JSON.stringify(path)} cannot be: ${why}` };
}
