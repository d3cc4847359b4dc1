// Snippets, ends and nodes for tests of what is between a queue and a node: the nodes are commanded,
// everything else is real.

import type { SnippetNode } from "../../master/snippets/node.ts";
import type { Snippet, SnippetEnd } from "../../master/snippets/snippet.ts";
import { newSnippetId } from "../../master/snippets/snippet-id.ts";
import type { Assignment, AssignmentEnd, AssignmentListener } from "../../protocol/assignment.ts";
import type { Failure, SandboxLevel } from "../../protocol/outcome.ts";

export function snippetOf(change: Partial<Snippet> = {}): Snippet {
  return {
    id: newSnippetId(Date.now()),
    owner: "",
    language: "python",
    priority: 5,
    task: {
      run: { kind: "python", code: "def main(): pass", function: "main" },
      graceMs: 100,
      retries: { limit: 0, lost: 2, backoffMs: 0, factor: 1, maxBackoffMs: 0, jitter: 0 },
      priority: 5,
      isolation: "seccomp",
    },
    files: [],
    levels: ["seccomp"],
    createdAt: Date.now(),
    ...change,
  };
}

export const succeeded: AssignmentEnd = {
  outcome: { kind: "succeeded" },
  facts: {},
  files: [],
  refused: [],
  finishedAt: 0,
};

export function failedBy(failure: Failure): AssignmentEnd {
  return { ...succeeded, outcome: { kind: "failed", failure } };
}

export function endOf(change: Partial<SnippetEnd> = {}): SnippetEnd {
  return { ...succeeded, stdout: Buffer.from(""), stderr: Buffer.from(""), ...change };
}

interface Given {
  assignment: Assignment;
  listener: AssignmentListener;
}

/** A node that does what the test says. */
export class CommandedNode implements SnippetNode {
  readonly id: string;
  slots = 1;
  cpus = 2;
  memoryBytes = 2 ** 30;
  levels: SandboxLevel[] = ["subprocess", "seccomp"];
  runtimes: Set<string> = new Set(["python", "node", "shell"]);
  readonly cancelled: string[] = [];
  readonly #given: Given[] = [];
  #waiting: ((given: Given) => void)[] = [];

  constructor(id: string, change: Partial<Pick<CommandedNode, "slots" | "memoryBytes">> = {}) {
    this.id = id;
    Object.assign(this, change);
  }

  assign(assignment: Assignment, listener: AssignmentListener): void {
    const given = { assignment, listener };
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#given.push(given);
    else waiting(given);
  }

  cancel(id: string, attempt: number): void {
    this.cancelled.push(`${id}#${attempt}`);
  }

  /** What was assigned and not asked for yet, in order. */
  next(): Promise<Given> {
    const given = this.#given.shift();
    if (given !== undefined) return Promise.resolve(given);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  get unasked(): number {
    return this.#given.length;
  }
}
