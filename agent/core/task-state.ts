// The states of a task instance and the moves between them. Every state owns just its own data.
import type { CancelledBy, Outcome } from "../../protocol/outcome.ts";
import type { Instance, Millis } from "./events.ts";

/**
 * waiting    some need is not met, or (exit handlers) other tasks have not finished
 * evaluating the shell works out `when` or `map`
 * awaiting   a `wait_for` event has not been published yet
 * ready      may start as soon as a slot, its pool and its resources are free
 * handed     given to a worker behind the instance `after`, on the condition that it succeeds
 * queued     given to a worker behind others, whatever becomes of them; another worker may take it
 * running    an attempt is in flight
 * stopping   the attempt was told to stop
 * delayed    backs off before its next attempt
 * expanded   a fan-out whose items have not all finished
 * finished   has its outcome, for ever
 */
export type TaskState =
  | { id: "waiting" }
  | { id: "evaluating"; what: "when" | "map" }
  | { id: "awaiting"; event: string; until?: Millis }
  | { id: "ready" }
  | { id: "handed"; after: Instance }
  | { id: "queued" }
  | { id: "running" }
  /** `wasQueued`: it was told to stop while it was queued. */
  | { id: "stopping"; by: CancelledBy; wasQueued?: true }
  | { id: "delayed"; until: Millis }
  | { id: "expanded" }
  | { id: "finished"; outcome: Outcome };

// States without data are shared: a hundred thousand finished tasks are one object.
export const WAITING: TaskState = { id: "waiting" };
export const READY: TaskState = { id: "ready" };
export const RUNNING: TaskState = { id: "running" };
export const QUEUED: TaskState = { id: "queued" };
export const SUCCEEDED: TaskState = { id: "finished", outcome: { kind: "succeeded" } };

export type StateId = TaskState["id"];

export const legalMoves = {
  waiting: ["evaluating", "awaiting", "ready", "handed", "finished"],
  evaluating: ["evaluating", "awaiting", "ready", "expanded", "finished"],
  awaiting: ["evaluating", "ready", "finished"],
  ready: ["running", "queued", "finished"],
  handed: ["running", "queued", "waiting", "stopping"],
  queued: ["running", "ready", "stopping", "delayed", "finished"],
  running: ["stopping", "delayed", "ready", "finished"],
  stopping: ["finished"],
  delayed: ["ready", "finished"],
  expanded: ["finished"],
  finished: [],
} as const satisfies Record<StateId, readonly StateId[]>;

export function isLegalMove(from: StateId, to: StateId): boolean {
  const moves: readonly StateId[] = legalMoves[from];
  return moves.includes(to);
}

/** A move that the table does not have: a bug of ours, with the moves that led to it. */
export class InvalidTransition extends Error {
  readonly story: readonly string[];
  constructor(task: string, from: StateId, to: StateId, story: readonly string[]) {
    super(`task ${task} cannot go from ${from} to ${to}`);
    this.name = "InvalidTransition";
    this.story = story;
  }
}
