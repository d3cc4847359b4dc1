// Which records overtake the log: outcomes and results that stand behind much bulk in the outbox. They
// are sent ahead with their own numbers and again in their turn, as a bare number when the master has
// said that it stored them on this connection. So nothing hangs on them: a connection that ends, an
// agent that starts anew and a master from an older backup find the one sequence as it always was.
import {
  decodeEntry,
  type encodeRecord,
  entrySpan,
  mayBeEarly,
  type OutboxEntry,
} from "../../protocol/outbox.ts";
import type { OutboxRow } from "./outbox-reader.ts";
import { RecordSource, type RecordSourceOptions } from "./record-source.ts";

export class EarlyLane {
  readonly #options: RecordSourceOptions;
  /** Numbers that were sent early and have not had their turn. */
  readonly #sent = new Set<number>();
  #acked = 0;
  /** Next number to be looked at. */
  #next: number;
  /** Bytes of bulk in what was passed over since the turn that was last told. */
  #bulk: { seq: number; bytes: number }[] = [];
  #bulkBytes = 0;
  #rows: OutboxRow[] = [];
  #found: number[] = [];

  constructor(options: RecordSourceOptions, from: number) {
    this.#options = options;
    this.#next = from;
  }

  acked(seq: number): void {
    this.#acked = Math.max(this.#acked, seq);
  }

  /** What is to be sent in the turn of a number: itself, its number alone, or nothing yet. */
  turnOf(seq: number): "whole" | "number" | "wait" {
    if (!this.#sent.has(seq)) return "whole";
    return seq <= this.#acked ? "number" : "wait";
  }

  /** The number has had its turn. */
  took(seq: number): void {
    this.#sent.delete(seq);
  }

  get unackedCount(): number {
    let count = 0;
    for (const seq of this.#sent) if (seq > this.#acked) count += 1;
    return count;
  }

  /**
   * Records of about `limitBytes` that stand behind at least `behindBytes` of bulk; `turn` is the
   * number whose turn it is. One call looks at a few rows: a long outbox is looked through by and by.
   */
  next(turn: number, limitBytes: number, behindBytes: number): { texts: string[]; bytes: number } {
    const texts: string[] = [];
    let bytes = 0;
    this.#forgetBefore(turn);
    if (this.#sent.size >= mostSent) return { texts, bytes };
    this.#look(behindBytes);
    // One source for all of them: their numbers ascend.
    const [first] = this.#found;
    if (first === undefined) return { texts, bytes };
    const source = new RecordSource(this.#options, first);
    while (bytes < limitBytes) {
      const seq = this.#found[0];
      if (seq === undefined) break;
      source.skipTo(seq);
      const record = source.peek();
      if (record === undefined || record.seq !== seq) break;
      if (texts.length > 0 && bytes + record.bytes > limitBytes) break;
      texts.push(record.text);
      bytes += record.bytes;
      this.#found.shift();
      this.#sent.add(seq);
      source.take();
    }
    source.close();
    return { texts, bytes };
  }

  #forgetBefore(turn: number): void {
    while (this.#bulk[0] !== undefined && this.#bulk[0].seq < turn) {
      this.#bulkBytes -= this.#bulk.shift()?.bytes ?? 0;
    }
    this.#found = this.#found.filter((seq) => seq >= turn);
    if (this.#next < turn) {
      this.#next = turn;
      this.#rows = [];
    }
  }

  #look(behindBytes: number): void {
    for (let looked = 0; looked < rowsPerLook && this.#found.length < mostFound; looked++) {
      if (this.#rows.length === 0) this.#rows = this.#options.read(this.#next, readBytes);
      const row = this.#rows.shift();
      if (row === undefined) return;
      let seq = row.seq;
      for (const text of row.data.split("\n")) {
        const entry = decodeEntry(text);
        const span = entrySpan(entry);
        if (seq >= this.#next) this.#see(entry, seq, span, behindBytes);
        seq += span;
      }
      this.#next = Math.max(this.#next, row.last + 1);
    }
  }

  #see(entry: OutboxEntry, seq: number, span: number, behindBytes: number): void {
    if (isEarly(entry) && this.#bulkBytes >= behindBytes) {
      for (let part = 0; part < span; part++) this.#found.push(seq + part);
      return;
    }
    const bytes = bulkBytes(entry);
    if (bytes === 0) return;
    this.#bulkBytes += bytes;
    const last = this.#bulk.at(-1);
    // Neighbours are one entry: a long log would make a long list.
    if (last !== undefined && last.bytes < bulkStep) {
      last.bytes += bytes;
      last.seq = seq;
    } else this.#bulk.push({ seq, bytes });
  }
}

function isEarly(entry: OutboxEntry): boolean {
  if (entry.kind === "object") return entry.object.kind === "result";
  if (entry.kind !== "record") return false;
  const record: unknown = JSON.parse(entry.text);
  // Only the journal writes it, from a record.
  return mayBeEarly(record as Parameters<typeof encodeRecord>[0]);
}

function bulkBytes(entry: OutboxEntry): number {
  if (entry.kind === "log") return entry.log.sizeBytes;
  if (entry.kind === "object") return Math.ceil((entry.object.sizeBytes * 4) / 3);
  return entry.kind === "record" ? entry.text.length : 0;
}

const mostSent = 10_000;
const mostFound = 2_000;
const rowsPerLook = 200;
const readBytes = 256 * 1024;
const bulkStep = 16 * 1024;
