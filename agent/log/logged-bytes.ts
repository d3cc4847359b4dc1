// How many bytes of each stream of an attempt stand in a run's log from some place on. The log itself
// is the only one who knows this after a crash: lines are written before anybody is told of them.
import { closeSync, existsSync, fstatSync, openSync, readSync } from "node:fs";
import type { LogLine } from "../../protocol/log.ts";
import type { LogEnd } from "./run-log.ts";
import { segmentNumbers } from "./segments.ts";

const newline = 10;
const chunkBytes = 1024 * 1024;

export type StreamCounts = [stdout: number, stderr: number];

/**
 * Counts from `from` to the end of the log, which nobody may write meanwhile. `undefined`: a part of
 * the log is not there any more, so that nobody can say.
 */
export function countLogged(
  folder: string,
  from: LogEnd,
  of: { task: string; attempt: number },
): StreamCounts | undefined {
  const counts: StreamCounts = [0, 0];
  // Most lines are not looked at any closer.
  const mark = Buffer.from(
    `"task":${JSON.stringify(of.task)},"attempt":${of.attempt},"stream":"std`,
  );
  const segments = existsSync(folder) ? segmentNumbers(folder) : [];
  const last = segments.at(-1) ?? 0;
  if (from.segment > last) return undefined;
  for (let segment = from.segment; segment <= last; segment++) {
    if (!segments.includes(segment)) return undefined;
    const start = segment === from.segment ? from.offset : 0;
    const isWhole = eachLine(`${folder}/${segment}.ndjson`, start, (line) => {
      if (line.includes(mark)) count(counts, line, of);
    });
    if (!isWhole) return undefined;
  }
  return counts;
}

function count(counts: StreamCounts, bytes: Buffer, of: { task: string; attempt: number }): void {
  const line = JSON.parse(bytes.toString("utf8")) as LogLine; // we have written it
  // Fields of a line that a task has sent may look like the mark.
  if (line.source !== "task" || line.task !== of.task || line.attempt !== of.attempt) return;
  if (line.stream !== "stdout" && line.stream !== "stderr") return;
  const size =
    line.base64 === undefined
      ? Buffer.byteLength(line.text ?? "")
      : Buffer.byteLength(line.base64, "base64");
  const isOpen = line.cut === true || line.open === true;
  counts[line.stream === "stdout" ? 0 : 1] += size + (isOpen ? 0 : 1);
}

/** False when the file ends before `start`. */
function eachLine(path: string, start: number, look: (line: Buffer) => void): boolean {
  const fd = openSync(path, "r");
  try {
    if (fstatSync(fd).size < start) return false;
    let rest: Buffer = Buffer.alloc(0);
    for (let at = start; ; ) {
      const chunk = Buffer.allocUnsafe(chunkBytes);
      const size = readSync(fd, chunk, 0, chunkBytes, at);
      if (size === 0) return true;
      at += size;
      const bytes = Buffer.concat([rest, chunk.subarray(0, size)]);
      let from = 0;
      for (let end = bytes.indexOf(newline); end >= 0; end = bytes.indexOf(newline, from)) {
        look(bytes.subarray(from, end));
        from = end + 1;
      }
      rest = bytes.subarray(from);
    }
  } finally {
    closeSync(fd);
  }
}
