// The worker's end of the page that it shares with the agent (PROTOCOL.md, "Claim page"): says which
// call is begun, learns which must not be, and shows the answers that are held back. It never
// decides what is done with a call.
import { closeSync, openSync, readSync, writeSync } from "node:fs";

const pageBytes = 65_536;
const heldAt = 4_096;
const revokedAt = 8;
const fionread = 0x541bn;
const wordOf = { claimed: 0, revokedFrom: 2, revokedTo: 3, epoch: 4, heldBytes: 5, sequence: 16 };

export class ClaimPage {
  readonly #bytes: Buffer;
  readonly #words: Uint32Array;
  /** Set where the page could not be mapped: then `#bytes` is a copy, and the file is the page. */
  readonly #fd: number | undefined;
  #end = heldAt;
  readonly #drained: Float64Array;
  readonly #unread: ((fd: number) => number) | undefined;
  readonly #written: [number, number] = [-1, -1];

  constructor(path: string) {
    const fd = openSync(path, "r+");
    const mapped = map(fd);
    if (mapped !== undefined) closeSync(fd);
    else this.#fd = fd;
    const page = mapped?.page ?? new ArrayBuffer(pageBytes);
    this.#unread = mapped?.unread;
    this.#drained = new Float64Array(page);
    this.#bytes = Buffer.from(page);
    this.#words = new Uint32Array(page);
  }

  /** False when the agent has taken the call back. */
  begin(claim: number): boolean {
    const words = this.#words;
    // Store, then load: the agent stores, waits and then loads, so that one of us sees the other.
    Atomics.store(words, wordOf.claimed, claim);
    if (this.#fd !== undefined) {
      writeSync(this.#fd, this.#bytes, 0, 4, 0);
      readSync(this.#fd, this.#bytes, revokedAt, 8, revokedAt);
    }
    const first = Atomics.load(words, wordOf.revokedFrom);
    const span = (Atomics.load(words, wordOf.revokedTo) - first) >>> 0;
    return (claim - first) >>> 0 > span;
  }

  /** Whether descriptor 1 or 2 got a byte since the last look; also when nobody can tell. */
  hasWritten(): boolean {
    const sequence = Atomics.load(this.#words, wordOf.sequence);
    // 0: the launcher does not count. Odd: it reads just now.
    if (this.#unread === undefined || sequence === 0 || (sequence & 1) === 1) {
      return this.#unknown();
    }
    let out = this.#drained[9] ?? 0;
    let err = this.#drained[10] ?? 0;
    const unreadOut = this.#unread(1);
    const unreadErr = this.#unread(2);
    const isSame = Atomics.load(this.#words, wordOf.sequence) === sequence;
    if (!isSame || unreadOut < 0 || unreadErr < 0) return this.#unknown();
    out += unreadOut;
    err += unreadErr;
    if (this.#written[0] === out && this.#written[1] === err) return false;
    this.#written[0] = out;
    this.#written[1] = err;
    return true;
  }

  /** Marks of `size` bytes were written since the last look. */
  marked(size: number): void {
    if (this.#written[0] < 0) return;
    this.#written[0] += size;
    this.#written[1] += size;
  }

  #unknown(): boolean {
    this.#written[0] = -1;
    return true;
  }

  /** Shows an answer that is sent later. False when there is no room: it must be sent now. */
  hold(answer: string): boolean {
    const at = this.#end;
    // A UTF-16 unit has at most three bytes in UTF-8.
    if (at + answer.length * 3 + 1 > pageBytes) return false;
    const length = this.#bytes.write(answer, at);
    this.#bytes[at + length] = 0x2c;
    this.#end = at + length + 1;
    if (this.#fd !== undefined) writeSync(this.#fd, this.#bytes, at, length + 1, at);
    this.#setHeld();
    return true;
  }

  /** All that was held has been sent. */
  sent(): void {
    if (this.#end === heldAt) return;
    this.#end = heldAt;
    Atomics.add(this.#words, wordOf.epoch, 1);
    this.#setHeld();
  }

  #setHeld(): void {
    Atomics.store(this.#words, wordOf.heldBytes, this.#end - heldAt);
    if (this.#fd !== undefined) writeSync(this.#fd, this.#bytes, 16, 8, 16);
  }
}

/** Undefined where this Node.js has no node:ffi, or the C library another name. */
function map(fd: number): { page: ArrayBuffer; unread: (fd: number) => number } | undefined {
  try {
    const ffi = process.getBuiltinModule("node:ffi");
    const { functions } = ffi.dlopen("libc.so.6", {
      mmap: { arguments: ["pointer", "u64", "i32", "i32", "i32", "i64"], return: "pointer" },
      ioctl: { arguments: ["i32", "u64", "pointer"], return: "i32" },
    });
    const readWrite = 3;
    const shared = 1;
    const at = functions.mmap(0n, BigInt(pageBytes), readWrite, shared, fd, 0n);
    if (at === 0xffff_ffff_ffff_ffffn) return undefined;
    const page = ffi.toArrayBuffer(at, pageBytes, false);
    // The kernel writes into a corner of the page that nobody else uses.
    const unreadAt = 128;
    const count = new Int32Array(page, unreadAt, 1);
    const pointer = at + BigInt(unreadAt);
    const unread = (pipe: number) =>
      functions.ioctl(pipe, fionread, pointer) === 0 ? (count[0] ?? -1) : -1;
    return { page, unread };
  } catch {
    return undefined;
  }
}
