// The ticket of a snippet that a caller waits for on an open connection: kept nowhere, since nobody
// could ask for its end later. A caller that went away has it cancelled.
import type { Ticket } from "./dispatcher.ts";
import type { Flight } from "./flight.ts";
import type { Snippet, SnippetEnd } from "./snippet.ts";
import type { QueueItem } from "./store/store.ts";

export interface CallParts {
  /** It waits again, after an attempt that came to nothing. */
  enqueue(ticket: Ticket): void;
}

export class CallTicket implements Ticket {
  readonly item: QueueItem;
  readonly end = Promise.withResolvers<{ attempt: number; end: SnippetEnd }>();
  /** Told when it has got a place, before it runs there. */
  onPlace: (() => void) | undefined;
  /** Told when it begins to run. */
  onStart: (() => void) | undefined;
  readonly #snippet: Snippet;
  readonly #parts: CallParts;
  #attempt = 0;
  #isGivenUp = false;

  constructor(snippet: Snippet, parts: CallParts) {
    const { id, language, priority, owner, createdAt } = snippet;
    this.item = { id, language, priority, owner, createdAt };
    this.#snippet = snippet;
    this.#parts = parts;
  }

  get hasPlace(): boolean {
    return this.#attempt > 0;
  }

  /** Nobody waits any more. */
  giveUp(): void {
    this.#isGivenUp = true;
  }

  async claim(): Promise<{ snippet: Snippet; attempt: number } | undefined> {
    if (this.#isGivenUp) return undefined;
    this.#attempt += 1;
    if (this.#attempt === 1) this.onPlace?.();
    return { snippet: this.#snippet, attempt: this.#attempt };
  }

  started(_flight: Flight): void {
    this.onStart?.();
  }

  async again(_attempt: number, delayMs: number): Promise<void> {
    if (this.#isGivenUp) return;
    setTimeout(() => this.#parts.enqueue(this), delayMs);
  }

  async ended(attempt: number, end: SnippetEnd): Promise<void> {
    this.end.resolve({ attempt, end });
  }
}
