// What the journal keeps of a run: the events of the scheduler with what came along with them, and
// notes of the shell. After a restart they are read in the same order.
import type { Json } from "../protocol/json.ts";
import type { CancelledBy, Facts } from "../protocol/outcome.ts";
import type { RunEvent } from "./core/events.ts";
import type { ResultFile } from "./exec/attempt.ts";

/** A copy that is on record; earlier releases did not note it. */
export interface KeptObject {
  kind: "result" | "artifact";
  task: string;
  attempt: number;
  name: string;
  path: string;
  sizeBytes: number;
  sha256: string;
}

/** What the journal keeps of an event: the event itself, and what came with it. */
export type JournaledEvent =
  | Exclude<RunEvent, { type: "attempt-finished" }>
  | (Extract<RunEvent, { type: "attempt-finished" }> & {
      facts?: Facts;
      result?: Json;
      file?: ResultFile;
      /** Paths of what a sandbox left, in the run's working folder. */
      artifacts?: string[];
    })
  /** Not for the scheduler: a large result or artifact is on record. */
  | { type: "object-kept"; key: string; object?: KeptObject }
  /** Not for the scheduler: a task has named an artifact, which may not be on record yet. */
  | { type: "artifact-named"; task: string; attempt: number; path: string; name?: string }
  /** Not for the scheduler: cancelled before it began, which it is told when it begins. */
  | { type: "cancel-asked"; by: CancelledBy };

export type AttemptFinished = Extract<JournaledEvent, { type: "attempt-finished" }>;

type Note = Extract<JournaledEvent, { type: "object-kept" | "artifact-named" | "cancel-asked" }>;

export function isForScheduler(event: JournaledEvent): event is Exclude<JournaledEvent, Note> {
  const { type } = event;
  return type !== "object-kept" && type !== "artifact-named" && type !== "cancel-asked";
}
