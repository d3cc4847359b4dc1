// One attempt at a snippet while a node runs it: what it has written so far, who watches, and its
// end. Bounds what it keeps by the snippet's own limit, whatever a node says. Decides nothing.
import type { AssignmentEnd } from "../../protocol/assignment.ts";
import type { Snippet, SnippetEnd } from "./snippet.ts";

export type Stream = "stdout" | "stderr";

export type FlightEvent =
  | { type: "started"; at: number }
  | { type: "output"; stream: Stream; bytes: Uint8Array };

/** Output of one attempt where its snippet names no limit. */
export const defaultOutputBytes = 2 ** 20;

export class Flight {
  readonly snippet: Snippet;
  readonly attempt: number;
  readonly node: string;
  startedAt: number | undefined;
  readonly #limitBytes: number;
  readonly #chunks: { stream: Stream; bytes: Uint8Array }[] = [];
  readonly #watchers = new Set<(event: FlightEvent) => void>();
  #keptBytes = 0;
  #droppedBytes = 0;

  constructor(snippet: Snippet, attempt: number, node: string) {
    this.snippet = snippet;
    this.attempt = attempt;
    this.node = node;
    this.#limitBytes = snippet.task.limits?.outputBytes ?? defaultOutputBytes;
  }

  started(at: number): void {
    this.startedAt ??= at;
    this.#tell({ type: "started", at });
  }

  output(stream: Stream, bytes: Uint8Array): void {
    const left = this.#limitBytes - this.#keptBytes;
    const kept = bytes.length <= left ? bytes : bytes.subarray(0, left);
    this.#droppedBytes += bytes.length - kept.length;
    if (kept.length === 0) return;
    this.#keptBytes += kept.length;
    this.#chunks.push({ stream, bytes: kept });
    this.#tell({ type: "output", stream, bytes: kept });
  }

  /** Tells everything so far, then what comes; gives the way to stop it. */
  watch(watcher: (event: FlightEvent) => void): () => void {
    if (this.startedAt !== undefined) watcher({ type: "started", at: this.startedAt });
    for (const chunk of this.#chunks) watcher({ type: "output", ...chunk });
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  endOf(end: AssignmentEnd): SnippetEnd {
    const facts = { ...end.facts };
    if (this.#droppedBytes > 0) facts.droppedBytes ??= this.#droppedBytes;
    return {
      ...end,
      facts,
      stdout: this.#written("stdout"),
      stderr: this.#written("stderr"),
      node: this.node,
    };
  }

  #written(stream: Stream): Uint8Array {
    const parts = this.#chunks.filter((chunk) => chunk.stream === stream);
    const [only] = parts;
    if (only === undefined) return new Uint8Array();
    return parts.length === 1 ? only.bytes : Buffer.concat(parts.map(({ bytes }) => bytes));
  }

  #tell(event: FlightEvent): void {
    for (const watcher of this.#watchers) watcher(event);
  }
}
