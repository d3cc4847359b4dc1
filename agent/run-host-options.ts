// What a run needs of the agent that hosts it.
import type { Json } from "../protocol/json.ts";
import type { RunSummary } from "../protocol/link.ts";
import type { RunOutcome } from "../protocol/outcome.ts";
import type { AttemptFactory } from "./attempt-factory.ts";
import type { Capacity } from "./core/events.ts";
import type { RunState } from "./core/run-state.ts";
import type { Executor } from "./exec/attempt.ts";
import type { Gpus } from "./gpus.ts";
import type { Journal } from "./journal/journal.ts";
import type { RunLog } from "./log/run-log.ts";
import type { RunOrphans } from "./orphans.ts";
import type { RunObserver } from "./run-observer.ts";
import type { RunReport } from "./run-report.ts";
import type { RunResults } from "./run-results.ts";
import type { Mask } from "./secrets/mask.ts";

/** How a run has ended, for its receipt. */
export interface RunEnd {
  startedAt: number;
  finishedAt: number;
  outcome: RunOutcome;
  summary: RunSummary;
}

export interface RunHostOptions {
  run: string;
  digest: string;
  params: { [name: string]: Json };
  state: RunState;
  results: RunResults;
  factory: AttemptFactory;
  executor: Executor;
  journal: Pick<Journal, "append" | "finishRun">;
  log: RunLog;
  report: RunReport;
  observer: RunObserver;
  capacity: Capacity;
  gpus: Gpus;
  /** Of a run with secrets. */
  mask: Mask | undefined;
  /** The run's working folder. */
  work: string;
  /** Unix milliseconds that never jump. */
  now(): number;
  random(): number;
  /** Writes the journal; called at the end of each turn. False when it cannot be written now. */
  commit(): boolean;
  /** The same, and waits for what EDGEDAG_DURABILITY says. */
  commitForGood(): boolean;
  /** The log cannot be written, or (undefined) can again. */
  logStuck(problem: string | undefined): void;
  /** EDGEDAG_DURABILITY=power: a result counts only when it is on the disk, large ones too. */
  keepsFilesFirst: boolean;
  /** Bytes that went to the master since the agent's start; undefined without a master. */
  sentBytes(): number | undefined;
  /** Calls when all that was appended is kept. */
  whenKept(told: () => void): void;
  /**
   * Signs what was run and writes it down, when the log is closed. What it gives puts it on record: in
   * the same commit as the end. Absent: no receipts are made.
   */
  receipt: ((end: RunEnd) => Promise<() => void>) | undefined;
  /** A receipt could not be made. */
  onProblem(text: string): void;
  /** What an earlier agent has left running, and what goes on of it. */
  orphans: RunOrphans;
  /** Processes of this run outlive this agent. */
  holds: boolean;
  /** File name of the store's socket. */
  socket: string;
  /** The run has its outcome and everything about it is in the journal. */
  finished(outcome: RunOutcome, summary: RunSummary): void;
  /** A bug of ours: the run cannot go on. */
  broken(error: unknown): void;
}
