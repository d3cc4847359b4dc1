// Drops log lines that wait for the master, oldest first, a segment at a time: the rows that point to it
// become gaps that say how many lines are missing. Numbers stay as they are, records of anything else are
// not touched. Works in bounded steps, each inside a transaction of the journal.
import type { DatabaseSync, StatementSync } from "node:sqlite";
import {
  decodeEntry,
  encodeLogGap,
  encodeLogPointer,
  encodeObjectPointer,
  type LogGap,
  type OutboxEntry,
} from "../../protocol/outbox.ts";
import { type HeldSegment, outboxSum } from "./outbox.ts";

export interface DroppedLines {
  lines: number;
  bytes: number;
  /** The segment has no pointer left: its file may go. */
  isDone: boolean;
}

export class LogDrop {
  readonly held: HeldSegment;
  readonly #rows: StatementSync;
  readonly #update: StatementSync;
  readonly #delete: StatementSync;
  /** Rows below it are done. */
  #from: number;

  constructor(database: DatabaseSync, held: HeldSegment) {
    this.held = held;
    this.#from = held.firstSeq;
    // The row that holds the first number may begin before it; so may the gap that this one extends.
    this.#rows = database.prepare(
      `SELECT seq, last, data FROM outbox WHERE seq >= coalesce(
         (SELECT max(seq) FROM outbox WHERE seq < ?1), 0) AND seq <= ?2 ORDER BY seq LIMIT ?3`,
    );
    this.#update = database.prepare("UPDATE outbox SET last = ?, data = ?, sum = ? WHERE seq = ?");
    this.#delete = database.prepare("DELETE FROM outbox WHERE seq = ?");
  }

  /** Inside a transaction. At most `limit` rows. */
  step(limit: number): DroppedLines {
    const { held } = this;
    const dropped = { lines: 0, bytes: 0, isDone: false };
    let before: GapRow | undefined;
    const rows = this.#rows.all(this.#from, held.lastSeq, limit);
    for (const row of rows) {
      const seq = Number(row.seq);
      const last = Number(row.last);
      const entries = String(row.data).split("\n").map(decodeEntry);
      const changed = mergeGaps(entries.map((entry) => this.#drop(entry, dropped)));
      const only = changed.length === 1 ? changed[0] : undefined;
      const gap = only?.kind === "gap" ? only.gap : undefined;
      const merged = before !== undefined && gap !== undefined && join(before.gap, gap);
      if (before !== undefined && merged) {
        this.#delete.run(seq);
        before = { seq: before.seq, gap: merged };
        this.#write(before.seq, last, encodeLogGap(merged));
      } else {
        this.#write(seq, last, changed.map(encode).join("\n"));
        before = gap === undefined ? undefined : { seq, gap };
      }
      this.#from = last + 1;
    }
    dropped.isDone = this.#from > held.lastSeq || rows.length === 0;
    return dropped;
  }

  #drop(entry: OutboxEntry, dropped: DroppedLines): OutboxEntry {
    if (entry.kind !== "log") return entry;
    const { run, segment, time, firstLine, lines, sizeBytes: bytes } = entry.log;
    if (run !== this.held.run || segment !== this.held.segment) return entry;
    dropped.lines += lines;
    dropped.bytes += bytes;
    return { kind: "gap", gap: { run, from: time, to: time, firstLine, lines, bytes, span: 1 } };
  }

  #write(seq: number, last: number, data: string): void {
    this.#update.run(last, data, outboxSum(data, last - seq), seq);
  }
}

interface GapRow {
  seq: number;
  gap: LogGap;
}

/** Neighbours in one row become one. */
function mergeGaps(entries: readonly OutboxEntry[]): OutboxEntry[] {
  const merged: OutboxEntry[] = [];
  for (const entry of entries) {
    const before = merged.at(-1);
    const gap =
      before?.kind === "gap" && entry.kind === "gap" ? join(before.gap, entry.gap) : undefined;
    if (gap !== undefined) merged[merged.length - 1] = { kind: "gap", gap };
    else merged.push(entry);
  }
  return merged;
}

/** Undefined when lines of another run, or lines that are kept, stand between them. */
function join(a: LogGap, b: LogGap): LogGap | undefined {
  if (a.run !== b.run || a.firstLine + a.lines !== b.firstLine) return undefined;
  return {
    ...a,
    to: b.to,
    lines: a.lines + b.lines,
    bytes: a.bytes + b.bytes,
    span: a.span + b.span,
  };
}

function encode(entry: OutboxEntry): string {
  switch (entry.kind) {
    case "record":
      return entry.text;
    case "log":
      return encodeLogPointer(entry.log);
    case "gap":
      return encodeLogGap(entry.gap);
    case "object":
      return encodeObjectPointer(entry.object);
    default:
      throw new Error(`unexpected entry ${JSON.stringify(entry satisfies never)}`);
  }
}
