// The end of a run that cannot even be opened: it has failed, its log says why, the master is told.
import type { RunSummary } from "../protocol/link.ts";
import type { LogLevel } from "../protocol/log.ts";
import type { RunOutcome } from "../protocol/outcome.ts";
import type { Journal } from "./journal/journal.ts";
import { RunLog } from "./log/run-log.ts";

export interface UnopenedEnd {
  outcome: RunOutcome;
  summary: RunSummary;
}

export interface UnopenedParts {
  journal: Journal;
  stateDir: string;
  say(level: LogLevel, text: string): void;
}

/** To be committed by the caller. */
export function closeUnopened(run: string, why: string, parts: UnopenedParts): UnopenedEnd {
  const { journal } = parts;
  addLastLine(run, `the run cannot go on: ${why}`, parts);
  const outcome: RunOutcome = { kind: "failed", failed: [] };
  const nothing = { tasks: 0, succeeded: 0, failed: 0, skipped: 0, cancelled: 0, attempts: 0 };
  const summary: RunSummary = { ...nothing, wallMs: 0 };
  journal.record({ type: "run-finished", run, time: Date.now(), outcome, summary });
  journal.finishRun(run, outcome);
  return { outcome, summary };
}

/** For whoever reads the run's log: nothing else would tell why it has no further lines. */
function addLastLine(run: string, text: string, { journal, stateDir, say }: UnopenedParts): void {
  const opened = RunLog.open({
    stateDir,
    run,
    onChunk: (chunk) => journal.recordLogChunk({ run, time: Date.now(), ...chunk }),
    isHeld: (segment) => journal.holdsSegment(run, segment),
  });
  if (!opened.ok) {
    say("warn", `run ${run}: ${opened.diagnostics[0]?.message}`);
    return;
  }
  opened.value.agent("error", text);
  opened.value.close();
}
