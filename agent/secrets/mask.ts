// Takes the values of a run's secrets out of everything that its tasks hand on in text: output,
// messages, failures, results. One object a run; a run without secrets has none and pays nothing.
import { createReadStream } from "node:fs";
import { readFile, rename, writeFile } from "node:fs/promises";
import type { Json } from "../../protocol/json.ts";
import type { Failure, Outcome } from "../../protocol/outcome.ts";
import { Automaton } from "./automaton.ts";
import { leastSecretBytes, patternsOf } from "./patterns.ts";
import { type PutBytes, StreamMask } from "./stream-mask.ts";

/** How long bytes that may begin a secret wait for what follows. */
const idleMs = 100;

export class Mask {
  readonly #automaton: Automaton;
  readonly #held = new Set<MaskedStream>();
  /** A number may be one of them. */
  readonly #hasDigits: boolean;
  #timer: NodeJS.Timeout | undefined;

  constructor(secrets: readonly Buffer[]) {
    const patterns = secrets.flatMap(patternsOf);
    this.#automaton = new Automaton(patterns);
    this.#hasDigits = patterns.some((pattern) => /^[-+.0-9eE]+$/.test(pattern.toString("latin1")));
  }

  /** Masks a stream on its way to `put`. */
  stream(put: PutBytes): MaskedStream {
    return new MaskedStream(new StreamMask(this.#automaton), put, {
      holds: (stream) => {
        this.#held.add(stream);
        this.#timer ??= setTimeout(() => this.#idle(), idleMs).unref();
      },
      done: (stream) => this.#held.delete(stream),
    });
  }

  hasSecret(text: string): boolean {
    return text.length >= leastSecretBytes && this.#finds(Buffer.from(text));
  }

  text(text: string): string {
    if (text.length < leastSecretBytes) return text;
    const bytes = Buffer.from(text);
    if (!this.#finds(bytes)) return text;
    const parts: Buffer[] = [];
    const put = (part: Buffer) => void parts.push(part);
    const stream = new StreamMask(this.#automaton);
    stream.write(bytes, put);
    stream.end(put);
    return Buffer.concat(parts).toString("utf8");
  }

  /** The same value when nothing of it is secret. */
  json(value: Json): Json {
    if (typeof value === "string") return this.text(value);
    if (typeof value === "number") {
      return this.#hasDigits && this.hasSecret(String(value)) ? "***" : value;
    }
    if (value === null || typeof value !== "object") return value;
    if (Array.isArray(value)) return this.#list(value);
    return this.#mapping(value);
  }

  outcome(outcome: Outcome): Outcome {
    if (outcome.kind !== "failed") return outcome;
    return { kind: "failed", failure: this.failure(outcome.failure) };
  }

  failure(failure: Failure): Failure {
    const { reason, ...others } = failure;
    // A failure is JSON, and masking keeps its shape: only texts become other texts.
    return { reason, ...(this.json(others as { [name: string]: Json }) as object) } as Failure;
  }

  /** Rewrites a file of JSON that holds a secret; gives its size then, undefined when it holds none. */
  async file(path: string): Promise<number | undefined> {
    if (!(await this.#isIn(path))) return undefined;
    const value = JSON.parse(await readFile(path, "utf8")) as Json; // checked when it was taken in
    const text = JSON.stringify(this.json(value));
    const temporary = `${path}.masked`;
    await writeFile(temporary, text, { mode: 0o600, flag: "wx" });
    await rename(temporary, path);
    return Buffer.byteLength(text);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#held.clear();
  }

  #finds(bytes: Buffer): boolean {
    const { longest } = this.#automaton;
    let node = 0;
    for (const byte of bytes) {
      node = this.#automaton.next(node, byte);
      if (longest[node] !== 0) return true;
    }
    return false;
  }

  async #isIn(path: string): Promise<boolean> {
    const { longest } = this.#automaton;
    let node = 0;
    // A piece a turn of the event loop.
    for await (const piece of createReadStream(path, { highWaterMark: 256 * 1024 })) {
      for (const byte of piece as Buffer) {
        node = this.#automaton.next(node, byte);
        if (longest[node] !== 0) return true;
      }
    }
    return false;
  }

  #list(list: Json[]): Json[] {
    let copy: Json[] | undefined;
    for (const [i, entry] of list.entries()) {
      const clean = this.json(entry);
      if (clean === entry) continue;
      copy ??= [...list];
      copy[i] = clean;
    }
    return copy ?? list;
  }

  #mapping(mapping: { [name: string]: Json }): { [name: string]: Json } {
    let isSame = true;
    const entries = new Map<string, Json>();
    for (const [name, entry] of Object.entries(mapping)) {
      let key = this.text(name);
      // Two names may have become one.
      while (entries.has(key)) key += "*";
      const clean = this.json(entry);
      isSame &&= key === name && clean === entry;
      entries.set(key, clean);
    }
    return isSame ? mapping : Object.fromEntries(entries);
  }

  #idle(): void {
    this.#timer = undefined;
    for (const stream of this.#held) stream.idle();
    this.#held.clear();
  }
}

interface StreamEvents {
  holds(stream: MaskedStream): void;
  done(stream: MaskedStream): void;
}

/** One stream of one attempt. */
export class MaskedStream {
  readonly #mask: StreamMask;
  readonly #put: PutBytes;
  readonly #events: StreamEvents;

  constructor(mask: StreamMask, put: PutBytes, events: StreamEvents) {
    this.#mask = mask;
    this.#put = put;
    this.#events = events;
  }

  write(chunk: Buffer): void {
    this.#mask.write(chunk, this.#put);
    if (this.#mask.isHolding) this.#events.holds(this);
  }

  idle(): void {
    this.#mask.idle(this.#put);
  }

  end(): void {
    this.#mask.end(this.#put);
    this.#events.done(this);
  }
}
