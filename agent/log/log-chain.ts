// The hash chain over the log of one run on this node. Hashes what was written, a flush at a time, after
// it was written. The digest of a segment that is full goes into a small file, because the segment may
// be removed; after a restart the segment that is being filled is read again, so that what a crash
// has torn is what is hashed. Used by `RunLog` where there are receipts.
import { createHash, type Hash } from "node:crypto";
import {
  appendFileSync,
  closeSync,
  openSync,
  readFileSync,
  readSync,
  writeFileSync,
} from "node:fs";
import { type LogDigest, type LogSegment, logDigest } from "../../protocol/signing/log-chain.ts";
import { logChainPath, runLogDir, segmentPath } from "../../protocol/state-paths.ts";
import { segmentNumbers } from "./segments.ts";

export interface ChainOptions {
  stateDir: string;
  run: string;
  /** The digest of a segment could not be kept: it is lost when the agent ends before the run. */
  onProblem(text: string): void;
}

export interface Addition {
  bytes: Uint8Array;
  firstLine: number;
  lastLine: number;
}

/** A line of the file: the digest of segment `segment`. */
type KeptSegment = LogSegment & { segment: number };

export class LogChain {
  readonly #options: ChainOptions;
  readonly #closed: LogSegment[] = [];
  #open:
    | { segment: number; hash: Hash; firstLine: number; lastLine: number; sizeBytes: number }
    | undefined;

  private constructor(options: ChainOptions) {
    this.#options = options;
  }

  /** Goes on where an earlier agent left it; the segment files must be open already. */
  static open(options: ChainOptions): LogChain {
    const chain = new LogChain(options);
    chain.#readBack();
    return chain;
  }

  /** Whole lines that were just written to the segment. */
  add(segment: number, { bytes, firstLine, lastLine }: Addition): void {
    if (this.#open !== undefined && this.#open.segment !== segment) this.leave();
    this.#open ??= {
      segment,
      hash: createHash("sha256"),
      firstLine,
      lastLine,
      sizeBytes: 0,
    };
    this.#open.hash.update(bytes);
    this.#open.lastLine = lastLine;
    this.#open.sizeBytes += bytes.length;
  }

  /** Nothing more is written to the present segment. */
  leave(): void {
    const open = this.#open;
    if (open === undefined) return;
    this.#open = undefined;
    const { segment, hash, ...place } = open;
    const closed: KeptSegment = { segment, ...place, sha256: hash.digest("hex") };
    this.#keep(closed);
    this.#push(closed);
  }

  /** `lines`: the number of the last line, written or not. */
  digest(lines: number): LogDigest {
    const open = this.#open;
    if (open === undefined) return logDigest(this.#closed, lines);
    const { firstLine, lastLine, sizeBytes, hash } = open;
    const present = { firstLine, lastLine, sizeBytes, sha256: hash.copy().digest("hex") };
    return logDigest([...this.#closed, present], lines);
  }

  #push({ segment: _, ...place }: KeptSegment): void {
    this.#closed.push(place);
  }

  #keep(closed: KeptSegment): void {
    const { stateDir, run, onProblem } = this.#options;
    try {
      appendFileSync(logChainPath(stateDir, run), `${JSON.stringify(closed)}\n`, { mode: 0o600 });
    } catch (error) {
      // It is in memory, and its file is still there: only both together would lose it.
      onProblem(`the digest of a log segment cannot be kept: ${reason(error)}`);
    }
  }

  #readBack(): void {
    const { stateDir, run } = this.#options;
    const present = segmentNumbers(runLogDir(stateDir, run));
    const newest = present.at(-1) ?? 1;
    const kept = this.#readKept();
    const first = Math.min(kept.keys().next().value ?? newest, present[0] ?? newest);
    let lastLine = 0;
    for (let segment = Math.max(1, first); segment <= newest; segment++) {
      const known = kept.get(segment);
      const isThere = present.includes(segment);
      if (known !== undefined && segment < newest) {
        lastLine = known.lastLine;
        this.#push(known);
      } else if (isThere) {
        this.#readSegment(segment);
        if (this.#open !== undefined) lastLine = this.#open.lastLine;
        if (segment < newest) this.leave();
      } else {
        // Removed before its digest was kept; the next one tells where it ended.
        this.#push({ segment, firstLine: lastLine + 1, lastLine: lastLine + 1, sizeBytes: 0 });
      }
    }
    this.#mendLost();
  }

  /** A segment that is lost ends where the next one begins. */
  #mendLost(): void {
    for (const [at, segment] of this.#closed.entries()) {
      const next = this.#closed[at + 1] ?? this.#open;
      if (segment.sha256 === undefined && next !== undefined) {
        segment.lastLine = Math.max(segment.firstLine, next.firstLine - 1);
      }
    }
  }

  #readSegment(segment: number): void {
    const { stateDir, run } = this.#options;
    const fd = openSync(segmentPath(stateDir, run, segment), "r");
    try {
      const buffer = Buffer.allocUnsafe(chunkBytes);
      let held = 0;
      for (let size = readSync(fd, buffer, 0, chunkBytes, null); size > 0; ) {
        const end = buffer.subarray(0, held + size).lastIndexOf(newline) + 1;
        if (end > 0) {
          const bytes = buffer.subarray(0, end);
          const lastStart = end < 2 ? 0 : bytes.lastIndexOf(newline, end - 2) + 1;
          const firstLine = seqOf(bytes.subarray(0, bytes.indexOf(newline)));
          this.add(segment, { bytes, firstLine, lastLine: seqOf(bytes.subarray(lastStart)) });
        }
        buffer.copyWithin(0, end, held + size);
        held = held + size - end;
        size = readSync(fd, buffer, held, chunkBytes - held, null);
      }
    } finally {
      closeSync(fd);
    }
  }

  /** By number. A line that a crash has torn is cut off. */
  #readKept(): Map<number, KeptSegment> {
    const path = logChainPath(this.#options.stateDir, this.#options.run);
    const kept = new Map<number, KeptSegment>();
    let text: string;
    try {
      text = readFileSync(path, "utf8");
    } catch {
      return kept; // none is full yet
    }
    const end = text.lastIndexOf("\n") + 1;
    if (end < text.length) writeFileSync(path, text.slice(0, end));
    for (const line of text.slice(0, end).split("\n")) {
      if (line === "") continue;
      try {
        // Written by `#keep`.
        const segment = JSON.parse(line) as KeptSegment;
        kept.set(segment.segment, segment);
      } catch {
        this.#options.onProblem(`${path} has a damaged line; its segment is hashed again`);
      }
    }
    return kept;
  }
}

const chunkBytes = 1024 * 1024;
const newline = 10;

function seqOf(line: Uint8Array): number {
  return Number(/"seq":(\d+)/.exec(Buffer.from(line).toString("utf8"))?.[1] ?? 0);
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
