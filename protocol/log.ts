// One line of the combined log of a run: the agent's own lines and every line of every task.

export const logLevels = ["trace", "debug", "info", "warn", "error", "fatal"] as const;
export type LogLevel = (typeof logLevels)[number];

/**
 * A line of the NDJSON log. `seq` counts lines within the run, from 1, without gaps.
 * `text` is the line without its newline. A line that is not valid UTF-8 has `base64` instead.
 * `cut: true` marks a piece of a longer line that goes on in the next record of the same stream
 * (`eol` would be a lie there); `open: true` marks a last line that ended without a newline.
 */
export interface LogLine {
  /** Unix time in milliseconds. */
  time: number;
  seq: number;
  source: "agent" | "task";
  level: LogLevel;
  /** Task key (`months`, or `months[3]` for an item of a fan-out). Absent on the agent's lines. */
  task?: string;
  /** Number of the attempt, from 1. */
  attempt?: number;
  /** `log` is a line sent through the SDK. */
  stream?: "stdout" | "stderr" | "log";
  text?: string;
  base64?: string;
  cut?: true;
  open?: true;
  /** Structured fields of the agent's own lines and of SDK lines. */
  fields?: Record<string, unknown>;
}

/**
 * The canonical text of a line, which the node writes and receipts are about: a reader that has parsed a
 * line, with its fields in any order, gets the same bytes.
 */
export function lineText(line: LogLine): string {
  const { time, source, level, task, attempt, stream, seq, text, base64, cut, open, fields } = line;
  return JSON.stringify({
    time,
    source,
    level,
    task,
    attempt,
    stream,
    seq,
    text,
    base64,
    cut,
    open,
    fields,
  });
}

/** In `fields.gap` of a line that stands for lines that are missing behind its own number. */
export interface GapFields {
  /** How many lines are missing, from this line's `seq` on; the next line has `seq` + `lines`. */
  lines: number;
  bytes: number;
  /** Unix milliseconds: when the first and the last of them were written. */
  from: number;
  to: number;
  why: string;
}

/** The line in place of lines that are not there. */
export function gapLine(firstLine: number, gap: GapFields): LogLine {
  const { lines, bytes, from, to, why } = gap;
  const times = `${new Date(from).toISOString()} to ${new Date(to).toISOString()}`;
  return {
    time: to,
    seq: firstLine,
    source: "agent",
    level: "error",
    text: `${lines} lines (${bytes} bytes, ${times}) are missing here: ${why}`,
    fields: { gap },
  };
}
