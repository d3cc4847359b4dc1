// What goes into the scheduler (past tense) and what comes out (imperative). Time, random numbers
// and measurements arrive inside events, so that a replay of the same events gives the same state.
import type { CancelledBy, Failure, Outcome, RunOutcome } from "../../protocol/outcome.ts";

/** Unix time in milliseconds. */
export type Millis = number;

/** Index of a task instance: a task of the document, or an item of a fan-out (from `size` on). */
export type Instance = number;

export interface Capacity {
  /** Attempts that may run at once. */
  slots: number;
  cpu: number;
  memoryBytes: number;
  gpu: number;
  /** A process may wait at the launcher for the end of another one. */
  lines?: true;
}

export type RunEvent =
  | { type: "run-started"; now: Millis; capacity: Capacity }
  | {
      type: "attempt-finished";
      task: Instance;
      attempt: number;
      outcome: Outcome;
      now: Millis;
      /** In [0, 1): the jitter of a retry that may follow. */
      random: number;
      /** How long it ran, where that was measured. */
      wallMs?: number;
    }
  /**
   * The attempt was handed out but not begun, and will not be: it does not count as one, and the
   * next gets its number. Of a `handed` one: to be sent after the end of the one before it, or when
   * it was told to stop. What counts on it needs no event of its own, and when one comes it must
   * come in the same turn: later it could be taken for a return of the next attempt of that number.
   */
  | { type: "attempt-returned"; task: Instance; attempt: number; now: Millis }
  | { type: "when-evaluated"; task: Instance; now: Millis; holds: boolean }
  | { type: "map-evaluated"; task: Instance; now: Millis; items: number }
  | { type: "evaluation-failed"; task: Instance; now: Millis; failure: Failure }
  /** Somebody published on this channel of the run's store. */
  | { type: "event-published"; channel: string; now: Millis }
  | { type: "time-passed"; now: Millis }
  | { type: "cancel-requested"; by: CancelledBy; now: Millis }
  /** No new attempt starts from here on; what runs may finish. */
  | { type: "drain-requested"; now: Millis }
  /**
   * The agent came back (after a drain or a crash) with this capacity. After a crash, better before
   * the attempts in flight are settled as lost, so that nothing starts under the old capacity.
   */
  | { type: "run-resumed"; now: Millis; capacity: Capacity }
  /** The attempt was in flight when the agent ended, and goes on: the launcher has kept it. */
  | { type: "attempt-adopted"; task: Instance; attempt: number; now: Millis }
  /** The agent has crashed: nothing is at a worker any more of what had not begun. */
  | { type: "agent-restarted"; now: Millis };

export type Command =
  | {
      type: "start-attempt";
      task: Instance;
      attempt: number;
      /**
       * Hand it to the worker that has this instance, to run right behind it and only if that
       * ended with success. Absent: start it now.
       */
      behind?: Instance;
      /** It runs behind that one whatever becomes of it; it may also be run elsewhere. */
      isFree?: true;
    }
  | { type: "stop-attempt"; task: Instance; attempt: number; by: CancelledBy }
  | { type: "evaluate-when"; task: Instance }
  | { type: "evaluate-map"; task: Instance }
  /** The task has its final outcome. */
  | { type: "finish-task"; task: Instance; outcome: Outcome }
  /** Another attempt of the task follows at `at`. */
  | { type: "announce-retry"; task: Instance; attempt: number; at: Millis }
  /** Send `time-passed` at this time; it replaces the one before. Too early is no harm. */
  | { type: "wake-at"; at: Millis }
  | { type: "finish-run"; outcome: RunOutcome }
  /** A drain was asked for and nothing runs any more. */
  | { type: "report-drained" };
