// Reads the combined log of a run out of its stored chunks, filtered, as NDJSON text; on request it
// goes on with what arrives until the run is over. Never holds more than a few chunks in memory.
import { type LogLevel, logLevels } from "../../protocol/log.ts";
import type { RunSignals } from "../runs/run-signals.ts";
import type { MasterStorage } from "../storage/storage.ts";

export interface LogFilter {
  /** A task, all items of a fan-out (`months`), or one item (`months[3]`). */
  task?: string;
  stream?: string;
  source?: string;
  /** Least level. */
  level?: LogLevel;
}

export interface LogQuery extends LogFilter {
  /** Only lines after this number. */
  after: number;
  limit: number;
  follow: boolean;
}

const chunksAtOnce = 32;
const overStates: ReadonlySet<string> = new Set(["finished", "refused", "lost"]);

export async function* readLog(
  storage: MasterStorage,
  signals: RunSignals,
  run: string,
  query: LogQuery,
  signal: AbortSignal,
): AsyncGenerator<string> {
  let { after } = query;
  let left = query.limit;
  while (left > 0 && !signal.aborted) {
    // Asked for before reading: what is stored in between is not missed.
    const changed = signals.next(run, signal);
    const isOver = overStates.has((await storage.run(run))?.state ?? "finished");
    const chunks = await storage.logChunks(run, after, chunksAtOnce);
    let text = "";
    for (const chunk of chunks) {
      const kept = linesOf(chunk.text, after, left, query);
      text += kept.text;
      left -= kept.lines;
      after = chunk.lastSeq;
    }
    if (text !== "") yield text;
    if (chunks.length === chunksAtOnce) continue;
    if (!query.follow || isOver) return;
    await changed;
  }
}

function linesOf(text: string, after: number, limit: number, filter: LogFilter) {
  let kept = "";
  let lines = 0;
  for (const line of text.split("\n")) {
    if (lines >= limit) break;
    if (line === "" || !matches(JSON.parse(line), after, filter)) continue;
    kept += `${line}\n`;
    lines++;
  }
  return { text: kept, lines };
}

/** The fields that filters look at; the line was checked when it arrived. */
interface FilteredLine {
  seq: number;
  level: LogLevel;
  source: string;
  stream?: string;
  task?: string;
}

function matches(line: FilteredLine, after: number, filter: LogFilter): boolean {
  if (line.seq <= after) return false;
  if (filter.stream !== undefined && line.stream !== filter.stream) return false;
  if (filter.source !== undefined && line.source !== filter.source) return false;
  if (filter.level !== undefined) {
    if (logLevels.indexOf(line.level) < logLevels.indexOf(filter.level)) return false;
  }
  if (filter.task === undefined) return true;
  return line.task === filter.task || (line.task?.startsWith(`${filter.task}[`) ?? false);
}
