// Outcomes in words, for logs and people.
import type { Failure, RunOutcome } from "./outcome.ts";

/** A failure in one sentence, for people. */
export function describeFailure(failure: Failure): string {
  switch (failure.reason) {
    case "exit-code":
      return `it ended with exit code ${failure.code}`;
    case "signal":
      return `it was ended by ${failure.signal}`;
    case "bad-result":
      return `${failure.detail}${placeOf(failure)}`;
    case "timeout":
      return `it took longer than ${failure.limitMs} ms`;
    case "cpu-time":
      return `it used more than ${failure.limitMs} ms of CPU time`;
    case "out-of-memory":
      return failure.limitBytes === undefined
        ? "it ran out of memory"
        : `it used more than ${failure.limitBytes} bytes of memory`;
    case "output-limit":
      return `it wrote more than ${failure.limitBytes} bytes`;
    case "pids-limit":
      return `it made more than ${failure.limit} processes`;
    case "disk-limit":
      return `it wrote more than ${failure.limitBytes} bytes to disk`;
    case "spawn":
      return `it could not be started: ${failure.detail} (${failure.errno})`;
    case "sandbox":
    case "backend":
      return failure.detail;
    case "lost":
      return `it was lost${failure.detail === undefined ? "" : `: ${failure.detail}`}`;
    case "internal":
      return `a bug of edgedag: ${failure.detail}`;
  }
}

function placeOf({ line, column }: { line?: number; column?: number }): string {
  if (line === undefined) return "";
  return ` (line ${line}${column === undefined ? "" : `, column ${column}`})`;
}

/** `succeeded`, `failed (a, b)` or `was cancelled by user`. */
export function describeRun(outcome: RunOutcome): string {
  if (outcome.kind === "succeeded") return "succeeded";
  if (outcome.kind === "cancelled") return `was cancelled by ${outcome.by}`;
  const { failed } = outcome;
  const more = failed.length > 5 ? ` and ${failed.length - 5} more` : "";
  return `failed (${failed.slice(0, 5).join(", ")}${more})`;
}
