// The worker's end of the channel to the agent: length-prefixed frames on a blocking socket. While
// the worker has nothing to do it blocks in `read`, so that no event of a past task is served.
import { closeSync, readSync, writeSync } from "node:fs";

/** The agent knows it: the channel broke under the worker. */
const channelLostCode = 76;
const maxFrameBytes = 64 * 2 ** 20;

export class Channel {
  readonly #fd: number;
  #bytes = Buffer.allocUnsafe(1 << 16);
  #start = 0;
  #end = 0;
  #out = Buffer.allocUnsafe(1 << 16);

  constructor(fd: number) {
    this.#fd = fd;
  }

  /** The text of the next frame; undefined when the agent has closed its end. */
  read(): string | undefined {
    if (!this.#fill(4)) return undefined;
    const length = this.#bytes.readUInt32LE(this.#start);
    if (length > maxFrameBytes) throw new Error(`a frame of ${length} bytes is over the limit`);
    if (!this.#fill(4 + length)) return undefined;
    const from = this.#start + 4;
    this.#start = from + length;
    return this.#bytes.toString("utf8", from, this.#start);
  }

  /** Something of a next frame is here. */
  get hasMore(): boolean {
    return this.#end > this.#start;
  }

  send(text: string): void {
    // A UTF-16 unit has at most three bytes in UTF-8.
    if (this.#out.length < 4 + text.length * 3) {
      this.#out = Buffer.allocUnsafe(4 + text.length * 3);
    }
    const length = this.#out.write(text, 4);
    this.#out.writeUInt32LE(length, 0);
    try {
      writeAll(this.#fd, this.#out, 4 + length);
    } catch {
      // The task has closed it. There is nobody to tell but by this code.
      (process as unknown as { reallyExit(code: number): never }).reallyExit(channelLostCode);
    }
  }

  /** Reads until `length` bytes are there. */
  #fill(length: number): boolean {
    if (this.#end - this.#start >= length) return true;
    if (this.#start > 0) {
      this.#bytes.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
    }
    if (this.#bytes.length < length) {
      const bigger = Buffer.allocUnsafe(Math.max(length, this.#bytes.length * 2));
      this.#bytes.copy(bigger, 0, 0, this.#end);
      this.#bytes = bigger;
    }
    while (this.#end < length) {
      const count = read(this.#fd, this.#bytes, this.#end);
      if (count === 0) return false;
      this.#end += count;
    }
    return true;
  }

  close(): void {
    closeSync(this.#fd);
  }
}

function read(fd: number, bytes: Buffer, at: number): number {
  for (;;) {
    try {
      return readSync(fd, bytes, at, bytes.length - at, null);
    } catch (error) {
      if (!isBusy(error)) return 0;
      pause();
    }
  }
}

/** Writes all of it, also where somebody has made the descriptor non-blocking. */
export function writeAll(fd: number, bytes: Buffer, length: number): void {
  let at = 0;
  while (at < length) {
    try {
      at += writeSync(fd, bytes, at, length - at, null);
    } catch (error) {
      if (!isBusy(error)) throw error;
      pause();
    }
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "EAGAIN";
}

function pause(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
}
