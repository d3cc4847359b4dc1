// Compares an NDJSON log, from the node or from the master, with what a receipt says of it. The master
// writes the fields of a line in another order; both orders of a line have one canonical text. Takes
// lines one by one and keeps only what is not settled.
import { createHash, type Hash } from "node:crypto";
import type { Diagnostic } from "../diagnostic.ts";
import { type LogLine, lineText } from "../log.ts";
import { signingProblem } from "./codes.ts";
import { firstHead, type LogDigest, type LogSegment, nextHead } from "./log-chain.ts";

export interface LogCheck {
  /** Lines that are there and are what the receipt tells of. */
  verifiedLines: number;
  /** First and last number of lines that are not there, or cannot be compared any more. */
  missing: [number, number][];
  diagnostics: Diagnostic[];
}

/** Segments in which something else stands; more are not listed. */
const mostProblems = 20;

export class LogChecker {
  readonly #digest: LogDigest;
  readonly #check: LogCheck = { verifiedLines: 0, missing: [], diagnostics: [] };
  #at = 0;
  #hashes: { raw: Hash; canonical: Hash } | undefined;
  /** The number that comes next. */
  #next: number;

  constructor(digest: LogDigest) {
    this.#digest = digest;
    this.#next = digest.segments[0]?.firstLine ?? digest.lines + 1;
    if (digest.before !== undefined) this.#missed(1, digest.before.lastLine);
    let head = digest.before?.head ?? firstHead;
    for (const segment of digest.segments) head = nextHead(head, segment);
    if (head !== digest.head) this.#wrong("the head of the chain is not that of its segments");
  }

  /** One line without its newline. */
  add(text: string): void {
    let line: LogLine;
    try {
      line = JSON.parse(text) as LogLine; // only numbers are used before it is compared
    } catch {
      this.#wrong(`a line is no JSON: ${text.slice(0, 80)}`);
      return;
    }
    // In place of lines that never reached the master.
    if (line.source === "agent" && line.fields?.gap !== undefined) return;
    const problem = this.#place(line.seq);
    if (problem !== undefined) this.#wrong(problem);
    else if (line.seq === this.#next) this.#take(line, text);
  }

  /** Why there can be no such line here; else what comes before it is settled. */
  #place(seq: number): string | undefined {
    const { before, lines, segments } = this.#digest;
    if (!Number.isSafeInteger(seq) || seq < 1) return "a line has no number";
    if (seq <= (before?.lastLine ?? 0)) return undefined; // told as not comparable
    if (seq < this.#next) return `line ${seq} is there twice, or out of its order`;
    if (seq > lines) return `line ${seq} is not one of the ${lines} of the receipt`;
    if (seq > this.#next) this.#skipTo(seq);
    const segment = segments[this.#at];
    const isInside = segment !== undefined && seq >= segment.firstLine;
    return isInside ? undefined : `line ${seq} is in no segment of the receipt`;
  }

  #take(line: LogLine, text: string): void {
    const segment = this.#digest.segments[this.#at];
    if (segment === undefined) throw new Error("a line without a segment");
    const { seq } = line;
    this.#next = seq + 1;
    if (seq === segment.firstLine) {
      this.#hashes = { raw: createHash("sha256"), canonical: createHash("sha256") };
    }
    this.#hashes?.raw.update(`${text}\n`);
    this.#hashes?.canonical.update(`${lineText(line)}\n`);
    if (seq === segment.lastLine) this.#settle(segment);
  }

  end(): LogCheck {
    if (this.#next <= this.#digest.lines) this.#skipTo(this.#digest.lines + 1);
    return this.#check;
  }

  #settle(segment: LogSegment): void {
    const { firstLine, lastLine, sha256 } = segment;
    this.#at += 1;
    const hashes = this.#hashes;
    this.#hashes = undefined;
    // Some of its lines are missing: the rest cannot be compared with anything.
    if (hashes === undefined || sha256 === undefined) this.#missed(firstLine, lastLine);
    else if (hashes.raw.digest("hex") === sha256 || hashes.canonical.digest("hex") === sha256) {
      this.#check.verifiedLines += lastLine - firstLine + 1;
    } else this.#wrong(`lines ${firstLine} to ${lastLine} are not what the node wrote`);
  }

  /** Lines up to `seq` are not there. */
  #skipTo(seq: number): void {
    const { segments, lines } = this.#digest;
    let from = this.#next;
    this.#hashes = undefined;
    for (
      let segment = segments[this.#at];
      segment !== undefined && segment.lastLine < seq;
      segment = segments[this.#at]
    ) {
      this.#missed(Math.min(from, segment.firstLine), segment.lastLine);
      from = segment.lastLine + 1;
      this.#at += 1;
    }
    // Numbers that no segment has: the disk did not take them.
    if (this.#at === segments.length && from < seq) this.#missed(from, Math.min(seq - 1, lines));
    this.#next = seq;
  }

  #missed(from: number, to: number): void {
    const last = this.#check.missing.at(-1);
    if (last !== undefined && from <= last[1] + 1) last[1] = Math.max(last[1], to);
    else this.#check.missing.push([from, to]);
  }

  #wrong(message: string): void {
    const { diagnostics } = this.#check;
    if (diagnostics.length >= mostProblems) return;
    const remedy = "Take the log from the master or the node again; else somebody has changed it.";
    diagnostics.push(signingProblem("E_RECEIPT_LOG", message, remedy));
  }
}
