// How far a run is: its phase, what is left of it, its counters, and how it would end by now.
import type { CancelledBy, Outcome, RunOutcome } from "../../protocol/outcome.ts";
import type { Instance } from "./events.ts";
import type { RunGraph } from "./graph.ts";

/**
 * new       not started
 * tasks     ordinary tasks run
 * exit      all of them have finished, exit handlers run
 * finished  everything has its outcome, and so has the run
 */
export type Phase = "new" | "tasks" | "exit" | "finished";

/** Fan-outs and their items all count, in `total` as in the outcomes. */
export interface Counts {
  total: number;
  running: number;
  succeeded: number;
  failed: number;
  skipped: number;
  cancelled: number;
  /** Attempts that began; one that a worker gave back unrun has not. */
  attempts: number;
}

export class Progress {
  readonly #isExit: RunGraph["isExit"];
  readonly counts: Counts;
  readonly failedTasks: string[] = [];
  phase: Phase = "new";
  cancelledBy: CancelledBy | undefined;
  /** Ordinary tasks, and exit handlers, that have no outcome. */
  left: number;
  exitLeft: number;
  #taskCancelledBy: CancelledBy | undefined;
  #beforeExit: RunOutcome | undefined;

  constructor({ size, exitCount, isExit }: RunGraph) {
    this.#isExit = isExit;
    this.exitLeft = exitCount;
    this.left = size - exitCount;
    const none = { running: 0, succeeded: 0, failed: 0, skipped: 0, cancelled: 0, attempts: 0 };
    this.counts = { total: size, ...none };
  }

  get outcomeSoFar(): RunOutcome {
    return this.phase === "exit" && this.#beforeExit !== undefined
      ? this.#beforeExit
      : this.#outcome();
  }

  /** What exit handlers see from here on does not change by what becomes of them. */
  beginExit(): void {
    this.#beforeExit = this.#outcome();
    this.phase = "exit";
  }

  /** The slot's first instance runs (or has yet to stop): its attempt counts. */
  begin(): void {
    this.counts.running += 1;
    this.counts.attempts += 1;
  }

  /** `fault`: the key of a task whose failure fails the run. */
  finishTask(instance: Instance, outcome: Outcome, fault: string | undefined): void {
    this.counts[outcome.kind] += 1;
    if (this.#isExit[instance] === 1) this.exitLeft -= 1;
    else this.left -= 1;
    if (fault !== undefined) this.failedTasks.push(fault);
    if (outcome.kind === "cancelled") this.#taskCancelledBy ??= outcome.by;
  }

  finishItem(outcome: Outcome): void {
    this.counts[outcome.kind] += 1;
  }

  #outcome(): RunOutcome {
    if (this.cancelledBy !== undefined) return { kind: "cancelled", by: this.cancelledBy };
    if (this.failedTasks.length > 0) return { kind: "failed", failed: [...this.failedTasks] };
    // One attempt was ended by somebody else than the run: what was left out is not a success.
    const by = this.#taskCancelledBy;
    return by === undefined ? { kind: "succeeded" } : { kind: "cancelled", by };
  }
}
