// Reads the combined log of a run from its segment files, also while it is being written and rotated.
// It never writes and takes no locks: a line counts when its newline is there. Used by `edgedag logs`.
import { type FSWatcher, watch } from "node:fs";
import { type FileHandle, open, readdir } from "node:fs/promises";
import { type LogLevel, type LogLine, logLevels } from "../../protocol/log.ts";

export interface LogFilter {
  /** A task key, or the id of a fan-out, which means all of its items; `agent` is the agent itself. */
  task?: string;
  stream?: "stdout" | "stderr" | "log";
  /** The lowest level that is shown. */
  level?: LogLevel;
  /** Unix milliseconds; earlier lines are left out. */
  since?: number;
}

export interface ReadOptions {
  folder: string;
  follow: boolean;
  signal?: AbortSignal;
}

/** Yields batches of lines in order. Without `follow` it ends at the end of the last segment. */
export async function* readLog(options: ReadOptions): AsyncGenerator<LogLine[]> {
  const { folder, follow, signal } = options;
  let segment = 0;
  let file: FileHandle | undefined;
  const changes = follow ? new Changes(folder) : undefined;
  try {
    let held = Buffer.alloc(0);
    while (signal?.aborted !== true) {
      const next = await nextSegment(folder, segment);
      if (file === undefined) {
        if (next !== undefined) {
          segment = next;
          file = await openSegment(`${folder}/${segment}.ndjson`);
          continue;
        }
      } else {
        const { bytesRead, buffer } = await file.read(
          Buffer.allocUnsafe(chunkBytes),
          0,
          chunkBytes,
        );
        if (bytesRead > 0) {
          const bytes = Buffer.concat([held, buffer.subarray(0, bytesRead)]);
          const end = bytes.lastIndexOf(10) + 1;
          held = bytes.subarray(end);
          yield parseLines(bytes.subarray(0, end));
          continue;
        }
        // A later segment that was there before this one's end was reached: this one is finished.
        if (next !== undefined) {
          await file.close();
          file = undefined;
          held = Buffer.alloc(0);
          continue;
        }
      }
      if (changes === undefined) {
        return;
      }
      await changes.wait(signal);
    }
  } finally {
    changes?.close();
    await file?.close();
  }
}

export function matches(line: LogLine, filter: LogFilter): boolean {
  const { task, stream, level, since } = filter;
  if (task !== undefined) {
    const own = task === "agent" && line.source === "agent";
    if (!own && line.task !== task && line.task?.startsWith(`${task}[`) !== true) {
      return false;
    }
  }
  return (
    (stream === undefined || line.stream === stream) &&
    (level === undefined || logLevels.indexOf(line.level) >= logLevels.indexOf(level)) &&
    (since === undefined || line.time >= since)
  );
}

/** `12:03:04.123 months[3]#1 out | text`, in local time. Control characters cannot reach a terminal. */
export function formatLine(line: LogLine, colour: boolean): string {
  const at = new Date(line.time);
  const digits = (value: number, length = 2) => String(value).padStart(length, "0");
  const time = `${digits(at.getHours())}:${digits(at.getMinutes())}:${digits(at.getSeconds())}.${digits(at.getMilliseconds(), 3)}`;
  const source = line.source === "agent" ? "agent" : printable(`${line.task}#${line.attempt}`);
  const stream = line.stream === undefined ? line.level : streamWords[line.stream];
  const fields = line.fields === undefined ? "" : ` ${printable(JSON.stringify(line.fields))}`;
  const text =
    line.text === undefined ? printable(`(base64) ${line.base64}`) : printable(line.text);
  const mark = line.cut ? " …" : "";
  const head = `${time} ${source} ${stream} |`;
  const body = `${text}${fields}${mark}`;
  if (!colour) {
    return `${head} ${body}`;
  }
  const tint = colours[line.level];
  return `\u001b[2m${head}\u001b[0m ${tint === "" ? body : `\u001b[${tint}m${body}\u001b[0m`}`;
}

const chunkBytes = 256 * 1024;
const streamWords = { stdout: "out", stderr: "err", log: "log" } as const;
const colours: Record<LogLevel, string> = {
  trace: "2",
  debug: "2",
  info: "",
  warn: "33",
  error: "31",
  fatal: "1;31",
};

/** A task's output must not move the reader's cursor or retitle the window. */
function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, (c) => {
    return c === "\r" ? "" : `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`;
  });
}

function parseLines(bytes: Buffer): LogLine[] {
  const lines: LogLine[] = [];
  for (const text of bytes.toString("utf8").split("\n")) {
    if (text !== "") {
      lines.push(parseLine(text));
    }
  }
  return lines;
}

/** A damaged line is shown as what it is: the reader is often the one who looks for the damage. */
function parseLine(text: string): LogLine {
  try {
    const line: unknown = JSON.parse(text);
    if (isLine(line)) return line;
  } catch (error) {
    if (!(error instanceof SyntaxError)) {
      throw error;
    }
  }
  const fields = { damaged: true };
  return { time: 0, seq: 0, source: "agent", level: "error", text: text.slice(0, 1_000), fields };
}

/** Damage can leave JSON that is no line: all that is looked at here must be what it says. */
function isLine(value: unknown): value is LogLine {
  if (typeof value !== "object" || value === null) return false;
  // Every member is looked at before it counts as one.
  const { time, seq, source, level, task, stream, text, base64, fields } = value as {
    [name in keyof LogLine]: unknown;
  };
  return (
    typeof time === "number" &&
    Math.abs(time) <= latestTime &&
    typeof seq === "number" &&
    (source === "agent" || (source === "task" && typeof task === "string")) &&
    typeof level === "string" &&
    Object.hasOwn(colours, level) &&
    (task === undefined || typeof task === "string") &&
    (stream === undefined || (typeof stream === "string" && Object.hasOwn(streamWords, stream))) &&
    (text === undefined ? typeof base64 === "string" : typeof text === "string") &&
    (fields === undefined || (typeof fields === "object" && fields !== null))
  );
}

/** Of a Date. */
const latestTime = 8.64e15;

/** Undefined when it was dropped for the bound of the log since the folder was read. */
async function openSegment(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") {
      return undefined;
    }
    throw error;
  }
}

/** The lowest number above `after`: earlier segments may have been dropped. */
async function nextSegment(folder: string, after: number): Promise<number | undefined> {
  const names = await readdir(folder);
  const numbers = names.map((name) => Number(/^(\d+)\.ndjson$/.exec(name)?.[1] ?? 0));
  const later = numbers.filter((number) => number > after);
  return later.length === 0 ? undefined : Math.min(...later);
}

/** Waits for a change in a folder; looks again each second where changes are not told (network file systems). */
class Changes {
  readonly #watcher: FSWatcher | undefined;
  #changed = Promise.withResolvers<void>();

  constructor(folder: string) {
    this.#watcher = watch(folder, () => this.#changed.resolve());
    // Watches can run out; the poll is then enough.
    this.#watcher.on("error", () => undefined);
  }

  async wait(signal: AbortSignal | undefined): Promise<void> {
    const timer = setTimeout(() => this.#changed.resolve(), 1_000);
    const stop = () => this.#changed.resolve();
    signal?.addEventListener("abort", stop, { once: true });
    await this.#changed.promise;
    signal?.removeEventListener("abort", stop);
    clearTimeout(timer);
    this.#changed = Promise.withResolvers<void>();
  }

  close(): void {
    this.#watcher?.close();
  }
}
