// The page that a worker shares with the agent: what it has begun, what it must not begin, and the
// answers that it holds back. Makes, reads and writes the file; decides nothing. The layout is in
// PROTOCOL.md, "Claim page"; the other end is `claim.py` and `claim.ts` of the runners.
import { closeSync, ftruncateSync, openSync, readSync, unlinkSync, writeSync } from "node:fs";

const pageBytes = 65_536;
const revokedAt = 8;
const heldTextAt = 4_096;

export class ClaimPage {
  readonly path: string;
  readonly #fd: number;
  /** claimed, running, revokedFrom, revokedTo, epoch, heldBytes. */
  readonly #words = new Uint32Array(6);
  #hasName = true;

  /** Undefined where no file can be made: the worker then takes no calls ahead, and works. */
  static create(path: string): ClaimPage | undefined {
    let fd: number | undefined;
    try {
      fd = openSync(path, "wx+", 0o600);
      ftruncateSync(fd, pageBytes);
      return new ClaimPage(path, fd);
    } catch {
      if (fd !== undefined) {
        closeSync(fd);
        unlinkSync(path);
      }
      return undefined;
    }
  }

  private constructor(path: string, fd: number) {
    this.path = path;
    this.#fd = fd;
  }

  /** The claim number of the call that was begun last. */
  claimed(): number {
    this.#read();
    return this.#words[0] ?? 0;
  }

  /** No call with a number from `from` to `to` is to be begun. */
  revoke(from: number, to: number): void {
    // Eight aligned bytes in one write: a worker that reads both sees both or neither.
    writeSync(this.#fd, Uint32Array.of(from, to), 0, 8, revokedAt);
  }

  /**
   * The answers that the worker has not sent yet, as members of a JSON list; "" when there are none
   * or when they have just been sent. Only for a worker that has begun nothing for 2 ms or is dead.
   */
  held(): string {
    this.#read();
    const [, , , , epoch, length] = this.#words;
    if (length === undefined || length < 2 || length > pageBytes - heldTextAt) return "";
    const text = Buffer.allocUnsafe(length);
    readSync(this.#fd, text, 0, length, heldTextAt);
    this.#read();
    // Each answer ends with a comma.
    return this.#words[4] === epoch ? text.toString("utf8", 0, length - 1) : "";
  }

  /** Everybody who needs the file has opened it. */
  unlink(): void {
    if (!this.#hasName) return;
    this.#hasName = false;
    try {
      unlinkSync(this.path);
    } catch {
      // Whoever removed it did what was to be done.
    }
  }

  close(): void {
    this.unlink();
    closeSync(this.#fd);
  }

  #read(): void {
    readSync(this.#fd, this.#words, 0, this.#words.byteLength, 0);
  }
}

/** How far `a` is ahead of `b`: claim numbers are u32 and wrap around. */
export function claimDistance(a: number, b: number): number {
  return (a - b) | 0;
}
