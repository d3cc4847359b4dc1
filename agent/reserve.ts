// Room on the disk that only results may use: a file that is given up when the journal cannot be
// written any more, and made again when there is room. Other programs fill disks, too, so looking at
// the free space alone would keep nothing.
import { randomFillSync } from "node:crypto";
import { rmSync } from "node:fs";
import { open, statfs } from "node:fs/promises";
import { dirname, join } from "node:path";

/** Some 50,000 outcomes, or 100 results of the largest size that a record takes. */
const mostBytes = 8 * 1024 * 1024;
/** Not more than this part of what is free: a small disk has other uses. */
const share = 16;
const chunkBytes = 64 * 1024;

export class Reserve {
  readonly #path: string;
  #isWanted = false;

  constructor(stateDir: string) {
    this.#path = join(stateDir, "reserve");
  }

  /** Gives the reason when there is no room for it; then there is none. */
  async fill(): Promise<string | undefined> {
    this.#isWanted = true;
    try {
      const { bavail, bsize } = await statfs(dirname(this.#path));
      const wanted = Math.min(mostBytes, Math.floor((bavail * bsize) / share));
      await using file = await open(this.#path, "a", 0o600);
      let { size } = await file.stat();
      if (size + wanted < chunkBytes) throw new Error("there is no room");
      // Not zeros: a file system may keep those without any room.
      const chunk = randomFillSync(Buffer.allocUnsafe(chunkBytes));
      while (size + chunkBytes <= wanted && this.#isWanted) {
        size += (await file.write(chunk)).bytesWritten;
      }
      return undefined;
    } catch (error) {
      this.release();
      return error instanceof Error ? error.message : String(error);
    }
  }

  /** False when there is none. */
  release(): boolean {
    this.#isWanted = false;
    try {
      rmSync(this.#path);
      return true;
    } catch {
      return false; // it is not there, or cannot be had: the same to whoever asks
    }
  }
}
