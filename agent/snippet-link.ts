// Snippets that come over the link: assigned, started, told of piece by piece, and kept here until the
// master has settled them. After a new connection everything that is not settled is said again; the
// master knows pieces by their number. Bounded by the snippets' own limits times the slots.
import type { AssignmentEnd } from "../protocol/assignment.ts";
import type { SnippetAttempt, SnippetOrder, SnippetWord } from "../protocol/link.ts";
import type { Snippets } from "./snippets.ts";

const filePieceBytes = 2 ** 20;
/** A stream is told in pieces of at most so many bytes. */
const outputPieceBytes = 2 ** 20;

interface Kept {
  attempt: SnippetAttempt;
  /** What was said of it, in order. */
  words: SnippetWord[];
  parts: number;
}

export class SnippetLink {
  readonly #snippets: Pick<Snippets, "start" | "cancel">;
  readonly #say: (word: SnippetWord) => void;
  readonly #kept = new Map<string, Kept>();

  /** `say` may be called while there is no connection: it is lost then, and said again later. */
  constructor(snippets: Pick<Snippets, "start" | "cancel">, say: (word: SnippetWord) => void) {
    this.#snippets = snippets;
    this.#say = say;
  }

  connected(): void {
    const held = [...this.#kept.values()].map(({ attempt }) => attempt);
    this.#say({ type: "snippets-held", held });
    for (const { words } of this.#kept.values()) for (const word of words) this.#say(word);
  }

  ordered(order: SnippetOrder): void {
    const { id, attempt } = order;
    switch (order.type) {
      case "snippet-assigned":
        this.#assigned(order);
        return;
      case "snippet-cancel":
        this.#snippets.cancel(id, attempt);
        return;
      case "snippet-settled":
        this.#kept.delete(keyOf(order));
        return;
    }
  }

  #assigned(order: Extract<SnippetOrder, { type: "snippet-assigned" }>): void {
    const { id, attempt, task, files, folders } = order;
    const key = keyOf(order);
    // Said again after a loss: it runs, or has ended, and that is told anew.
    if (this.#kept.has(key)) return;
    const kept: Kept = { attempt: { id, attempt }, words: [], parts: 0 };
    this.#kept.set(key, kept);
    const which = { id, attempt };
    this.#snippets.start(
      { id, attempt, task, files, folders },
      {
        started: (at) => this.#tell(kept, { type: "snippet-started", ...which, at }),
        output: (stream, bytes) => {
          for (let from = 0; from < bytes.length; from += outputPieceBytes) {
            kept.parts += 1;
            const data = base64Of(bytes.subarray(from, from + outputPieceBytes));
            const part = kept.parts;
            this.#tell(kept, { type: "snippet-output", ...which, part, stream, data });
          }
        },
        ended: (end) => {
          if (end.kind === "ended") this.#ended(kept, end);
          else this.#tell(kept, { type: "snippet-returned", ...which, detail: end.detail });
        },
      },
    );
  }

  #ended(kept: Kept, end: AssignmentEnd): void {
    const which = kept.attempt;
    for (const { name, sizeBytes, content } of end.files) {
      const parts = Math.max(1, Math.ceil(content.length / filePieceBytes));
      for (let part = 1; part <= parts; part += 1) {
        const piece = content.subarray((part - 1) * filePieceBytes, part * filePieceBytes);
        const about = { name, part, parts, sizeBytes, data: base64Of(piece) };
        this.#tell(kept, { type: "snippet-file", ...which, ...about });
      }
    }
    const { outcome, facts, result, refused, finishedAt } = end;
    this.#tell(kept, {
      type: "snippet-ended",
      ...which,
      outcome,
      facts,
      ...(result === undefined ? {} : { result }),
      files: end.files.length,
      refused,
      finishedAt,
    });
  }

  #tell(kept: Kept, word: SnippetWord): void {
    kept.words.push(word);
    this.#say(word);
  }
}

function keyOf({ id, attempt }: SnippetAttempt): string {
  return `${id}#${attempt}`;
}

function base64Of(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}
