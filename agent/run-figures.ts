// What a run measures of itself, so that users see on their own machine what it costs beyond its
// tasks: the pause between two tasks, the agent's own time, bytes to the master. Decides nothing.
import type { RunSummary } from "../protocol/link.ts";
import type { RunState } from "./core/run-state.ts";
import { Percentiles } from "./percentiles.ts";

export class RunFigures {
  /** From a task's end to its successor's start, in milliseconds. */
  readonly gaps = new Percentiles();
  readonly #sentBytes: () => number | undefined;
  readonly #sentAtStart: number;
  #schedulerMs = 0;
  #attemptsMs = 0;

  /** `sentBytes`: to the master since the agent's start; undefined without a master. */
  constructor(sentBytes: () => number | undefined) {
    this.#sentBytes = sentBytes;
    this.#sentAtStart = sentBytes() ?? 0;
  }

  /** A turn of the run has taken that long, its events, commands, log and journal together. */
  addTurn(ms: number): void {
    this.#schedulerMs += ms;
  }

  addAttempt(wallMs: number): void {
    this.#attemptsMs += wallMs;
  }

  summary(state: RunState, wallMs: number): RunSummary {
    const { succeeded, failed, skipped, cancelled, attempts, total } = state.counts;
    const p50 = this.gaps.at(0.5);
    const p99 = this.gaps.at(0.99);
    const sent = this.#sentBytes();
    const allMs = this.#schedulerMs + this.#attemptsMs;
    return {
      tasks: total,
      succeeded,
      failed,
      skipped,
      cancelled,
      attempts,
      wallMs: Math.round(wallMs),
      ...(p50 === undefined ? {} : { interTaskP50Ms: rounded(p50) }),
      ...(p99 === undefined ? {} : { interTaskP99Ms: rounded(p99) }),
      schedulerMs: rounded(this.#schedulerMs),
      ...(allMs === 0 ? {} : { overheadShare: rounded(this.#schedulerMs / allMs) }),
      ...(sent === undefined ? {} : { uplinkBytes: sent - this.#sentAtStart }),
    };
  }
}

function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}
