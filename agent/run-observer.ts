// Those who look on while a run goes on, and the channel by which its tasks reach the agent.
import type { Outcome } from "../protocol/outcome.ts";
import type { AttemptEnd } from "./exec/attempt.ts";

/** What a person or a test sees of a run while it goes on. Calls must be quick. */
export interface RunObserver {
  attemptStarted?(task: string, attempt: number): void;
  attemptFinished?(task: string, attempt: number, end: AttemptEnd & { retryAt?: number }): void;
  taskFinished?(task: string, outcome: Outcome): void;
  progress?(task: string, fraction: number, text?: string): void;
}

/** Ends are told when they are kept: whoever hears of one may rely on it, whatever happens next. */
export function tellWhenKept(
  observer: RunObserver,
  whenKept: (told: () => void) => void,
): RunObserver {
  const { attemptStarted, attemptFinished, taskFinished, progress } = observer;
  const told: RunObserver = {};
  if (attemptStarted !== undefined) told.attemptStarted = attemptStarted.bind(observer);
  if (progress !== undefined) told.progress = progress.bind(observer);
  if (attemptFinished !== undefined) {
    told.attemptFinished = (task, attempt, end) =>
      whenKept(() => attemptFinished.call(observer, task, attempt, end));
  }
  if (taskFinished !== undefined) {
    told.taskFinished = (task, outcome) =>
      whenKept(() => taskFinished.call(observer, task, outcome));
  }
  return told;
}

/** The part of the store that a run needs. */
export interface RunChannel {
  /** False: nobody would hear it. */
  isHeard(): boolean;
  publish(channel: string, message: string): void;
  close(): Promise<void>;
}
