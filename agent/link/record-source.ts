// The records after a sequence number, one by one, as JSON text: rows of the outbox with their
// numbers put in, and pointers to files expanded. Reads as it goes; memory holds a few rows and one
// piece of a file. A file that is gone or damaged becomes a record that says so, because a gap in the
// numbers would stop everything behind it.
import { crc32 } from "node:zlib";
import { type GapFields, gapLine } from "../../protocol/log.ts";
import {
  decodeEntry,
  entrySpan,
  type LogGap,
  type LogPointer,
  type ObjectPointer,
  type OutboxEntry,
} from "../../protocol/outbox.ts";
import { segmentPath } from "../../protocol/state-paths.ts";
import type { OutboxRow } from "./outbox-reader.ts";
import { PieceReader } from "./piece-reader.ts";

export interface NumberedText {
  seq: number;
  text: string;
  bytes: number;
}

export interface RecordSourceOptions {
  stateDir: string;
  read(seq: number, limitBytes: number): OutboxRow[];
  /** A file was not what the outbox says. */
  onProblem(detail: string, path: string): void;
}

export class RecordSource {
  readonly #options: RecordSourceOptions;
  #rows: OutboxRow[] = [];
  /** Entries of the row that is being given out, and the number of the next one. */
  #entries: OutboxEntry[] = [];
  #entryAt = 0;
  #entrySeq = 0;
  #next: number;
  /** The first number that is asked for. */
  readonly #startedAt: number;
  #ready: NumberedText | undefined;
  readonly #files = new PieceReader();

  constructor(options: RecordSourceOptions, from: number) {
    this.#options = options;
    this.#next = from;
    this.#startedAt = from;
  }

  /** Number of the next record; it may not exist yet. */
  get nextSeq(): number {
    return this.#next;
  }

  /** The next record, the same one until `take` is called; undefined when there is none yet. */
  peek(): NumberedText | undefined {
    this.#ready ??= this.#produce();
    return this.#ready;
  }

  take(): void {
    const ready = this.peek();
    if (ready !== undefined) {
      this.#next = ready.seq + 1;
      this.#ready = undefined;
    }
  }

  /** Passes over what stands before `seq`. */
  skipTo(seq: number): void {
    if (seq <= this.#next) return;
    this.#next = seq;
    this.#ready = undefined;
  }

  /** Lets go of the file that was read last. */
  close(): void {
    this.#files.close();
  }

  #produce(): NumberedText | undefined {
    const entry = this.#currentEntry();
    if (entry === undefined) {
      return undefined;
    }
    const seq = this.#next;
    const text = this.#textOf(entry, seq);
    return { seq, text, bytes: Buffer.byteLength(text) };
  }

  /** The entry that holds `#next`. */
  #currentEntry(): OutboxEntry | undefined {
    while (true) {
      const entry = this.#entries[this.#entryAt];
      if (entry === undefined) {
        if (!this.#nextRow()) {
          return undefined;
        }
      } else if (this.#entrySeq + entrySpan(entry) > this.#next) {
        return entry;
      } else {
        this.#entrySeq += entrySpan(entry);
        this.#entryAt += 1;
      }
    }
  }

  #nextRow(): boolean {
    if (this.#rows.length === 0) {
      this.#rows = this.#options.read(this.#next, readBytes);
    }
    const row = this.#rows.shift();
    if (row === undefined) {
      return false;
    }
    this.#entries = row.data.split("\n").map(decodeEntry);
    this.#entryAt = 0;
    this.#entrySeq = row.seq;
    // Numbers that are not held (an older backup of the master asks for them) are passed over.
    this.#next = Math.max(this.#next, row.seq);
    return true;
  }

  #textOf(entry: OutboxEntry, seq: number): string {
    switch (entry.kind) {
      case "record":
        return `{"seq":${seq},${entry.text.slice(1)}`;
      case "log":
        return this.#logText(entry.log, seq);
      case "gap":
        return this.#gapText(entry.gap, seq);
      case "object":
        return this.#partText(entry.object, seq);
      default:
        throw new Error(`unexpected entry ${JSON.stringify(entry satisfies never)}`);
    }
  }

  /** The lines are JSON already: newlines become commas and nothing is parsed. */
  #logText(log: LogPointer, seq: number): string {
    const head = `{"seq":${seq},"time":${log.time},"run":${JSON.stringify(log.run)},"type":"log","lines":[`;
    const path = segmentPath(this.#options.stateDir, log.run, log.segment);
    const bytes = this.#files.read(path, log.offset, log.sizeBytes);
    if (!Buffer.isBuffer(bytes) || !isWholeLines(bytes, log)) {
      const why = Buffer.isBuffer(bytes) ? "is damaged" : bytes.missing;
      this.#options.onProblem(`${log.lines} log lines cannot be read: the file ${why}`, path);
      const gap: GapFields = {
        lines: log.lines,
        bytes: log.sizeBytes,
        from: log.time,
        to: log.time,
        why: `their file ${why}`,
      };
      return `${head}${JSON.stringify(gapLine(log.firstLine, gap))}]}`;
    }
    for (let at = bytes.indexOf(newline); at >= 0; at = bytes.indexOf(newline, at + 1)) {
      bytes[at] = comma;
    }
    return `${head}${bytes.toString("utf8", 0, bytes.length - 1)}]}`;
  }

  /**
   * The first number tells of all lines. Where the master has some of the numbers already, it may have
   * some of the lines, too: then the first that is sent says how many there are at most.
   */
  #gapText({ run, from, to, firstLine, lines, bytes, span }: LogGap, seq: number): string {
    const isFirst = seq === this.#entrySeq;
    const isFirstSent = isFirst || seq === this.#startedAt;
    const why = isFirst
      ? "they were dropped, because there was no room to keep them for the master"
      : "some of them were dropped, because there was no room to keep them for the master";
    const gap: GapFields = { lines, bytes, from, to, why };
    // Its own number may be taken at the master; the last one cannot be.
    const line = gapLine(isFirst ? firstLine : firstLine + lines - 1, gap);
    const text = isFirstSent && span > 0 ? JSON.stringify(line) : "";
    return `{"seq":${seq},"time":${to},"run":${JSON.stringify(run)},"type":"log","lines":[${text}]}`;
  }

  #partText(object: ObjectPointer, seq: number): string {
    const { path, partBytes, crcs, ...facts } = object;
    const part = seq - this.#entrySeq;
    const offset = part * partBytes;
    const size = Math.max(0, Math.min(partBytes, object.sizeBytes - offset));
    const read = this.#files.read(path, offset, size);
    const wanted = crcs?.[part];
    const isDamaged = Buffer.isBuffer(read) && wanted !== undefined && crc32(read) !== wanted;
    const bytes = isDamaged ? { missing: "is not what was written" } : read;
    if (!Buffer.isBuffer(bytes)) {
      this.#options.onProblem(`an object cannot be sent: its file ${bytes.missing}`, path);
    }
    // The master finds out by size and digest that a part is empty that should not be.
    const data = Buffer.isBuffer(bytes) ? bytes.toString("base64") : "";
    return JSON.stringify({ seq, type: "object-part", ...facts, part: part + 1, data });
  }
}

const readBytes = 256 * 1024;
const newline = 10;
const comma = 44;

/** A loss of power leaves zeros or half lines: sent as they are, they would break the whole frame. */
function isWholeLines(bytes: Buffer, log: LogPointer): boolean {
  if (bytes[0] !== 123 || bytes[bytes.length - 1] !== newline || bytes.includes(0)) {
    return false;
  }
  let lines = 0;
  for (let at = bytes.indexOf(newline); at >= 0; at = bytes.indexOf(newline, at + 1)) {
    lines += 1;
  }
  return lines === log.lines && (log.crc === undefined || crc32(bytes) === log.crc);
}
