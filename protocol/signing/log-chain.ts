// The hash chain over the combined log of a run. Its links are the segments of the log as they lie on
// the node: each has a digest of its bytes, and the head after it is SHA-256(head before, digest). So a
// segment whose file is gone still has its place, and what comes after it can be looked at. Pure.
import { createHash } from "node:crypto";

export interface LogSegment {
  firstLine: number;
  lastLine: number;
  sizeBytes: number;
  /** Of its lines with their newlines; absent: its file was gone before its digest was kept. */
  sha256?: string;
}

/** The log as a receipt tells of it. */
export interface LogDigest {
  /** Number of the last line. */
  lines: number;
  head: string;
  /** The newest ones; those before them are only in the head. */
  segments: LogSegment[];
  before?: { segments: number; lastLine: number; head: string };
}

/** More are not listed: some 64 GB of log with segments of the usual size. */
export const mostSegments = 4096;

/** Before the first segment. */
export const firstHead = "0".repeat(64);

export function nextHead(head: string, { sha256 }: Pick<LogSegment, "sha256">): string {
  const hash = createHash("sha256");
  hash.update(Buffer.from(head, "hex"));
  hash.update(Buffer.from(sha256 ?? firstHead, "hex"));
  return hash.digest("hex");
}

export function logDigest(segments: readonly LogSegment[], lines: number): LogDigest {
  let head = firstHead;
  const hidden = Math.max(0, segments.length - mostSegments);
  let before: LogDigest["before"];
  for (const [at, segment] of segments.entries()) {
    head = nextHead(head, segment);
    if (at === hidden - 1) before = { segments: hidden, lastLine: segment.lastLine, head };
  }
  const listed = segments.slice(hidden);
  return { lines, head, segments: listed, ...(before === undefined ? {} : { before }) };
}
