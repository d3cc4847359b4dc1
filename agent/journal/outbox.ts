// The outbox table: what the master has not acknowledged yet, one row per turn, in order.
// Runs inside the journal's transactions and never opens one. The link thread reads the same table
// through its own connection; the row format is in protocol/outbox.ts.
import type { DatabaseSync, StatementSync } from "node:sqlite";
import {
  decodeEntry,
  encodeLogGap,
  encodeLogPointer,
  encodeObjectPointer,
  encodeRecord,
  entrySpan,
  type LogGap,
  type LogPointer,
  type ObjectPointer,
  objectPartBytes,
  type UnnumberedRecord,
} from "../../protocol/outbox.ts";
import { rowSum, type SumOf } from "../../protocol/row-sum.ts";

/** How far the combined log of a run is known to the outbox. */
export interface LogPosition {
  segment: number;
  /** Offset of the first byte that no pointer covers. */
  end: number;
}

export class Outbox {
  readonly #insert: StatementSync;
  readonly #deleteAcked: StatementSync;
  readonly #writeAcked: StatementSync;
  readonly #database: DatabaseSync;
  /** Entries of this turn; they start at `#firstPending`. */
  #pending: string[] = [];
  #firstPending: number;
  #next: number;
  #acked: number;
  #files: HeldFile[] = [];
  /** Of committed rows only: what is buffered must not count as recorded after a crash. */
  readonly #positions = new Map<string, LogPosition>();
  readonly #pendingPositions = new Map<string, LogPosition>();
  #heldBytes = 0;

  constructor(database: DatabaseSync) {
    this.#database = database;
    this.#insert = database.prepare("INSERT INTO outbox VALUES (?, ?, ?, ?)");
    this.#deleteAcked = database.prepare(
      "DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox WHERE seq <= ?1 AND last <= ?1 ORDER BY seq LIMIT ?2)",
    );
    this.#writeAcked = database.prepare(
      "INSERT OR REPLACE INTO meta VALUES ('acked', ?1), ('acked_sum', ?2)",
    );
    const acked = database.prepare("SELECT value FROM meta WHERE key = 'acked'").get();
    const bounds = database.prepare("SELECT max(last) AS last FROM outbox").get();
    this.#acked = Number(acked?.value ?? 0);
    this.#next = Math.max(Number(bounds?.last ?? 0), this.#acked) + 1;
    this.#firstPending = this.#next;
    this.#scan();
  }

  get nextSeq(): number {
    return this.#next;
  }

  get acked(): number {
    return this.#acked;
  }

  get depth(): number {
    return this.#next - 1 - this.#acked;
  }

  get hasPending(): boolean {
    return this.#pending.length > 0;
  }

  addRecord(record: UnnumberedRecord): number {
    return this.#add(encodeRecord(record), 1);
  }

  /** Bytes of files that unacknowledged records need. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** The segment whose lines have waited longest for the master. */
  oldestSegment(): HeldSegment | undefined {
    return this.#files.find((file) => file.kind === "log");
  }

  segmentOf(run: string, segment: number): HeldSegment | undefined {
    return this.#files.find((f) => f.kind === "log" && f.run === run && f.segment === segment) as
      | HeldSegment
      | undefined; // by its kind
  }

  /** No row points to the segment any more. */
  forgetSegment(held: HeldSegment): void {
    const at = this.#files.indexOf(held);
    if (at < 0) return;
    this.#files.splice(at, 1);
    this.#heldBytes -= held.sizeBytes;
  }

  addLog(log: LogPointer): number {
    const seq = this.#add(encodeLogPointer(log), 1);
    this.#holdSegment(log, seq);
    this.#pendingPositions.set(log.run, positionAfter(log));
    return seq;
  }

  addGap(gap: LogGap): number {
    return this.#add(encodeLogGap(gap), gap.span);
  }

  /** Returns the first of the numbers that the object takes. */
  addObject(object: Omit<ObjectPointer, "parts" | "partBytes">): number {
    const parts = Math.max(1, Math.ceil(object.sizeBytes / objectPartBytes));
    const text = encodeObjectPointer({ ...object, parts, partBytes: objectPartBytes });
    const seq = this.#add(text, parts);
    const { path, sizeBytes } = object;
    this.#files.push({ kind: "object", path, sizeBytes, lastSeq: seq + parts - 1 });
    this.#heldBytes += sizeBytes;
    return seq;
  }

  /** Inside a transaction. */
  writePending(): void {
    const last = this.#next - 1;
    const data = this.#pending.join("\n");
    this.#insert.run(this.#firstPending, last, data, outboxSum(data, last - this.#firstPending));
  }

  /** The transaction that held `writePending` is through. */
  pendingWritten(): void {
    this.#pending = [];
    this.#firstPending = this.#next;
    for (const [run, position] of this.#pendingPositions) {
      this.#positions.set(run, position);
    }
    this.#pendingPositions.clear();
  }

  /** Inside a transaction: deletes at most `limit` rows that end at or before `seq`. */
  writeAck(seq: number, limit: number): { rows: number } {
    const { changes } = this.#deleteAcked.run(seq, limit);
    this.#writeAcked.run(seq, ackedSum(seq));
    return { rows: Number(changes) };
  }

  /** The transaction of `writeAck` is through. Returns the paths of objects that are shipped. */
  ackWritten(seq: number): string[] {
    this.#acked = Math.max(this.#acked, seq);
    const shipped: string[] = [];
    let keep = 0;
    for (const file of this.#files) {
      if (file.lastSeq > seq) {
        break;
      }
      keep += 1;
      this.#heldBytes -= file.sizeBytes;
      if (file.kind === "object") {
        shipped.push(file.path);
      }
    }
    this.#files.splice(0, keep);
    return shipped;
  }

  /** True while the master has not acknowledged every line of the segment. */
  holdsSegment(run: string, segment: number): boolean {
    return this.#files.some((f) => f.kind === "log" && f.run === run && f.segment === segment);
  }

  logPosition(run: string): LogPosition | undefined {
    return this.#positions.get(run);
  }

  /** Keeps the later one of two. */
  seeLogPosition(run: string, position: LogPosition): void {
    const known = this.#positions.get(run);
    if (known === undefined || isBefore(known, position)) {
      this.#positions.set(run, position);
    }
  }

  forgetLogPosition(run: string): void {
    this.#positions.delete(run);
  }

  /** Inside a transaction: gives everything held the numbers from `acked + 1` on. */
  writeRenumbered(acked: number): number {
    const lowest = this.#database.prepare("SELECT min(seq) AS seq FROM outbox").get();
    const shift = acked + 1 - Number(lowest?.seq ?? this.#firstPending);
    // Two steps, because a shifted number may still be taken by a row that is yet to be shifted.
    this.#database.prepare("UPDATE outbox SET seq = -(seq + ?1), last = last + ?1").run(shift);
    this.#database.exec("UPDATE outbox SET seq = -seq");
    this.#writeAcked.run(acked, ackedSum(acked));
    return shift;
  }

  renumberedWritten(acked: number, shift: number): void {
    this.#acked = acked;
    this.#firstPending += shift;
    this.#next += shift;
    for (const file of this.#files) {
      file.lastSeq += shift;
      if (file.kind === "log") file.firstSeq += shift;
    }
  }

  #add(text: string, span: number): number {
    const seq = this.#next;
    this.#next += span;
    this.#pending.push(text);
    return seq;
  }

  #holdSegment({ run, segment, sizeBytes }: LogPointer, seq: number): void {
    this.#heldBytes += sizeBytes;
    const newest = this.#files.findLast((f) => f.kind === "log" && f.run === run);
    if (newest?.kind === "log" && newest.segment === segment) {
      newest.sizeBytes += sizeBytes;
      // Moved to the back: the list stays ordered by lastSeq.
      const at = this.#files.lastIndexOf(newest);
      if (at === this.#files.length - 1) {
        newest.lastSeq = seq;
        return;
      }
      this.#files.splice(at, 1);
      newest.lastSeq = seq;
      this.#files.push(newest);
      return;
    }
    this.#files.push({ kind: "log", run, segment, sizeBytes, firstSeq: seq, lastSeq: seq });
  }

  /** Which files the stored rows point to; memory holds this between acks. */
  #scan(): void {
    const rows = this.#database.prepare("SELECT seq, data FROM outbox ORDER BY seq").iterate();
    for (const row of rows) {
      let seq = Number(row.seq);
      for (const text of String(row.data).split("\n")) {
        const entry = decodeEntry(text);
        const last = seq + entrySpan(entry) - 1;
        if (entry.kind === "log") {
          this.#holdSegment(entry.log, seq);
          this.seeLogPosition(entry.log.run, positionAfter(entry.log));
        } else if (entry.kind === "object") {
          const { path, sizeBytes } = entry.object;
          this.#files.push({ kind: "object", path, sizeBytes, lastSeq: last });
          this.#heldBytes += sizeBytes;
        }
        seq = last + 1;
      }
    }
  }
}

/** Not of the numbers themselves: rows are renumbered by SQL alone. Their order is checked instead. */
export function outboxSum(data: string, span: number): number {
  return rowSum(data, span);
}

export function ackedSum(acked: number, sumOf: SumOf = rowSum): number {
  return sumOf(String(acked), 0);
}

/** A file that stored rows point to, with the last number that needs it. Ordered by that number. */
type HeldFile = HeldSegment | { kind: "object"; path: string; sizeBytes: number; lastSeq: number };

export interface HeldSegment {
  kind: "log";
  run: string;
  segment: number;
  /** Of the lines that wait for the master. */
  sizeBytes: number;
  firstSeq: number;
  lastSeq: number;
}

function positionAfter(log: LogPointer): LogPosition {
  return { segment: log.segment, end: log.offset + log.sizeBytes };
}

function isBefore(a: LogPosition, b: LogPosition): boolean {
  return a.segment < b.segment || (a.segment === b.segment && a.end < b.end);
}
