// The outbox on disk: the journal writes it, the link thread reads it from the same SQLite database,
// and neither imports the other. A row is what one turn of the agent has to tell the master:
//   outbox(seq INTEGER PRIMARY KEY, last INTEGER, data TEXT)   numbers seq..last, entries by newline
// An entry has no number of its own: its place tells it, so that rows can be renumbered cheaply.
// An entry is the text of a LinkRecord without `seq`, or a pointer to a file that is expanded late.
import type { LinkRecord } from "./link.ts";

type WithoutSeq<T> = T extends unknown ? Omit<T, "seq"> : never;
export type UnnumberedRecord = WithoutSeq<LinkRecord>;

/** Whole lines of a segment of the combined log; becomes one `log` record. */
export interface LogPointer {
  run: string;
  time: number;
  segment: number;
  offset: number;
  sizeBytes: number;
  lines: number;
  /** Number of the first of these lines in its log. */
  firstLine: number;
  /** CRC-32 of the bytes; absent in rows of earlier releases. */
  crc?: number;
}

/** A file on disk; becomes `parts` records of type `object-part`, and takes that many numbers. */
export interface ObjectPointer {
  run: string;
  time: number;
  kind: "result" | "artifact";
  task: string;
  attempt: number;
  name: string;
  /** Absolute. */
  path: string;
  sizeBytes: number;
  sha256: string;
  parts: number;
  partBytes: number;
  /** CRC-32 of each part, so that damage is found before it is sent. */
  crcs?: number[];
}

/**
 * Lines that were dropped before the master had them; takes the `span` numbers of the pointers that were
 * there. Becomes one line that says so, and empty records for the other numbers.
 */
export interface LogGap {
  run: string;
  /** Unix milliseconds: when the first and the last of the chunks were written. */
  from: number;
  to: number;
  firstLine: number;
  lines: number;
  bytes: number;
  span: number;
}

/**
 * Records that may overtake others: what became of attempts and tasks, and results. Never the end of
 * a run, which says that everything of it is there.
 */
export function mayBeEarly(record: { type: LinkRecord["type"]; kind?: string }): boolean {
  switch (record.type) {
    case "run-started":
    case "attempt-started":
    case "attempt-finished":
    case "task-finished":
      return true;
    case "object-part":
      return record.kind === "result";
    default:
      return false;
  }
}

export type OutboxEntry =
  | { kind: "record"; text: string }
  | { kind: "log"; log: LogPointer }
  | { kind: "gap"; gap: LogGap }
  | { kind: "object"; object: ObjectPointer };

/**
 * Bytes of a file in one record. In base64 a part is a third longer; it cannot be split further, so
 * it is also the most that a heartbeat can wait behind on a slow line.
 */
export const objectPartBytes = 128 * 1024;

export function encodeRecord(record: UnnumberedRecord): string {
  return JSON.stringify(record);
}

export function encodeLogPointer(log: LogPointer): string {
  return `${logMark}${JSON.stringify(log)}}`;
}

export function encodeObjectPointer(object: ObjectPointer): string {
  return `${objectMark}${JSON.stringify(object)}}`;
}

export function encodeLogGap(gap: LogGap): string {
  return `${gapMark}${JSON.stringify(gap)}}`;
}

/** Text comes only from the functions above: what does not parse is a broken database and throws. */
export function decodeEntry(text: string): OutboxEntry {
  if (text.startsWith(logMark)) {
    return { kind: "log", log: JSON.parse(text.slice(logMark.length, -1)) as LogPointer };
  }
  if (text.startsWith(objectMark)) {
    const object = JSON.parse(text.slice(objectMark.length, -1)) as ObjectPointer;
    return { kind: "object", object };
  }
  if (text.startsWith(gapMark)) {
    return { kind: "gap", gap: JSON.parse(text.slice(gapMark.length, -1)) as LogGap };
  }
  return { kind: "record", text };
}

/** How many sequence numbers the entry takes. */
export function entrySpan(entry: OutboxEntry): number {
  if (entry.kind === "object") return entry.object.parts;
  return entry.kind === "gap" ? entry.gap.span : 1;
}

const logMark = '{"$log":';
const gapMark = '{"$gap":';
const objectMark = '{"$object":';
