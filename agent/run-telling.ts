// Tells what becomes of attempts and tasks: the master by records, whoever observes the run, the run's
// log, and tasks that listen. Also hands the files of an attempt to the report. Decides nothing.
import { describeFailure } from "../protocol/describe.ts";
import type { LogLevel } from "../protocol/log.ts";
import type { Outcome } from "../protocol/outcome.ts";
import type { Command, Instance } from "./core/events.ts";
import type { RunState } from "./core/run-state.ts";
import type { AttemptEnd } from "./exec/attempt.ts";
import type { AttemptFinished } from "./journaled-event.ts";
import type { RunObserver } from "./run-observer.ts";
import { noFacts, type RunReport } from "./run-report.ts";

export interface TellingOptions {
  state: RunState;
  report: RunReport;
  observer: RunObserver;
  /** Into the run's log. */
  line(level: LogLevel, text: string): void;
  /** To tasks that listen: `task.KEY.WHAT`. */
  publish(key: string, what: string): void;
}

export class RunTelling {
  readonly #options: TellingOptions;

  constructor(options: TellingOptions) {
    this.#options = options;
  }

  /** `isOver`: its end is told next, and the master learns of both by that. */
  attemptStarted(task: string, attempt: number, isOver: boolean): void {
    const { report, observer, publish } = this.#options;
    if (!isOver) report.attemptStarted(task, attempt);
    publish(task, "started");
    observer.attemptStarted?.(task, attempt);
  }

  attemptFinished(event: AttemptFinished, commands: readonly Command[]): void {
    const { state, report, observer } = this.#options;
    const { task: instance, attempt, outcome, facts = noFacts, result, file } = event;
    const key = state.keyOf(instance);
    const isFinal = state.stateOf(instance).id === "finished";
    const end: AttemptEnd = { outcome, facts };
    if (result !== undefined) end.result = result;
    if (file !== undefined) end.file = file;
    report.attemptFinished({ task: key, attempt, isFinal }, end);
    this.keepFiles(event);
    const retry = commands.find((c) => c.type === "announce-retry");
    if (outcome.kind === "failed") {
      const next =
        retry === undefined ? "" : `; next attempt in ${Math.max(0, retry.at - event.now)} ms`;
      this.#options.line(
        retry === undefined ? "error" : "warn",
        `${key}#${attempt} failed: ${describeFailure(outcome.failure)}${next}`,
      );
    }
    if (observer.attemptFinished === undefined) return;
    const told = retry === undefined ? end : { ...end, retryAt: retry.at };
    observer.attemptFinished(key, attempt, told);
  }

  /** Also after a restart: files that are on record already are not recorded again. */
  keepFiles(event: AttemptFinished): void {
    const { state, report } = this.#options;
    const { task: instance, attempt, outcome, file } = event;
    const key = state.keyOf(instance);
    if (file !== undefined && !report.keepResult(key, attempt, file)) {
      this.#options.line("warn", `the result of ${key} is gone: what needs it will fail`);
    }
    const { outputs } = state.taskOf(instance);
    if (event.artifacts !== undefined) {
      for (const path of event.artifacts) report.addArtifact(key, attempt, { name: path, path });
      return;
    }
    if (outcome.kind === "succeeded" && outputs !== undefined) {
      report.collectOutputs(key, attempt, outputs);
    }
  }

  taskFinished(instance: Instance, outcome: Outcome): void {
    const { state, report, observer } = this.#options;
    const key = state.keyOf(instance);
    const hadAttempt = state.attemptOf(instance) > 0 && outcome.kind !== "skipped";
    if (!hadAttempt) {
      report.taskFinished(key, outcome);
      // Nothing else tells why: there is no attempt that failed.
      if (outcome.kind === "failed") {
        this.#options.line("error", `${key} failed: ${describeFailure(outcome.failure)}`);
      }
    }
    this.#options.publish(key, outcome.kind);
    observer.taskFinished?.(key, outcome);
  }
}
