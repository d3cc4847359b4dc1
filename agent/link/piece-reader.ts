// Reads pieces of files, one after another mostly of the same file: a run with many small log chunks
// must not pay an open and a close for each. Keeps one descriptor; what is wrong is a value.
import { closeSync, fstatSync, openSync, readSync } from "node:fs";

export class PieceReader {
  #file: { path: string; fd: number } | undefined;

  /** All of the bytes, or why they cannot be had, fit for "the file ...". */
  read(path: string, offset: number, sizeBytes: number): Buffer | { missing: string } {
    try {
      const fd = this.#open(path);
      const found = fstatSync(fd).size;
      if (found < offset + sizeBytes) {
        return { missing: `ends at ${found} instead of ${offset + sizeBytes}` };
      }
      const bytes = Buffer.allocUnsafe(sizeBytes);
      let done = 0;
      while (done < sizeBytes) {
        const read = readSync(fd, bytes, done, sizeBytes - done, offset + done);
        if (read === 0) {
          return { missing: "ended while it was read" };
        }
        done += read;
      }
      return bytes;
    } catch (error) {
      this.close();
      return { missing: `cannot be read (${error instanceof Error ? error.message : error})` };
    }
  }

  close(): void {
    if (this.#file !== undefined) {
      const { fd } = this.#file;
      this.#file = undefined;
      closeSync(fd);
    }
  }

  #open(path: string): number {
    if (this.#file?.path !== path) {
      this.close();
      this.#file = { path, fd: openSync(path, "r") };
    }
    return this.#file.fd;
  }
}
