// Reads requests of the Redis protocol (arrays of bulk strings, and inline commands) from chunks
// of a socket. Owns what has arrived but is not a whole command yet, and its bounds.
// Bytes become latin1 strings, one character a byte: binary safe, and the fastest key of a Map.
// Must never allocate for a length that was only announced, and never copy a chunk twice.
// The error texts are those of Redis (networking.c), so that clients know them.

const star = 42;
const dollar = 36;
const cr = 13;
const lf = 10;
const minus = 45;

/** Longest header line or inline command, in bytes, as in Redis (PROTO_INLINE_MAX_SIZE). */
const lineLimitBytes = 64 * 1024;
/** Most arguments of one command. */
const argumentLimit = 1024 * 1024;
/** Up to this length V8 copies a substring; a longer one would keep its whole chunk alive. */
const copiedSubstringLimit = 12;

/** Of a number of 64 bits. */
const mostDigits = 19;

const needMore = Number.NEGATIVE_INFINITY;
const bad = Number.NaN;

const empty = Buffer.alloc(0);

export class RequestParser {
  /** Text of a protocol error, empty while there is none. After an error nothing more is read. */
  error = "";
  readonly #limitBytes: number;
  #chunk: Buffer = empty;
  #text = "";
  #pos = 0;
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  /** Bytes that must lie ahead before it is worth parsing again. */
  #neededBytes = 1;
  #args: string[] = [];
  #missing = 0;
  #bulkBytes = -1;
  #commandBytes = 0;

  /** `limitBytes` bounds one bulk string and the sum of all of one command. */
  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** Bytes that have arrived and are not part of a command that `next` has returned. */
  get bufferedBytes(): number {
    return this.#chunk.length - this.#pos + this.#queuedBytes;
  }

  push(chunk: Buffer): void {
    if (this.#queue.length === 0 && this.#pos === this.#chunk.length) {
      if (this.#neededBytes <= chunk.length) {
        this.#read(chunk);
        return;
      }
      this.#read(empty);
    }
    this.#queue.push(chunk);
    this.#queuedBytes += chunk.length;
  }

  /** The next whole command, or undefined when more bytes are needed or `error` is set. */
  next(): string[] | undefined {
    while (this.error === "") {
      const command = this.#missing > 0 ? this.#readBulks() : this.#readStart();
      if (command !== undefined) {
        this.#neededBytes = 1;
        return command;
      }
      if (this.#queue.length === 0 || this.bufferedBytes < this.#neededBytes) return undefined;
      this.#join();
    }
    return undefined;
  }

  #read(chunk: Buffer): void {
    this.#chunk = chunk;
    this.#text = chunk.length <= lineLimitBytes ? chunk.toString("latin1") : "";
    this.#pos = 0;
  }

  #join(): void {
    const rest = this.#chunk.subarray(this.#pos);
    const [first] = this.#queue;
    if (rest.length === 0 && this.#queue.length === 1 && first !== undefined) this.#read(first);
    else this.#read(Buffer.concat([rest, ...this.#queue]));
    this.#queue = [];
    this.#queuedBytes = 0;
  }

  #readStart(): string[] | undefined {
    for (;;) {
      if (this.#pos >= this.#chunk.length) return this.#wait(1);
      if (this.#chunk[this.#pos] !== star) {
        const inline = this.#readInline();
        if (inline === undefined || inline.length > 0) return inline;
        continue;
      }
      const count = this.#readNumber("too big mbulk count string");
      if (count === needMore) return undefined;
      if (!(count <= argumentLimit)) return this.#fail("invalid multibulk length");
      if (count <= 0) continue;
      this.#args = [];
      this.#missing = count;
      this.#commandBytes = 0;
      return this.#readBulks();
    }
  }

  #readBulks(): string[] | undefined {
    const chunk = this.#chunk;
    while (this.#missing > 0) {
      if (this.#bulkBytes < 0) {
        if (this.#pos >= chunk.length) return this.#wait(1);
        if (chunk[this.#pos] !== dollar) {
          const got = String.fromCharCode(chunk[this.#pos] ?? 0);
          return this.#fail(`expected '$', got '${got}'`);
        }
        const length = this.#readNumber("too big bulk count string");
        if (length === needMore) return undefined;
        if (!(length >= 0 && length + this.#commandBytes <= this.#limitBytes)) {
          return this.#fail("invalid bulk length");
        }
        this.#bulkBytes = length;
        this.#commandBytes += length;
      }
      const start = this.#pos;
      const end = start + this.#bulkBytes;
      if (end + 2 > chunk.length) return this.#wait(this.#bulkBytes + 2);
      this.#args.push(
        this.#bulkBytes <= copiedSubstringLimit && this.#text !== ""
          ? this.#text.substring(start, end)
          : chunk.toString("latin1", start, end),
      );
      this.#pos = end + 2;
      this.#bulkBytes = -1;
      this.#missing--;
    }
    const args = this.#args;
    this.#args = [];
    return args;
  }

  /** Reads `*<number>\r\n` or `$<number>\r\n`. Moves on only when the line is whole. */
  #readNumber(tooLong: string): number {
    const chunk = this.#chunk;
    let at = this.#pos + 1;
    const isNegative = chunk[at] === minus;
    if (isNegative) at++;
    let value = 0;
    let digits = 0;
    for (; at < chunk.length; at++, digits++) {
      const digit = (chunk[at] ?? 0) - 48;
      if (digit < 0 || digit > 9) break;
      // No length has so many, and a line may come byte by byte: it is not counted again and again.
      if (digits === mostDigits) break;
      value = value * 10 + digit;
    }
    if (at + 1 < chunk.length && chunk[at] === cr) {
      this.#pos = at + 2;
      if (digits === 0) return bad;
      return isNegative ? -value : value;
    }
    const end = chunk.indexOf(cr, at);
    if ((end < 0 ? chunk.length : end) - this.#pos > lineLimitBytes) this.#fail(tooLong);
    else if (end >= 0 && end + 1 < chunk.length) return bad;
    else this.#wait(chunk.length - this.#pos + 1);
    return needMore;
  }

  #readInline(): string[] | undefined {
    const end = this.#chunk.indexOf(lf, this.#pos);
    if ((end < 0 ? this.#chunk.length : end) - this.#pos > lineLimitBytes) {
      return this.#fail("too big inline request");
    }
    if (end < 0) return this.#wait(this.#chunk.length - this.#pos + 1);
    const hasCr = end > this.#pos && this.#chunk[end - 1] === cr;
    const line = this.#chunk.toString("latin1", this.#pos, hasCr ? end - 1 : end);
    this.#pos = end + 1;
    return splitInline(line) ?? this.#fail("unbalanced quotes in request");
  }

  #wait(bytes: number): undefined {
    this.#neededBytes = bytes;
  }

  #fail(text: string): undefined {
    this.error = `Protocol error: ${text}`;
    this.#read(empty);
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#args = [];
  }
}

const escapes: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t", b: "\b", a: "\x07" };

/** Splits a line as Redis's sdssplitargs does: undefined for quotes that are not balanced. */
export function splitInline(line: string): string[] | undefined {
  const words: string[] = [];
  let at = 0;
  for (;;) {
    while (isSpace(line[at])) at++;
    if (at >= line.length) return words;
    let word = "";
    while (at < line.length && !isSpace(line[at])) {
      const char = line[at] ?? "";
      if (char !== '"' && char !== "'") {
        word += char;
        at++;
        continue;
      }
      const quoted = readQuoted(line, at + 1, char);
      if (quoted === undefined) return undefined;
      word += quoted.text;
      at = quoted.next;
      // A closing quote must be followed by a space or by nothing at all.
      if (at < line.length && !isSpace(line[at])) return undefined;
    }
    words.push(word);
  }
}

function readQuoted(
  line: string,
  from: number,
  quote: string,
): { text: string; next: number } | undefined {
  let text = "";
  for (let at = from; at < line.length; at++) {
    const char = line[at] ?? "";
    if (char === quote) return { text, next: at + 1 };
    const next = line[at + 1];
    if (char !== "\\" || next === undefined) {
      text += char;
    } else if (quote === "'") {
      // Inside single quotes only the quote itself can be escaped.
      text += next === "'" ? next : char;
      if (next === "'") at++;
    } else if (next === "x" && /^[0-9a-f]{2}$/i.test(line.slice(at + 2, at + 4))) {
      text += String.fromCharCode(Number.parseInt(line.slice(at + 2, at + 4), 16));
      at += 3;
    } else {
      text += escapes[next] ?? next;
      at++;
    }
  }
  return undefined;
}

function isSpace(char: string | undefined): boolean {
  return char !== undefined && " \t\n\r\v\f\0".includes(char);
}
