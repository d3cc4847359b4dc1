// Decodes the numbered records of the link, the hot path of the master: one new object a record, no
// schema library. Findings go to the caller's list; nothing is thrown, nothing is cast.
import type { Json } from "./json.ts";
import {
  type Findings,
  isObject,
  type JsonObject,
  readCount,
  readId,
  readNumber,
  readObject,
  readString,
  readWord,
} from "./json-read.ts";
import type { LinkRecord, RunSummary } from "./link.ts";
import { type LogLine, logLevels } from "./log.ts";
import { readFacts, readOutcome, readRunOutcome } from "./outcome-decode.ts";

const taskLimitChars = 512;
const lineLimitChars = 8 * 1024 * 1024;

export function readRecord(value: Json, index: number, findings: Findings): LinkRecord {
  const at = `records[${index}]`;
  if (!isObject(value)) {
    findings.add(at, "must be an object");
    return { type: "log", seq: 1, time: 0, run: "", lines: [] };
  }
  const base = {
    seq: readCount(value, "seq", at, findings, 1),
    time: readNumber(value, "time", at, findings),
    run: readId(value, "run", at, findings),
  };
  switch (value.type) {
    case "log":
      return { type: "log", ...base, lines: readLines(value, at, findings) };
    case "attempt-finished": {
      const record: LinkRecord = {
        type: "attempt-finished",
        ...base,
        ...readAttempt(value, at, findings),
        outcome: readOutcome(value, "outcome", at, findings),
        facts: readFacts(value, "facts", at, findings),
      };
      if (value.result !== undefined) record.result = value.result;
      if (value.final === true) record.final = true;
      return record;
    }
    case "sent-early":
      return { type: "sent-early", ...base };
    case "attempt-started":
      return { type: "attempt-started", ...base, ...readAttempt(value, at, findings) };
    case "task-finished":
      return {
        type: "task-finished",
        ...base,
        task: readString(value, "task", at, findings, taskLimitChars),
        outcome: readOutcome(value, "outcome", at, findings),
      };
    case "progress": {
      const record: LinkRecord = {
        type: "progress",
        ...base,
        ...readAttempt(value, at, findings),
        fraction: readNumber(value, "fraction", at, findings),
      };
      if (value.text !== undefined) record.text = readString(value, "text", at, findings);
      return record;
    }
    case "run-started": {
      const record: LinkRecord = {
        type: "run-started",
        ...base,
        dag: readString(value, "dag", at, findings, 1000),
        digest: readString(value, "digest", at, findings, 200),
        tasks: readCount(value, "tasks", at, findings),
      };
      if (value.params !== undefined) record.params = readObject(value, "params", at, findings);
      return record;
    }
    case "object-part":
      return {
        type: "object-part",
        ...base,
        kind: readWord(value, "kind", at, findings, ["result", "artifact"]),
        ...readAttempt(value, at, findings),
        name: readString(value, "name", at, findings, 4096),
        part: readCount(value, "part", at, findings),
        parts: readCount(value, "parts", at, findings, 1),
        sizeBytes: readCount(value, "sizeBytes", at, findings),
        sha256: readString(value, "sha256", at, findings, 64),
        data: readString(value, "data", at, findings, 1 << 24),
      };
    case "run-finished":
      return {
        type: "run-finished",
        ...base,
        outcome: readRunOutcome(value, "outcome", at, findings),
        summary: readSummary(value, at, findings),
      };
    case "records-lost":
      return {
        type: "records-lost",
        ...base,
        detail: readString(value, "detail", at, findings, 1000),
      };
    default:
      findings.field(at, "type", "is not a record that is known here");
      return { type: "log", ...base, lines: [] };
  }
}

function readAttempt(from: JsonObject, at: string, findings: Findings) {
  return {
    task: readString(from, "task", at, findings, taskLimitChars),
    attempt: readCount(from, "attempt", at, findings, 1),
  };
}

function readLines(record: JsonObject, at: string, findings: Findings): LogLine[] {
  const values = record.lines;
  if (!Array.isArray(values)) {
    findings.field(at, "lines", "must be a list");
    return [];
  }
  const lines: LogLine[] = [];
  for (let index = 0; index < values.length; index++) {
    const value = values[index];
    if (isObject(value)) lines.push(readLine(value, at, index, findings));
    else findings.field(at, `lines[${index}]`, "must be an object");
  }
  return lines;
}

function readLine(from: JsonObject, parent: string, index: number, findings: Findings): LogLine {
  const at = `${parent}.lines[${index}]`;
  const line: LogLine = {
    time: readNumber(from, "time", at, findings),
    seq: readCount(from, "seq", at, findings, 1),
    source: readWord(from, "source", at, findings, ["agent", "task"]),
    level: readWord(from, "level", at, findings, logLevels),
  };
  if (from.task !== undefined) line.task = readString(from, "task", at, findings, taskLimitChars);
  if (from.attempt !== undefined) line.attempt = readCount(from, "attempt", at, findings, 1);
  if (from.stream !== undefined) {
    line.stream = readWord(from, "stream", at, findings, ["stdout", "stderr", "log"]);
  }
  if (from.text !== undefined) line.text = readString(from, "text", at, findings, lineLimitChars);
  if (from.base64 !== undefined) {
    line.base64 = readString(from, "base64", at, findings, lineLimitChars);
  }
  if (from.cut === true) line.cut = true;
  if (from.open === true) line.open = true;
  if (from.fields !== undefined) line.fields = readObject(from, "fields", at, findings);
  return line;
}

const measured = [
  "interTaskP50Ms",
  "interTaskP99Ms",
  "schedulerMs",
  "overheadShare",
  "uplinkBytes",
] as const;

function readSummary(record: JsonObject, parent: string, findings: Findings): RunSummary {
  const at = `${parent}.summary`;
  const from = readObject(record, "summary", parent, findings);
  const summary: RunSummary = {
    tasks: readCount(from, "tasks", at, findings),
    succeeded: readCount(from, "succeeded", at, findings),
    failed: readCount(from, "failed", at, findings),
    skipped: readCount(from, "skipped", at, findings),
    cancelled: readCount(from, "cancelled", at, findings),
    attempts: readCount(from, "attempts", at, findings),
    wallMs: readNumber(from, "wallMs", at, findings),
  };
  for (const name of measured) {
    if (from[name] !== undefined) summary[name] = readNumber(from, name, at, findings);
  }
  return summary;
}
