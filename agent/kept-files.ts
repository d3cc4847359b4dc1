// Files that tasks leave and that are kept: looked at and read through one descriptor, so that what
// was checked is what is copied, whatever the task does to the name in the meantime.
import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, open, readlink, realpath } from "node:fs/promises";
import { dirname } from "node:path";
import { objectPartBytes } from "../protocol/outbox.ts";

export interface Digest {
  sizeBytes: number;
  sha256: string;
}

/** Of a copy that is shipped. */
export interface CopyDigest extends Digest {
  /** CRC-32 of each part as it is shipped. */
  crcs: number[];
}

/** The copy could not be written: the source is as good as before, and a later try may succeed. */
export class CopyFailed extends Error {}

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

/** Reads the file as long as it is at the beginning. */
export async function digestFile(from: FileHandle | string): Promise<Digest> {
  const { sizeBytes, sha256 } = await readThrough(from, async () => {});
  return { sizeBytes, sha256 };
}

/**
 * The same, and writes it to `to` as it goes; with `sync` it is on the disk when this returns, its name
 * in its folder too. Throws `CopyFailed` for what cannot be written.
 */
export async function copyAndDigest(
  from: FileHandle | string,
  to: string,
  { sync }: { sync: boolean },
): Promise<CopyDigest> {
  const { crc32 } = process.getBuiltinModule("node:zlib");
  const crcs: number[] = [];
  const target = await writing(() => open(to, "w", 0o600));
  try {
    const digest = await readThrough(from, async (bytes) => {
      for (let at = 0; at < bytes.length; at += objectPartBytes) {
        crcs.push(crc32(bytes.subarray(at, at + objectPartBytes)));
      }
      await writing(() => target.writeFile(bytes));
    });
    if (sync) await writing(() => target.sync());
    if (digest.sizeBytes === 0) crcs.push(crc32(""));
    return { ...digest, crcs };
  } finally {
    await writing(() => target.close());
    if (sync) await writing(() => syncFolder(dirname(to)));
  }
}

async function readThrough(
  from: FileHandle | string,
  each: (bytes: Buffer) => Promise<void>,
): Promise<Digest> {
  const isOwn = typeof from === "string";
  const source = isOwn ? await open(from, "r") : from;
  try {
    const hash = createHash("sha256");
    const buffer = Buffer.allocUnsafe(chunkBytes);
    let sizeBytes = 0;
    // A task that goes on writing must not keep us reading.
    const { size } = await source.stat();
    while (sizeBytes < size) {
      const wanted = Math.min(chunkBytes, size - sizeBytes);
      const filled = await fill(source, buffer, { wanted, at: sizeBytes });
      if (filled === 0) break;
      const bytes = buffer.subarray(0, filled);
      hash.update(bytes);
      await each(bytes);
      sizeBytes += filled;
      if (filled < wanted) break;
    }
    return { sizeBytes, sha256: hash.digest("hex") };
  } finally {
    if (isOwn) await source.close();
  }
}

/** Whole chunks, so that checksums are of parts. */
async function fill(
  source: FileHandle,
  buffer: Buffer,
  { wanted, at }: { wanted: number; at: number },
): Promise<number> {
  let filled = 0;
  while (filled < wanted) {
    const { bytesRead } = await source.read(buffer, filled, wanted - filled, at + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return filled;
}

async function writing<T>(write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (error) {
    throw new CopyFailed(error instanceof Error ? error.message : String(error));
  }
}

export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** A multiple of `objectPartBytes`. */
const chunkBytes = 256 * 1024;
const notRegular = "only regular files are";
const notInside = "only files in the working folder are";

function refused(problem: string): Opened {
  return { handle: undefined, problem, [Symbol.asyncDispose]: async () => {} };
}
