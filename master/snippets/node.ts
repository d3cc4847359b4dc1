// A node that runs snippets, as the dispatcher sees it: one in this process, or one behind the link.
import type { Assignment, AssignmentListener } from "../../protocol/assignment.ts";
import type { SandboxLevel } from "../../protocol/outcome.ts";

export interface SnippetNode {
  readonly id: string;
  /** Most snippets that it runs at once. */
  readonly slots: number;
  readonly cpus: number;
  readonly memoryBytes: number;
  /** Levels that hold there. */
  readonly levels: readonly SandboxLevel[];
  /** What it can run, as `runtimeOf` names it. */
  readonly runtimes: ReadonlySet<string>;
  assign(assignment: Assignment, listener: AssignmentListener): void;
  /** Ends it soon; its listener hears of the end as usual. Nothing when it is not there. */
  cancel(id: string, attempt: number): void;
}
