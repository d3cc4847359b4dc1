// What a node is told of a snippet that it is to run, and what it tells of its end: the same whether
// the node is in the master's own process or behind the link. Types only.
import type { ArtifactFile } from "./artifact.ts";
import type { TaskAttributes } from "./dag.ts";
import type { Json } from "./json.ts";
import type { Facts, Outcome } from "./outcome.ts";

/** One attempt at a snippet. */
export interface Assignment {
  id: string;
  attempt: number;
  /** With its isolation decided. Its strings are data: nothing in them is a template. */
  task: TaskAttributes;
  /** What it finds in its working folder. */
  files: readonly ArtifactFile[];
  /** Empty folders that it finds there. */
  folders?: readonly string[];
}

/** A file that a snippet left, small enough to be kept with its end. */
export interface SnippetFile {
  /** Relative to the working folder. */
  name: string;
  sizeBytes: number;
  content: Uint8Array;
}

/** How an attempt ended; what it wrote was told before. */
export interface AssignmentEnd {
  outcome: Outcome;
  facts: Facts;
  /** What a function returned, or a program left in the file named by EDGEDAG_RESULT. */
  result?: Json;
  files: SnippetFile[];
  /** Outputs that were not kept, with the reason. */
  refused: { path: string; why: string }[];
  /** Unix milliseconds. */
  finishedAt: number;
}

/** It has no end: it was never begun on that node and will not be, or the node is gone. */
export interface AssignmentGone {
  kind: "returned" | "lost";
  detail: string;
}

export interface AssignmentListener {
  /** Unix milliseconds with fractions. */
  started(at: number): void;
  output(stream: "stdout" | "stderr", bytes: Uint8Array): void;
  /** Exactly once, last. */
  ended(end: ({ kind: "ended" } & AssignmentEnd) | AssignmentGone): void;
}

/** Name of what must be there to run a task: `python`, `node`, `shell`, or a language of the registry. */
export function runtimeOf({ run }: Pick<TaskAttributes, "run">): string {
  if (run.kind === "code") return run.language;
  return run.kind === "command" ? "shell" : run.kind;
}
