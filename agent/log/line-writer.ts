// Writes log lines as NDJSON bytes into one growing-never buffer, without a JSON.stringify per line.
// This is the hottest loop of the agent's output path: one pass over the bytes that copies, escapes
// and notices what is not ASCII. It knows nothing of files, streams or limits.
import { isAscii, isUtf8 } from "node:buffer";

/** Longest piece of a line, in bytes of the task's output. */
export const pieceLimitBytes = 16 * 1024;

/** A byte becomes six at worst (`\u0000`); the rest is room for the fields around the text. */
const worstLineBytes = pieceLimitBytes * 6 + 8 * 1024;

export type LineEnd = "line" | "cut" | "open";

export interface LineBytes {
  source: Buffer;
  start: number;
  end: number;
  /** Known to need no escape (see `isPlain`). */
  plain: boolean;
}

export class LineWriter {
  readonly buffer: Buffer;
  #used = 0;
  #lines = 0;

  constructor(capacityBytes: number) {
    this.buffer = Buffer.allocUnsafeSlow(Math.max(capacityBytes, worstLineBytes + 64 * 1024));
  }

  get used(): number {
    return this.#used;
  }

  get lines(): number {
    return this.#lines;
  }

  /** True when the next line may not fit: flush first. */
  get full(): boolean {
    return this.buffer.length - this.#used < worstLineBytes;
  }

  reset(): void {
    this.#used = 0;
    this.#lines = 0;
  }

  /** Puts finished NDJSON lines in as they are; false when they do not fit. */
  putJson(line: string): boolean {
    // A UTF-16 unit takes three bytes of UTF-8 at most.
    if (this.buffer.length - this.#used < line.length * 3 + 1) {
      return false;
    }
    this.#used += this.buffer.write(line, this.#used, "utf8");
    this.buffer[this.#used++] = newline;
    this.#lines += 1;
    return true;
  }

  /**
   * `prefix` is everything up to and with `"seq":`; `line.source[start..end)` is the line without its
   * newline, at most `pieceLimitBytes`. The caller has made sure that the writer is not `full`.
   */
  putLine(prefix: Uint8Array, seq: number, line: LineBytes, how: LineEnd): void {
    const { source, start, end } = line;
    const out = this.buffer;
    out.set(prefix, this.#used);
    let at = writeDigits(out, this.#used + prefix.length, seq);
    const afterSeq = at;
    out.set(textKey, at);
    at += textKey.length;
    if (line.plain) {
      at += source.copy(out, at, start, end);
    } else {
      let seen = 0;
      for (let i = start; i < end; i++) {
        const byte = source[i] as number;
        seen |= byte;
        if (escapeOf[byte] === 0) {
          out[at++] = byte;
        } else {
          at = writeEscape(out, at, byte);
        }
      }
      if ((seen & 0x80) !== 0 && !isUtf8(source.subarray(start, end))) {
        out.set(base64Key, afterSeq);
        at = afterSeq + base64Key.length;
        at += out.write(source.toString("base64", start, end), at, "latin1");
      }
    }
    const tail = tails[how];
    out.set(tail, at);
    this.#used = at + tail.length;
    this.#lines += 1;
  }
}

/**
 * True when all bytes but newlines are ASCII and need no escape: then lines are copied natively.
 * JSON.stringify looks at 16 bytes at a time; what it adds must be one backslash for each newline.
 */
export function isPlain(chunk: Buffer): boolean {
  if (!isAscii(chunk)) {
    return false;
  }
  let newlines = 0;
  for (let at = chunk.indexOf(newline); at >= 0; at = chunk.indexOf(newline, at + 1)) {
    newlines += 1;
  }
  return JSON.stringify(chunk.toString("latin1")).length === chunk.length + 2 + newlines;
}

const newline = 10;
const textKey = Buffer.from(',"text":"');
const base64Key = Buffer.from(',"base64":"');
const tails = {
  line: Buffer.from('"}\n'),
  cut: Buffer.from('","cut":true}\n'),
  open: Buffer.from('","open":true}\n'),
} as const satisfies Record<LineEnd, Buffer>;

/** 0: copied as it is; 1: `\u00XX`; else the letter after the backslash. */
const escapeOf = makeEscapes();

function makeEscapes(): Uint8Array {
  const table = new Uint8Array(256);
  table.fill(1, 0, 32);
  for (const [byte, letter] of Object.entries({
    8: "b",
    9: "t",
    10: "n",
    12: "f",
    13: "r",
    34: '"',
    92: "\\",
  })) {
    table[Number(byte)] = letter.charCodeAt(0);
  }
  return table;
}

function writeEscape(out: Uint8Array, from: number, byte: number): number {
  let at = from;
  const letter = escapeOf[byte] as number;
  out[at++] = 92;
  if (letter !== 1) {
    out[at++] = letter;
    return at;
  }
  out[at++] = 117; // u
  out[at++] = 48;
  out[at++] = 48;
  out[at++] = 48 + (byte >> 4);
  const low = byte & 15;
  out[at++] = low < 10 ? 48 + low : 87 + low;
  return at;
}

function writeDigits(out: Uint8Array, from: number, value: number): number {
  let digits = 1;
  for (let limit = 10; value >= limit; limit *= 10) {
    digits += 1;
  }
  let rest = value;
  for (let i = from + digits - 1; i >= from; i--) {
    const next = Math.floor(rest / 10);
    out[i] = 48 + (rest - next * 10);
    rest = next;
  }
  return from + digits;
}
