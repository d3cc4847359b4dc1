// The segment files of one run's combined log: append, rotate by size, keep within a bound.
// Never deletes the segment being written; deletes unshipped ones only when the bound leaves no
// choice, and says so. Knows nothing of lines beyond where the last one ends.
import {
  closeSync,
  fdatasync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  statSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { open } from "node:fs/promises";
import type { Diagnostic, Result } from "../../protocol/diagnostic.ts";

export interface SegmentOptions {
  folder: string;
  /** A segment is closed when it has reached this. */
  segmentBytes: number;
  /** Most bytes of all segments of the run. */
  limitBytes: number;
  /** What was appended is put on the disk by `sync`, which somebody else calls. */
  sync: boolean;
  /** True while the master still needs the segment. */
  isHeld(segment: number): boolean;
}

/** Where bytes went. */
export interface Written {
  segment: number;
  offset: number;
}

interface Unsynced {
  segment: number;
  fd: number;
  sizeBytes: number;
  syncedBytes: number;
}

export class Segments {
  readonly #options: SegmentOptions;
  /** Sizes of closed segments, oldest first. */
  readonly #closed: { segment: number; sizeBytes: number }[] = [];
  #closedBytes = 0;
  #segment = 0;
  #fd = -1;
  #sizeBytes = 0;
  /** Bytes of the present segment that are known to be on the disk. */
  #syncedBytes = 0;
  /** Closed segments that are not on the disk yet; with `sync` only. */
  #unsynced: Unsynced[] = [];
  /** A file was made or removed since the folder was synced. */
  #isFolderDirty = true;

  private constructor(options: SegmentOptions) {
    this.#options = options;
  }

  /** Also gives the last line that is whole; what follows it in the file is cut off. */
  static open(
    options: SegmentOptions,
  ): Result<{ segments: Segments; lastLine: string | undefined }> {
    const segments = new Segments(options);
    try {
      return { ok: true, value: { segments, lastLine: segments.#open() } };
    } catch (error) {
      return failed(error, options.folder);
    }
  }

  get segment(): number {
    return this.#segment;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /**
   * Appends whole lines. On failure (disk full) the file is what it was before. `dropped` names
   * segments that went before the master had them.
   */
  append(bytes: Uint8Array): Result<Written & { dropped: number[] }> {
    const offset = this.#sizeBytes;
    let done = 0;
    try {
      while (done < bytes.length) {
        done += writeSync(this.#fd, bytes, done, bytes.length - done);
      }
    } catch (error) {
      return this.#takeBack(done, error);
    }
    this.#sizeBytes += bytes.length;
    const written = { segment: this.#segment, offset };
    const dropped = this.#sizeBytes >= this.#options.segmentBytes ? this.#rotate() : [];
    return { ok: true, value: { ...written, dropped } };
  }

  /**
   * Everything that was appended before the call is on the disk when it resolves. `isAgain`: an earlier
   * sync failed, and what it covered is written once more. Rejects with what the disk says.
   */
  async sync(isAgain: boolean): Promise<void> {
    const closed = this.#unsynced;
    const open = { segment: this.#segment, fd: this.#fd, sizeBytes: this.#sizeBytes };
    for (const file of [...closed, { ...open, syncedBytes: this.#syncedBytes }]) {
      if (file.syncedBytes === file.sizeBytes) continue;
      if (isAgain) this.#writeAgain(file);
      await syncData(file.fd);
    }
    for (const { fd } of closed) closeSync(fd);
    this.#unsynced = this.#unsynced.filter((file) => !closed.includes(file));
    if (open.fd === this.#fd) this.#syncedBytes = open.sizeBytes;
    else {
      // It was closed meanwhile: what came after the call is left.
      const file = this.#unsynced.find(({ fd }) => fd === open.fd);
      if (file !== undefined) file.syncedBytes = open.sizeBytes;
    }
    if (this.#isFolderDirty) {
      this.#isFolderDirty = false;
      try {
        // The run's folder may be as new as the segment.
        for (const path of [".", "..", "../..", "../../.."])
          await syncFolder(`${this.#options.folder}/${path}`);
      } catch (error) {
        this.#isFolderDirty = true;
        throw error;
      }
    }
  }

  /** The kernel may have forgotten pages that it could not write: made dirty, they are written again. */
  #writeAgain({ segment, syncedBytes, sizeBytes }: Unsynced): void {
    const bytes = this.read(segment, syncedBytes, sizeBytes - syncedBytes);
    const fd = openSync(this.#path(segment), "r+");
    try {
      for (let done = 0; done < bytes.length; ) {
        done += writeSync(fd, bytes, done, bytes.length - done, syncedBytes + done);
      }
    } finally {
      closeSync(fd);
    }
  }

  /** Nothing more is written to the segment: if it is the present one, another begins. */
  leave(segment: number): void {
    if (segment === this.#segment && this.#sizeBytes > 0) this.#rotate();
  }

  /** Removes a closed segment. Throws what the file system throws. */
  remove(segment: number): void {
    const at = this.#closed.findIndex((c) => c.segment === segment);
    const [gone] = at < 0 ? [] : this.#closed.splice(at, 1);
    if (gone === undefined) return;
    this.#closedBytes -= gone.sizeBytes;
    unlinkSync(this.#path(segment));
  }

  /** Reads back, to record lines that were written but not committed before a crash. */
  read(segment: number, offset: number, sizeBytes: number): Buffer {
    const fd = openSync(this.#path(segment), "r");
    try {
      const bytes = Buffer.alloc(sizeBytes);
      return bytes.subarray(0, readSync(fd, bytes, 0, sizeBytes, offset));
    } finally {
      closeSync(fd);
    }
  }

  sizeOf(segment: number): number {
    return segment === this.#segment
      ? this.#sizeBytes
      : (this.#closed.find((c) => c.segment === segment)?.sizeBytes ?? 0);
  }

  /** With `sync` what is not on the disk yet still gets there with the next `sync`. */
  close(): void {
    this.#letGo();
    this.#fd = -1;
    this.#sizeBytes = 0;
    this.#syncedBytes = 0;
  }

  /** Of the present file: closed, or kept until it is on the disk. */
  #letGo(): void {
    const { sync } = this.#options;
    const [fd, sizeBytes, syncedBytes] = [this.#fd, this.#sizeBytes, this.#syncedBytes];
    if (!sync || syncedBytes === sizeBytes) closeSync(fd);
    else this.#unsynced.push({ segment: this.#segment, fd, sizeBytes, syncedBytes });
  }

  /** A half-written chunk must not stay: it would be followed by the whole one later. */
  #takeBack(bytes: number, error: unknown): { ok: false; diagnostics: Diagnostic[] } {
    const path = this.#path(this.#segment);
    try {
      if (bytes > 0) {
        ftruncateSync(this.#fd, this.#sizeBytes);
      }
      return failed(error, path);
    } catch (second) {
      this.#sizeBytes = fstatSync(this.#fd).size;
      return failed(second, path);
    }
  }

  #open(): string | undefined {
    mkdirSync(this.#options.folder, { recursive: true, mode: 0o700 });
    const numbers = segmentNumbers(this.#options.folder);
    this.#segment = numbers.pop() ?? 1;
    for (const segment of numbers) {
      const { size } = statSync(this.#path(segment));
      this.#closed.push({ segment, sizeBytes: size });
      this.#closedBytes += size;
    }
    this.#fd = openSync(this.#path(this.#segment), "a+");
    this.#sizeBytes = fstatSync(this.#fd).size;
    const tail = lastLineOf(this.#fd, this.#sizeBytes);
    if (tail.end < this.#sizeBytes) {
      // Torn by a loss of power: the journal cannot know of it, since it is written after the lines.
      ftruncateSync(this.#fd, tail.end);
      this.#sizeBytes = tail.end;
    }
    const previous = numbers.at(-1);
    if (tail.line !== undefined || previous === undefined) {
      return tail.line;
    }
    const fd = openSync(this.#path(previous), "r");
    try {
      return lastLineOf(fd, fstatSync(fd).size).line;
    } finally {
      closeSync(fd);
    }
  }

  #rotate(): number[] {
    let fd: number;
    try {
      fd = openSync(this.#path(this.#segment + 1), "a+");
    } catch {
      // No new file can be made now: the old one goes on growing, and the next append tries again.
      return [];
    }
    this.#letGo();
    this.#syncedBytes = 0;
    this.#isFolderDirty = true;
    this.#closed.push({ segment: this.#segment, sizeBytes: this.#sizeBytes });
    this.#closedBytes += this.#sizeBytes;
    this.#segment += 1;
    this.#fd = fd;
    this.#sizeBytes = 0;
    return this.#keepWithinLimit();
  }

  #keepWithinLimit(): number[] {
    const dropped: number[] = [];
    // Room for the segment that is being filled is part of the bound.
    const limit = this.#options.limitBytes - this.#options.segmentBytes;
    while (this.#closedBytes > limit) {
      const shipped = this.#closed.findIndex((c) => !this.#options.isHeld(c.segment));
      const [gone] = this.#closed.splice(Math.max(0, shipped), 1);
      if (gone === undefined) {
        break;
      }
      unlinkSync(this.#path(gone.segment));
      this.#closedBytes -= gone.sizeBytes;
      if (shipped < 0) {
        dropped.push(gone.segment);
      }
    }
    return dropped;
  }

  #path(segment: number): string {
    return `${this.#options.folder}/${segment}.ndjson`;
  }
}

/** Numbers of the segments in a folder, ascending. */
export function segmentNumbers(folder: string): number[] {
  return readdirSync(folder)
    .map((name) => /^(\d+)\.ndjson$/.exec(name)?.[1])
    .filter((number) => number !== undefined)
    .map(Number)
    .sort((a, b) => a - b);
}

function lastLineOf(fd: number, sizeBytes: number): { line: string | undefined; end: number } {
  // The longest line, escaped, is far below this.
  const tail = Buffer.alloc(Math.min(sizeBytes, 256 * 1024));
  readSync(fd, tail, 0, tail.length, sizeBytes - tail.length);
  const end = tail.lastIndexOf(10);
  if (end < 0) {
    return { line: undefined, end: 0 };
  }
  const start = end === 0 ? 0 : tail.lastIndexOf(10, end - 1) + 1;
  return { line: tail.toString("utf8", start, end), end: sizeBytes - tail.length + end + 1 };
}

function failed(error: unknown, path: string): { ok: false; diagnostics: Diagnostic[] } {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const full = code === "ENOSPC" || code === "EDQUOT";
  const message = error instanceof Error ? error.message : String(error);
  return {
    ok: false,
    diagnostics: [
      {
        code: full ? "E_STATE_FULL" : "E_STATE_IO",
        path,
        message: `the log of the run cannot be written (${message})`,
        remedy: full
          ? "Free space on that file system, or lower EDGEDAG_LOG_LIMIT."
          : "Check the disk and the rights of EDGEDAG_STATE.",
      },
    ],
  };
}

function syncData(fd: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fdatasync(fd, (error) => (error === null ? resolve() : reject(error)));
  });
}

async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, "r");
  await folder.sync();
}
