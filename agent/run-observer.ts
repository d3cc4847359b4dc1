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

/** The part of the store that a run needs. */
export interface RunChannel {
  publish(channel: string, message: string): void;
  close(): Promise<void>;
}
