// Files that tasks leave and that are kept: looked at and read through one descriptor, so that what
// was checked is what is copied, whatever the task does to the name in the meantime.
import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, open, readlink, realpath } from "node:fs/promises";

export interface Digest {
  sizeBytes: number;
  sha256: string;
}

export type Opened = AsyncDisposable &
  ({ handle: FileHandle } | { handle: undefined; problem: string });

/** A regular file below `folder`; anything else is a problem, and is never waited for. */
export async function openInside(folder: string, path: string): Promise<Opened> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  let handle: FileHandle;
  try {
    handle = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    const problem =
      code === "ENOENT"
        ? "it is not there"
        : code === "ELOOP" || code === "ENXIO"
          ? notRegular
          : String(error);
    return refused(problem);
  }
  let isKept = false;
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) return refused(notRegular);
    // A folder on the way may be a link to anywhere on the host: the descriptor tells.
    const real = await readlink(`/proc/self/fd/${handle.fd}`);
    if (!real.startsWith(`${await realpath(folder)}/`)) return refused(notInside);
    isKept = true;
    return { handle, [Symbol.asyncDispose]: () => handle.close() };
  } finally {
    if (!isKept) await handle.close();
  }
}

/** Reads the file as long as it is at the beginning, and writes it to `to` as it goes. */
export async function copyAndDigest(from: FileHandle | string, to?: string): Promise<Digest> {
  const isOwn = typeof from === "string";
  const source = isOwn ? await open(from, "r") : from;
  const target = to === undefined ? undefined : await open(to, "w", 0o600);
  try {
    const hash = createHash("sha256");
    const buffer = Buffer.allocUnsafe(chunkBytes);
    let sizeBytes = 0;
    // A task that goes on writing must not keep us reading.
    const { size } = await source.stat();
    while (sizeBytes < size) {
      const wanted = Math.min(chunkBytes, size - sizeBytes);
      const { bytesRead } = await source.read(buffer, 0, wanted, sizeBytes);
      if (bytesRead === 0) break;
      const bytes = buffer.subarray(0, bytesRead);
      hash.update(bytes);
      await target?.writeFile(bytes);
      sizeBytes += bytesRead;
    }
    return { sizeBytes, sha256: hash.digest("hex") };
  } finally {
    await target?.close();
    if (isOwn) await source.close();
  }
}

const chunkBytes = 256 * 1024;
const notRegular = "only regular files are";
const notInside = "only files in the working folder are";

function refused(problem: string): Opened {
  return { handle: undefined, problem, [Symbol.asyncDispose]: async () => {} };
}
