// A node behind the link: what is assigned to it, what it has said of it, and what is made of a
// connection that is lost. An assignment outlives its connection for a while, because a node goes on
// without one and says everything again when it is back. Trusts nothing that a node says beyond what
// it was asked for.
import type { Assignment, AssignmentListener, SnippetFile } from "../../protocol/assignment.ts";
import type { MasterToAgent, SnippetAttempt, SnippetWord } from "../../protocol/link.ts";
import { frameLimitBytes } from "../../protocol/link-decode.ts";
import { type SandboxLevel, sandboxLevels } from "../../protocol/outcome.ts";
import type { Logger } from "../clock.ts";
import type { Hello } from "../nodes/nodes.ts";
import type { SnippetNode } from "./node.ts";

export interface LinkNodeOptions {
  hello: Hello;
  send(message: MasterToAgent): void;
  /** How long what it runs is waited for when its connection is lost. */
  graceMs: number;
  log: Logger;
}

interface Assigned {
  assignment: Assignment;
  listener: AssignmentListener;
  isStarted: boolean;
  parts: number;
  files: Map<string, { sizeBytes: number; pieces: Buffer[] }>;
  fileBytes: number;
}

/** Of all files of one end together. */
const mostFileBytes = 128 * 2 ** 20;

export class LinkNode implements SnippetNode {
  readonly id: string;
  readonly slots: number;
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly levels: readonly SandboxLevel[];
  readonly runtimes: ReadonlySet<string>;
  readonly #options: LinkNodeOptions;
  readonly #assigned = new Map<string, Assigned>();
  #send: ((message: MasterToAgent) => void) | undefined;
  #lost: NodeJS.Timeout | undefined;

  constructor(options: LinkNodeOptions) {
    const { node, snippetSlots = 0, capabilities } = options.hello;
    this.#options = options;
    this.id = node;
    this.slots = snippetSlots;
    this.cpus = capabilities.cores;
    this.memoryBytes = capabilities.memoryBytes;
    this.levels = sandboxLevels.filter((level) => capabilities.levels.includes(level));
    this.runtimes = new Set(Object.keys(capabilities.languages));
    this.#send = options.send;
  }

  get boot(): string {
    return this.#options.hello.boot;
  }

  get isConnected(): boolean {
    return this.#send !== undefined;
  }

  /** Nothing that was assigned is without an end. */
  get isIdle(): boolean {
    return this.#assigned.size === 0;
  }

  assign(assignment: Assignment, listener: AssignmentListener): void {
    if (this.#send === undefined) {
      listener.ended({ kind: "returned", detail: `node ${this.id} is not connected` });
      return;
    }
    const { id, attempt, task, files, folders = [] } = assignment;
    const message: MasterToAgent = {
      type: "snippet-assigned",
      id,
      attempt,
      task,
      files: [...files],
      folders: [...folders],
    };
    const bytes = Buffer.byteLength(JSON.stringify(message));
    if (bytes > frameLimitBytes) {
      const detail = `code and files have ${bytes} bytes as JSON; a node can be sent ${frameLimitBytes}`;
      listener.ended({
        kind: "ended",
        outcome: { kind: "failed", failure: { reason: "bad-result", detail } },
        facts: {},
        files: [],
        refused: [],
        finishedAt: Date.now(),
      });
      return;
    }
    this.#assigned.set(keyOf(assignment), {
      assignment,
      listener,
      isStarted: false,
      parts: 0,
      files: new Map(),
      fileBytes: 0,
    });
    this.#send(message);
  }

  cancel(id: string, attempt: number): void {
    this.#send?.({ type: "snippet-cancel", id, attempt });
  }

  /** The same agent process is back. */
  reconnected(send: (message: MasterToAgent) => void): void {
    clearTimeout(this.#lost);
    this.#send = send;
  }

  disconnected(): void {
    this.#send = undefined;
    clearTimeout(this.#lost);
    this.#lost = setTimeout(() => this.lose("it did not come back"), this.#options.graceMs).unref();
  }

  /** What it runs is given up. */
  lose(detail: string): void {
    clearTimeout(this.#lost);
    const lost = [...this.#assigned.values()];
    this.#assigned.clear();
    for (const { listener } of lost) {
      listener.ended({ kind: "lost", detail: `node ${this.id} was lost: ${detail}` });
    }
  }

  said(word: SnippetWord): void {
    if (word.type === "snippets-held") {
      this.#held(word.held);
      return;
    }
    const { id, attempt } = word;
    const assigned = this.#assigned.get(keyOf(word));
    if (assigned === undefined) {
      // Given up, or of an earlier master: it counts for nothing any more.
      this.cancel(id, attempt);
      if (word.type === "snippet-ended" || word.type === "snippet-returned") this.#settle(word);
      return;
    }
    switch (word.type) {
      case "snippet-started":
        if (!assigned.isStarted) assigned.listener.started(word.at);
        assigned.isStarted = true;
        return;
      case "snippet-output":
        // Said again after a new connection.
        if (word.part <= assigned.parts) return;
        assigned.parts = word.part;
        assigned.listener.output(word.stream, Buffer.from(word.data, "base64"));
        return;
      case "snippet-file":
        this.#file(assigned, word);
        return;
      case "snippet-returned":
        this.#assigned.delete(keyOf(word));
        assigned.listener.ended({ kind: "returned", detail: word.detail });
        this.#settle(word);
        return;
      case "snippet-ended":
        this.#ended(assigned, word);
        return;
    }
  }

  #held(held: readonly SnippetAttempt[]): void {
    const there = new Set(held.map(keyOf));
    for (const [key, { assignment, listener }] of this.#assigned) {
      if (there.has(key)) continue;
      // It was on its way when the connection broke.
      const { id, attempt } = assignment;
      this.#options.log.warn({ snippet: id, attempt, node: this.id }, "the node does not have it");
      this.#assigned.delete(key);
      listener.ended({ kind: "returned", detail: `node ${this.id} does not have it` });
    }
    for (const attempt of held) {
      if (!this.#assigned.has(keyOf(attempt))) this.cancel(attempt.id, attempt.attempt);
    }
  }

  #file(assigned: Assigned, word: Extract<SnippetWord, { type: "snippet-file" }>): void {
    const { name, part, sizeBytes } = word;
    const file = assigned.files.get(name) ?? { sizeBytes, pieces: [] };
    assigned.files.set(name, file);
    if (part !== file.pieces.length + 1) return; // said again
    const piece = Buffer.from(word.data, "base64");
    assigned.fileBytes += piece.length;
    if (assigned.fileBytes <= mostFileBytes) file.pieces.push(piece);
  }

  #ended(assigned: Assigned, word: Extract<SnippetWord, { type: "snippet-ended" }>): void {
    this.#assigned.delete(keyOf(word));
    const refused = [...word.refused];
    const files: SnippetFile[] = [];
    for (const [name, { sizeBytes, pieces }] of assigned.files) {
      const content = Buffer.concat(pieces);
      if (content.length === sizeBytes) files.push({ name, sizeBytes, content });
      else refused.push({ path: name, why: "it did not arrive whole" });
    }
    const { outcome, facts, result, finishedAt } = word;
    assigned.listener.ended({
      kind: "ended",
      outcome,
      facts,
      ...(result === undefined ? {} : { result }),
      files,
      refused,
      finishedAt,
    });
    this.#settle(word);
  }

  #settle({ id, attempt }: SnippetAttempt): void {
    this.#send?.({ type: "snippet-settled", id, attempt });
  }
}

function keyOf({ id, attempt }: SnippetAttempt): string {
  return `${id}#${attempt}`;
}
