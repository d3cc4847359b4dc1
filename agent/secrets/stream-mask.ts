// Masks a stream of bytes, whatever its chunks are: each stretch that is covered by patterns comes out
// as `***`, every other byte comes out once and in order. It holds back no more than what may be the
// beginning of a pattern. One object a stream; knows nothing of secrets, tasks or logs.
import type { Automaton } from "./automaton.ts";

export const masked = Buffer.from("***");
/** So few bytes of a beginning tell nothing: they need not wait for what follows. */
const harmlessBytes = 3;

/** `bytes` are valid only during the call. */
export type PutBytes = (bytes: Buffer) => void;

/** A covered stretch, from and up to byte numbers of the stream. */
interface Stretch {
  from: number;
  to: number;
  /** Its `***` is out already. */
  isShown: boolean;
}

export class StreamMask {
  readonly #automaton: Automaton;
  #node = 0;
  /** Bytes that are not decided, and the number of the first of them. */
  #held: Buffer = noBytes;
  #start = 0;
  /** Sorted, apart from each other, none of them before `#start`. */
  #stretches: Stretch[] = [];

  constructor(automaton: Automaton) {
    this.#automaton = automaton;
  }

  /** Something waits for what follows. */
  get isHolding(): boolean {
    return this.#held.length > 0;
  }

  write(chunk: Buffer, put: PutBytes): void {
    if (chunk.length === 0) return;
    const scanned = this.#start + this.#held.length;
    const all = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    this.#scan(chunk, scanned);
    const waiting = this.#automaton.depth[this.#node] as number;
    // Released bytes may be among those of the node.
    const until = Math.max(this.#start, this.#start + all.length - waiting);
    this.#give(all, until, put);
  }

  /**
   * Nothing has come for a while. What waits is given out (a prompt), unless it is more than a few
   * bytes of a pattern: those may be half of a secret.
   */
  idle(put: PutBytes): void {
    if (this.#held.length === 0 || this.#held.length > harmlessBytes) return;
    this.#give(this.#held, this.#start + this.#held.length, put);
  }

  /**
   * The stream has ended. A beginning that was cut off, by a limit or a kill, is covered when it is
   * at least half of a pattern; else it is given out.
   */
  end(put: PutBytes): void {
    const { depth, shortest } = this.#automaton;
    const beginning = depth[this.#node] as number;
    const end = this.#start + this.#held.length;
    if (beginning > harmlessBytes && beginning * 2 >= (shortest[this.#node] as number)) {
      this.#cover(end - beginning, end);
    }
    this.#give(this.#held, end, put);
    this.#node = 0;
  }

  /** `first`: the number of the chunk's first byte. */
  #scan(chunk: Buffer, first: number): void {
    const { rowOf, rows, onlyByte, onlyChild, link, longest } = this.#automaton;
    const { length } = chunk;
    let node = this.#node;
    let i = 0;
    while (i < length) {
      // Ordinary text is at the root nearly always; its row comes first.
      if (node === 0) {
        do node = rows[chunk[i] as number] as number;
        while (node === 0 && ++i < length);
        if (i === length) break;
      } else {
        const byte = chunk[i] as number;
        for (;;) {
          const row = rowOf[node] as number;
          if (row >= 0) {
            node = rows[(row << 8) | byte] as number;
            break;
          }
          if (onlyByte[node] === byte) {
            node = onlyChild[node] as number;
            break;
          }
          node = link[node] as number;
        }
      }
      i++;
      const found = longest[node] as number;
      if (found !== 0) this.#cover(first + i - found, first + i);
    }
    this.#node = node;
  }

  #cover(from: number, to: number): void {
    const stretches = this.#stretches;
    // What was given out cannot be taken back.
    const stretch: Stretch = { from: Math.max(from, this.#start), to, isShown: false };
    let last = stretches.at(-1);
    while (last !== undefined && last.to > stretch.from) {
      stretch.from = Math.min(stretch.from, last.from);
      stretch.isShown ||= last.isShown;
      stretches.pop();
      last = stretches.at(-1);
    }
    stretches.push(stretch);
  }

  /** Gives out everything before the byte number `until`, and holds the rest. */
  #give(all: Buffer, until: number, put: PutBytes): void {
    let at = this.#start;
    const plain = (to: number): void => {
      if (to > at) put(all.subarray(at - this.#start, to - this.#start));
    };
    for (let stretch = this.#stretches[0]; stretch !== undefined; stretch = this.#stretches[0]) {
      if (stretch.from >= until) break;
      plain(stretch.from);
      if (!stretch.isShown) put(masked);
      stretch.isShown = true;
      at = Math.min(stretch.to, until);
      if (stretch.to > until) {
        stretch.from = until;
        break;
      }
      this.#stretches.shift();
    }
    plain(until);
    // The chunk is the caller's.
    const held = all.subarray(until - this.#start);
    this.#held = held.length === 0 ? noBytes : Buffer.from(held);
    this.#start = until;
  }
}

const noBytes = Buffer.alloc(0);
