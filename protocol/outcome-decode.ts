// Decodes outcomes, failures and facts that arrive as JSON. Unknown fields are left out; a fact that
// is absent stays absent. Findings go to the caller's list; nothing is thrown.
import {
  type Findings,
  isObject,
  isStorable,
  type JsonObject,
  readNumber,
  readString,
  readStrings,
  readWord,
} from "./json-read.ts";
import {
  type Facts,
  type Failure,
  type FailureReason,
  faultOf,
  type Outcome,
  type RunOutcome,
  sandboxLevels,
} from "./outcome.ts";

const cancelledBy = ["user", "master", "policy", "drain"] as const;

export function readOutcome(
  from: JsonObject,
  key: string,
  at: string,
  findings: Findings,
): Outcome {
  const value = from[key];
  const here = `${at}.${key}`;
  if (!isObject(value)) {
    findings.field(at, key, "must be an outcome object");
    return { kind: "succeeded" };
  }
  switch (value.kind) {
    case "succeeded":
      return { kind: "succeeded" };
    case "failed":
      return { kind: "failed", failure: readFailure(value, here, findings) };
    case "skipped":
      return { kind: "skipped", because: readString(value, "because", here, findings) };
    case "cancelled":
      return { kind: "cancelled", by: readWord(value, "by", here, findings, cancelledBy) };
    default:
      findings.field(here, "kind", "must be succeeded, failed, skipped or cancelled");
      return { kind: "succeeded" };
  }
}

export function readRunOutcome(
  from: JsonObject,
  key: string,
  at: string,
  findings: Findings,
): RunOutcome {
  const value = from[key];
  const here = `${at}.${key}`;
  if (!isObject(value)) {
    findings.field(at, key, "must be an outcome object");
    return { kind: "succeeded" };
  }
  switch (value.kind) {
    case "succeeded":
      return { kind: "succeeded" };
    case "failed":
      return { kind: "failed", failed: readStrings(value, "failed", here, findings) };
    case "cancelled":
      return { kind: "cancelled", by: readWord(value, "by", here, findings, cancelledBy) };
    default:
      findings.field(here, "kind", "must be succeeded, failed or cancelled");
      return { kind: "succeeded" };
  }
}

export function readCancelledBy(from: JsonObject, key: string, at: string, findings: Findings) {
  return readWord(from, key, at, findings, cancelledBy);
}

function isReason(value: unknown): value is FailureReason {
  return typeof value === "string" && Object.hasOwn(faultOf, value);
}

function readFailure(outcome: JsonObject, parent: string, findings: Findings): Failure {
  const at = `${parent}.failure`;
  const value = outcome.failure;
  if (!isObject(value) || !isReason(value.reason)) {
    findings.add(at, `must be an object with a reason: ${Object.keys(faultOf).join(", ")}`);
    return { reason: "internal", detail: "" };
  }
  const reason = value.reason;
  const detail = typeof value.detail === "string" ? { detail: value.detail } : {};
  switch (reason) {
    case "exit-code":
      return { reason, code: readNumber(value, "code", at, findings) };
    case "signal":
      return { reason, signal: readString(value, "signal", at, findings) };
    case "bad-result": {
      const trace = typeof value.trace === "string" ? { trace: value.trace } : {};
      const line = typeof value.line === "number" ? { line: value.line } : {};
      const column = typeof value.column === "number" ? { column: value.column } : {};
      const told = readString(value, "detail", at, findings, 1 << 24);
      return { reason, detail: told, ...trace, ...line, ...column };
    }
    case "timeout":
    case "cpu-time":
      return { reason, limitMs: readNumber(value, "limitMs", at, findings) };
    case "out-of-memory":
      return typeof value.limitBytes === "number"
        ? { reason, limitBytes: value.limitBytes }
        : { reason };
    case "output-limit":
    case "disk-limit":
      return { reason, limitBytes: readNumber(value, "limitBytes", at, findings) };
    case "pids-limit":
      return { reason, limit: readNumber(value, "limit", at, findings) };
    case "spawn":
      return {
        reason,
        errno: readString(value, "errno", at, findings),
        detail: readString(value, "detail", at, findings),
      };
    case "sandbox":
      return {
        reason,
        level: readWord(value, "level", at, findings, sandboxLevels),
        detail: readString(value, "detail", at, findings),
      };
    case "backend":
      return {
        reason,
        backend: readString(value, "backend", at, findings),
        detail: readString(value, "detail", at, findings),
      };
    case "lost":
      return { reason, ...detail };
    case "internal": {
      const story =
        value.story === undefined ? {} : { story: readStrings(value, "story", at, findings) };
      return { reason, detail: readString(value, "detail", at, findings), ...story };
    }
  }
}

const numericFacts = [
  "startedAt",
  "wallMs",
  "cpuUserMs",
  "cpuSystemMs",
  "maxRssBytes",
  "peakMemoryBytes",
  "peakPids",
  "readBytes",
  "writtenBytes",
  "exitCode",
  "stdoutBytes",
  "stderrBytes",
  "droppedBytes",
  "pid",
] as const;

export function readFacts(from: JsonObject, key: string, at: string, findings: Findings): Facts {
  const value = from[key];
  const facts: Facts = {};
  if (!isObject(value)) {
    findings.field(at, key, "must be an object");
    return facts;
  }
  for (const name of numericFacts) {
    const fact = value[name];
    if (fact === undefined) continue;
    if (isStorable(fact)) facts[name] = fact;
    else findings.add(`${at}.${key}.${name}`, "must be a number between -2^53 and 2^53");
  }
  const here = `${at}.${key}`;
  if (value.signal !== undefined) facts.signal = readString(value, "signal", here, findings);
  if (value.isolation !== undefined) {
    facts.isolation = readWord(value, "isolation", here, findings, sandboxLevels);
  }
  if (value.phase === "compile") facts.phase = "compile";
  if (typeof value.leaked === "boolean") facts.leaked = value.leaked;
  if (typeof value.forced === "boolean") facts.forced = value.forced;
  return facts;
}
