// The combined log of one run: one order over the lines of all its tasks and of the agent itself.
// Takes bytes as they come, numbers the lines, writes them to segment files at `flush()` and tells
// the journal where they are. Memory is bounded by one buffer and 16 KiB a stream; when the disk takes
// nothing, lines are counted and dropped rather than kept, and a line says so later.

import type { Diagnostic, Result } from "../../protocol/diagnostic.ts";
import type { Json } from "../../protocol/json.ts";
import { type LogLevel, type LogLine, lineText } from "../../protocol/log.ts";
import type { LogDigest } from "../../protocol/signing/log-chain.ts";
import { runLogDir } from "../../protocol/state-paths.ts";
import { LineSplitter } from "./line-splitter.ts";
import { isPlain, type LineBytes, type LineEnd, LineWriter } from "./line-writer.ts";
import type { LogChain } from "./log-chain.ts";
import { Segments } from "./segments.ts";

/** Lines that are in a segment file now; for `Journal.recordLogChunk`. */
export interface LogChunk {
  segment: number;
  offset: number;
  sizeBytes: number;
  lines: number;
  /** Number of the first of these lines. */
  firstLine: number;
}

export interface LostLines {
  firstLine: number;
  lines: number;
  bytes: number;
  from: number;
  to: number;
}

/** A place between two lines in the segment files. */
export interface LogEnd {
  segment: number;
  offset: number;
}

export interface RunLogOptions {
  stateDir: string;
  run: string;
  /** Called by `flush` for every piece of at most 256 KiB. The bytes are not to be kept. */
  onChunk(chunk: LogChunk, bytes: Uint8Array): void;
  /** True while the master still needs the segment. */
  isHeld(segment: number): boolean;
  /** Applied to what is no output of a process: text and fields of messages and of the agent. */
  mask?: { text(text: string): string; json(value: Json): Json } | undefined;
  /** The disk did not take lines, or unshipped segments had to go. */
  onProblem?(problem: Diagnostic): void;
  /** The file of a segment that the master still needs is gone: the bound of the log was reached. */
  onGone?(segment: number): void;
  /** Lines with numbers that the disk did not take before the log was closed. */
  onLost?(lost: LostLines): void;
  /** False: what is left of the disk is for results; lines wait and are dropped as on a full disk. */
  mayWrite?(): boolean;
  /** Lines that were written but not recorded before a crash are recorded again from here on. */
  recordedUpTo?: { segment: number; end: number } | undefined;
  /** Given once the files are open: the chain of hashes over them, where there are receipts. */
  openChain?(): LogChain;
  segmentBytes?: number;
  limitBytes?: number;
  sync?: boolean;
  /** Unix milliseconds. */
  now?(): number;
  /** How long an unfinished line (a prompt) may wait; default 200. */
  partialMs?: number;
  /** An unfinished line has waited for so long and is given out: to be flushed soon. */
  onPartial?(): void;
}

export class RunLog {
  readonly #options: RunLogOptions;
  readonly #segments: Segments;
  readonly #writer = new LineWriter(chunkLimitBytes);
  readonly #now: () => number;
  readonly #streams = new Set<LogStream>();
  #seq: number;
  #dropped: { lines: number; bytes: number; from: number; to: number } | undefined;
  #chain: LogChain | undefined;
  #isClosed = false;
  #timer: NodeJS.Timeout | undefined;

  private constructor(options: RunLogOptions, segments: Segments, lastSeq: number) {
    this.#options = options;
    this.#segments = segments;
    this.#now = options.now ?? Date.now;
    this.#seq = lastSeq;
  }

  /** Continues the log where an earlier agent left it. */
  static open(options: RunLogOptions): Result<RunLog> {
    const limitBytes = options.limitBytes ?? 1024 ** 3;
    const opened = Segments.open({
      folder: runLogDir(options.stateDir, options.run),
      segmentBytes: Math.min(options.segmentBytes ?? 16 * 1024 ** 2, Math.ceil(limitBytes / 4)),
      limitBytes,
      sync: options.sync ?? false,
      isHeld: options.isHeld,
    });
    if (!opened.ok) {
      return opened;
    }
    const { segments, lastLine } = opened.value;
    const log = new RunLog(options, segments, lastLine === undefined ? 0 : seqOf(lastLine));
    // After the files: a torn line at their end is gone now.
    log.#chain = options.openChain?.();
    log.#recordAgain();
    return { ok: true, value: log };
  }

  /** Where the next line will be written, when everything has been flushed. */
  get position(): LogEnd {
    return { segment: this.#segments.segment, offset: this.#segments.sizeBytes };
  }

  /** Number of the last line. */
  get seq(): number {
    return this.#seq;
  }

  /** What a receipt says of the lines that were written; undefined without a chain. */
  digest(): LogDigest | undefined {
    return this.#chain?.digest(this.#seq);
  }

  /** The bytes of one stream of one attempt. stdout is level info, stderr is warn. */
  stream(task: string, attempt: number, stream: "stdout" | "stderr"): LogStream {
    const level: LogLevel = stream === "stdout" ? "info" : "warn";
    const fields = JSON.stringify({ source: "task", level, task, attempt, stream });
    const opened = new LogStream(`${fields.slice(1, -1)},"seq":`, {
      put: (prefix, line, how) => this.#putLine(prefix, line, how),
      now: this.#now,
      waiting: () => this.#armTimer(),
      ended: (ended) => this.#streams.delete(ended),
    });
    this.#streams.add(opened);
    return opened;
  }

  /** A line of the agent's own. */
  agent(level: LogLevel, text: string, fields?: Record<string, unknown>): void {
    this.#putObject({ source: "agent", level, text, ...(fields === undefined ? {} : { fields }) });
  }

  /** A line that a task sent through the SDK. */
  task(line: {
    task: string;
    attempt: number;
    level: LogLevel;
    text: string;
    fields?: Record<string, unknown>;
  }): void {
    this.#putObject({ source: "task", stream: "log", ...line });
  }

  /** Gives out unfinished lines that wait for their newline. */
  flushPartial(): void {
    for (const stream of this.#streams) {
      stream.flushPartial();
    }
  }

  /** Writes what is buffered, to be called once a turn, before the journal's commit. */
  flush(): Result<null> {
    if (this.#writer.used === 0 || this.#isClosed) {
      return done;
    }
    const bytes = this.#writer.buffer.subarray(0, this.#writer.used);
    const lines = this.#writer.lines;
    const written = this.#options.mayWrite?.() === false ? tight : this.#segments.append(bytes);
    if (!written.ok) {
      return written;
    }
    const { segment, offset, dropped } = written.value;
    const firstLine = this.#seq - lines + 1;
    this.#options.onChunk({ segment, offset, sizeBytes: bytes.length, lines, firstLine }, bytes);
    this.#chain?.add(segment, { bytes, firstLine, lastLine: this.#seq });
    if (segment !== this.#segments.segment) this.#chain?.leave();
    this.#writer.reset();
    for (const gone of dropped) {
      this.#sayGone(gone);
    }
    this.#sayDropped();
    return done;
  }

  /** Ends all streams and the file; what is put in afterwards is dropped. */
  close(): Result<null> {
    if (this.#isClosed) {
      return done;
    }
    clearTimeout(this.#timer);
    for (const stream of [...this.#streams]) {
      stream.end();
    }
    const first = this.flush();
    // What the first flush had to say about itself.
    const result = first.ok ? this.flush() : first;
    if (!result.ok && this.#writer.lines > 0) this.#sayLost();
    // The descriptor's number may be another file's from here on.
    this.#isClosed = true;
    this.#segments.close();
    return result;
  }

  /** For the journal's syncer, with EDGEDAG_DURABILITY=power; also once more after `close`. */
  readonly sync = (isAgain: boolean): Promise<void> => this.#segments.sync(isAgain);

  /** Nothing more is written to the segment. */
  leaveSegment(segment: number): void {
    if (this.#isClosed) return;
    this.flush();
    this.#segments.leave(segment);
    if (segment !== this.#segments.segment) this.#chain?.leave();
  }

  /** Removes a segment that was left, and says how many lines went with it where they were not shipped. */
  removeSegment(segment: number): void {
    if (!this.#isClosed) this.#segments.remove(segment);
  }

  /** Lines that were dropped took no numbers: the line that tells of them stands in their place. */
  #sayDropped(): void {
    const dropped = this.#dropped;
    if (dropped === undefined) return;
    this.#dropped = undefined;
    const { lines, bytes, from, to } = dropped;
    const times = `${new Date(from).toISOString()} to ${new Date(to).toISOString()}`;
    const text = `${lines} lines (${bytes} bytes, ${times}) were dropped because they could not be written`;
    this.agent("warn", text, { dropped });
  }

  #putLine(prefix: Uint8Array, line: LineBytes, how: LineEnd): void {
    if (this.#isClosed) {
      return;
    }
    if (this.#writer.full && !this.#makeRoom(line.end - line.start)) {
      return;
    }
    this.#seq += 1;
    this.#writer.putLine(prefix, this.#seq, line, how);
  }

  #putObject(given: Omit<LogLine, "time" | "seq">): void {
    const line = this.#masked(given);
    if (this.#isClosed) {
      return;
    }
    if (this.#writer.full && !this.#makeRoom(line.text?.length ?? 0)) {
      return;
    }
    const text = cutText(line.text ?? "");
    const json = lineText({ ...line, time: this.#now(), seq: this.#seq + 1, text });
    if (this.#writer.putJson(json)) {
      this.#seq += 1;
      return;
    }
    // Only fields can be this large.
    const { fields: _, ...bare } = line;
    const short = { ...bare, text, fields: { dropped: "fields larger than a log chunk" } };
    this.#writer.putJson(lineText({ ...short, time: this.#now(), seq: this.#seq + 1 }));
    this.#seq += 1;
  }

  #masked(line: Omit<LogLine, "time" | "seq">): Omit<LogLine, "time" | "seq"> {
    const { mask } = this.#options;
    if (mask === undefined) return line;
    const { text, fields, ...others } = line;
    return {
      ...others,
      ...(text === undefined ? {} : { text: mask.text(text) }),
      // JSON as well, by whomever it was made.
      ...(fields === undefined ? {} : { fields: mask.json(fields as Json) as typeof fields }),
    };
  }

  #makeRoom(bytes: number): boolean {
    const flushed = this.flush();
    if (flushed.ok) {
      return true;
    }
    const now = this.#now();
    if (this.#dropped === undefined) {
      for (const problem of flushed.diagnostics) {
        this.#options.onProblem?.(problem);
      }
    }
    this.#dropped ??= { lines: 0, bytes: 0, from: now, to: now };
    this.#dropped.lines += 1;
    this.#dropped.bytes += bytes;
    this.#dropped.to = now;
    return false;
  }

  #sayLost(): void {
    const { lines, used } = this.#writer;
    const now = this.#now();
    const dropped = this.#dropped ?? { lines: 0, bytes: 0, from: now };
    // Lines that were dropped before have no numbers, but are missing all the same.
    this.#options.onLost?.({
      firstLine: this.#seq - lines + 1,
      lines: lines + dropped.lines,
      bytes: used + dropped.bytes,
      from: dropped.from,
      to: now,
    });
  }

  #sayGone(segment: number): void {
    const text = `segment ${segment} of the log was dropped before the master had it: the bound of the log is reached`;
    this.agent("warn", text, { segment });
    this.#options.onGone?.(segment);
    this.#options.onProblem?.({
      code: "E_LOG_LIMIT",
      path: runLogDir(this.#options.stateDir, this.#options.run),
      message: text,
      remedy: "Raise EDGEDAG_LOG_LIMIT, or bring the master back.",
    });
  }

  #armTimer(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.flushPartial();
      this.#options.onPartial?.();
    }, this.#options.partialMs ?? 200).unref();
  }

  /** The lines after the last recorded one are in the files already; only their pointers are missing. */
  #recordAgain(): void {
    const from = this.#options.recordedUpTo;
    if (from === undefined) {
      return;
    }
    for (let segment = Math.max(1, from.segment); segment <= this.#segments.segment; segment++) {
      let offset = segment === from.segment ? from.end : 0;
      const end = this.#segments.sizeOf(segment);
      while (offset < end) {
        const bytes = this.#segments.read(segment, offset, Math.min(chunkLimitBytes, end - offset));
        const whole = bytes.subarray(0, bytes.lastIndexOf(10) + 1);
        if (whole.length === 0) {
          break;
        }
        const chunk = {
          segment,
          offset,
          sizeBytes: whole.length,
          lines: countLines(whole),
          firstLine: seqOf(whole.toString("utf8", 0, whole.indexOf(10))),
        };
        this.#options.onChunk(chunk, whole);
        offset += whole.length;
      }
    }
  }
}

/** One stream of one attempt. */
export class LogStream {
  readonly #fields: string;
  readonly #host: StreamHost;
  readonly #splitter = new LineSplitter();
  #prefix: Uint8Array = noBytes;
  #prefixTime = -1;
  #bytes = 0;
  /** The chunk that is being split, if no byte of it needs an escape. */
  #plain: Buffer | undefined;
  /** Reused for every line: nothing is allocated per line. */
  readonly #line: LineBytes = { source: noBytes, start: 0, end: 0, plain: false };
  readonly #put = (source: Buffer, start: number, end: number, how: LineEnd): void => {
    const line = this.#line;
    line.source = source;
    line.start = start;
    line.end = end;
    line.plain = source === this.#plain;
    this.#host.put(this.#prefix, line, how);
  };

  constructor(fields: string, host: StreamHost) {
    this.#fields = fields;
    this.#host = host;
  }

  /** Bytes taken so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Bytes that have been given out as lines: what is not, is held back for the rest of a line. */
  get givenBytes(): number {
    return this.#bytes - this.#splitter.heldBytes;
  }

  /** The chunk may be reused by the caller afterwards. */
  write(chunk: Buffer): void {
    this.#stamp();
    this.#bytes += chunk.length;
    this.#plain = chunk.length >= worthLooking && isPlain(chunk) ? chunk : undefined;
    this.#splitter.write(chunk, this.#put);
    this.#plain = undefined;
    this.#line.source = noBytes;
    if (this.#splitter.heldBytes > 0) {
      this.#host.waiting();
    }
  }

  flushPartial(): void {
    this.#stamp();
    this.#splitter.flushPartial(this.#put);
  }

  /** The attempt has drained. */
  end(): void {
    this.#stamp();
    this.#splitter.end(this.#put);
    this.#host.ended(this);
  }

  /** All lines of a chunk have the time at which the chunk came. */
  #stamp(): void {
    const now = this.#host.now();
    if (now !== this.#prefixTime) {
      this.#prefixTime = now;
      this.#prefix = Buffer.from(`{"time":${now},${this.#fields}`);
    }
  }
}

interface StreamHost {
  put(prefix: Uint8Array, line: LineBytes, how: LineEnd): void;
  now(): number;
  /** An unfinished line is held. */
  waiting(): void;
  ended(stream: LogStream): void;
}

const chunkLimitBytes = 256 * 1024;
/** Below it, looking at the chunk first costs more than it saves. */
const worthLooking = 256;
const noBytes = Buffer.alloc(0);
const tight: Result<never> = Object.freeze({
  ok: false,
  diagnostics: [
    {
      code: "E_STATE_FULL",
      path: "",
      message: "the log of the run cannot be written (what is left of the disk is for results)",
      remedy: "Free space on that file system, or lower EDGEDAG_LOG_LIMIT.",
    },
  ],
});
const textLimit = 16 * 1024;
const done: Result<null> = Object.freeze({ ok: true, value: null });

function cutText(text: string): string {
  return text.length <= textLimit
    ? text
    : `${text.slice(0, textLimit)} [${text.length - textLimit} characters cut]`;
}

function countLines(bytes: Buffer): number {
  let lines = 0;
  for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, at + 1)) {
    lines += 1;
  }
  return lines;
}

/** Texts escape their quotes, so that the first match is the field. */
function seqOf(line: string): number {
  return Number(/"seq":(\d+)/.exec(line)?.[1] ?? 0);
}
