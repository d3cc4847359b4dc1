// A node that runs snippets, as the dispatcher sees it: one in this process, or one behind the link.
import type { ArtifactFile } from "../../protocol/artifact.ts";
import type { TaskAttributes } from "../../protocol/dag.ts";
import type { SandboxLevel } from "../../protocol/outcome.ts";
import type { SnippetEnd } from "./snippet.ts";

export interface Assignment {
  id: string;
  attempt: number;
  /** With `isolation` decided; its strings are data, not templates. */
  task: TaskAttributes;
  files: readonly ArtifactFile[];
}

export interface AssignmentListener {
  /** Unix milliseconds with fractions. */
  started(at: number): void;
  output(stream: "stdout" | "stderr", bytes: Uint8Array): void;
  /**
   * Exactly once, last. `returned`: it was never begun there and will not be. `lost`: the node is
   * gone; whether it goes on there is not known. `stdout` and `stderr` of the end are what `output` told.
   */
  ended(end: NodeEnd | { kind: "returned" | "lost"; detail: string }): void;
}

export type NodeEnd = { kind: "ended" } & Omit<SnippetEnd, "node" | "stdout" | "stderr">;

export interface SnippetNode {
  readonly id: string;
  /** Most snippets that it runs at once. */
  readonly slots: number;
  /** Levels that hold there. */
  readonly levels: readonly SandboxLevel[];
  /** Names of languages (of the registry, `python`, `node`, `shell`). */
  readonly languages: ReadonlySet<string>;
  assign(assignment: Assignment, listener: AssignmentListener): void;
  /** Ends it soon; its listener hears of the end as usual. Nothing when it is not there. */
  cancel(id: string, attempt: number): void;
}
