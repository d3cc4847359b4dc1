// The ticket of a snippet that the store keeps: claims it there, and forgets the broker's delivery
// only when its end is kept. While the store is away it waits: an end is never dropped.
import { setTimeout as delay } from "node:timers/promises";
import type { Clock, Logger } from "../clock.ts";
import type { Delivery } from "./broker/broker.ts";
import type { Ticket } from "./dispatcher.ts";
import type { Flight } from "./flight.ts";
import type { Snippet, SnippetEnd } from "./snippet.ts";
import type { QueueItem, SnippetStore } from "./store/store.ts";

export interface KeptTicketParts {
  store: SnippetStore;
  /** Who claims. */
  by: { master: string; boot: string };
  clock: Clock;
  log: Logger;
  /** The service ends: nothing is waited for any more. */
  signal: AbortSignal;
  /** One fewer, or one more, is queued. */
  queued(change: 1 | -1): void;
  /** It was given to a node, or has got an end. */
  changed(id: string): void;
  /** Told once of each end that counts. */
  finished(snippet: Snippet, attempt: number, end: SnippetEnd): void;
}

const storeAgainMs = 1000;
const leastTakenMs = 200;

export class KeptTicket implements Ticket {
  readonly item: QueueItem;
  readonly #parts: KeptTicketParts;
  readonly #delivery: Delivery;
  #snippet: Snippet | undefined;

  constructor(delivery: Delivery, parts: KeptTicketParts) {
    this.item = delivery.item;
    this.#delivery = delivery;
    this.#parts = parts;
  }

  async claim(): Promise<{ snippet: Snippet; attempt: number } | undefined> {
    const { store, by, clock, log } = this.#parts;
    try {
      const claim = await store.claim(this.item.id, by);
      switch (claim.kind) {
        case "claimed":
          this.#snippet = claim.snippet;
          this.#parts.queued(-1);
          return { snippet: claim.snippet, attempt: claim.attempt };
        case "finished":
          this.#delivery.done();
          return undefined;
        case "taken":
          this.#delivery.again(Math.max(leastTakenMs, claim.untilMs - clock()));
          return undefined;
        case "unknown":
          log.error(
            { snippet: this.item.id },
            "the queue holds an id that the store does not know",
          );
          this.#delivery.reject("the store does not know it");
          return undefined;
      }
    } catch (error) {
      log.warn({ snippet: this.item.id, error: String(error) }, "it cannot be claimed now");
      this.#delivery.again(storeAgainMs);
      return undefined;
    }
  }

  started({ attempt }: Flight, at: number): void {
    const { store, log, changed } = this.#parts;
    changed(this.item.id);
    store.started(this.item.id, attempt, at).catch((error: unknown) => {
      log.warn({ snippet: this.item.id, error: String(error) }, "its start is not noted");
    });
  }

  async again(attempt: number, delayMs: number): Promise<void> {
    await this.#insist(async () => {
      if (await this.#parts.store.release(this.item.id, attempt)) this.#parts.queued(1);
      this.#delivery.again(delayMs);
    });
  }

  async ended(attempt: number, end: SnippetEnd): Promise<void> {
    const { id } = this.item;
    const { finished, changed, signal } = this.#parts;
    // The service itself has ended it: it is the next start's, or another master's.
    if (signal.aborted && end.outcome.kind !== "succeeded") return await this.again(attempt, 0);
    await this.#insist(async () => {
      const isFirst = await this.#parts.store.finish(id, attempt, end);
      this.#delivery.done();
      if (isFirst && this.#snippet !== undefined) finished(this.#snippet, attempt, end);
      changed(id);
    });
  }

  /** Until it is done, or the service ends: then it is delivered again, and the claim is over. */
  async #insist(act: () => Promise<void>): Promise<void> {
    const { log, signal } = this.#parts;
    for (let pauseMs = 100; ; pauseMs = Math.min(pauseMs * 2, 5000)) {
      try {
        await act();
        return;
      } catch (error) {
        log.warn({ snippet: this.item.id, error: String(error) }, "the store takes no note now");
      }
      try {
        await delay(pauseMs, undefined, { signal });
      } catch {
        return; // the service ends
      }
    }
  }
}
