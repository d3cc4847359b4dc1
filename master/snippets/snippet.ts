// A snippet: code, a function or a command that somebody sends in to be run once, in a sandbox. It is
// a DAG of one task, so what it may say, how it is limited and how it ends are the task's; what is
// its own is the way in (a door), the place in a queue, and the keeping of its end. Pure data.
import type { ArtifactFile } from "../../protocol/artifact.ts";
import type { AssignmentEnd } from "../../protocol/assignment.ts";
import type { TaskAttributes } from "../../protocol/dag.ts";
import type { CancelledBy, SandboxLevel } from "../../protocol/outcome.ts";

export type { SnippetFile } from "../../protocol/assignment.ts";

/** 0 is the lowest; 5 where nothing is said. */
export const priorities = { lowest: 0, normal: 5, highest: 9 } as const;

export interface Snippet {
  /** Sorts by time, unique; the "task id" of the HTTP API. */
  id: string;
  /** Name of the API key that it came with; "" where there are none. Fairness is between owners. */
  owner: string;
  /** Name of its queue: a language as the API calls it (`python`, `nodejs`, `c`), or `commands`. */
  language: string;
  /** 0 to 9. */
  priority: number;
  /**
   * The one task. Its strings are data: nothing in them is a template. `isolation` is the level of
   * `levels` that is preferred.
   */
  task: TaskAttributes;
  /** Files that it finds in its working folder. */
  files: ArtifactFile[];
  /** Empty folders that it finds there; of snippets that a caller waits for only. */
  folders?: string[];
  /** Levels that will do, the preferred one first. */
  levels: SandboxLevel[];
  /** URL that is told of the end. */
  callback?: string;
  /** Unix milliseconds. */
  createdAt: number;
}

export type SnippetState = "queued" | "running" | "finished";

/** How it ended, with everything that it leaves. */
export interface SnippetEnd extends AssignmentEnd {
  /** What it wrote, up to its output limit; `facts` count what was dropped. */
  stdout: Uint8Array;
  stderr: Uint8Array;
  /** Node that ran it; absent: none did. */
  node?: string;
}

/** What is known of a snippet. */
export interface SnippetRecord {
  snippet: Snippet;
  state: SnippetState;
  /** Tries so far; 0 while it has never been given to a node. */
  attempt: number;
  /** Unix milliseconds; of the attempt that runs, or of the one that decided. */
  startedAt?: number;
  end?: SnippetEnd;
  /** Somebody wants it cancelled; its attempt is being ended. */
  cancel?: CancelledBy;
}
