// The broker without a broker: what is queued the store keeps, and this carries it to the one master
// there is, in memory. At the start it reads what the store has; from then on it passes on what is
// published. It keeps nothing that a restart would miss.
//
// All of it is delivered at once and `window` plays no part: nobody else could take what is left
// here, the fair queue must see everything to be fair, and how much may be queued the doors limit.
import type { QueueItem, SnippetStore } from "../store/store.ts";
import type { Broker, BrokerEvents, Delivery } from "./broker.ts";

export interface EmbeddedBrokerOptions {
  pageSize?: number;
  /** Until the next try where the store cannot be read. */
  retryMs?: number;
}

export class EmbeddedBroker implements Broker {
  readonly name = "embedded";
  readonly isExternal = false;
  readonly #store: Pick<SnippetStore, "queued">;
  readonly #pageSize: number;
  readonly #retryMs: number;
  readonly #unsettled = new Map<string, number>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #languages: ReadonlySet<string> = new Set();
  #events: BrokerEvents | undefined;
  /** While the store is read: what was delivered, which a page, or whoever publishes, may name too. */
  #delivered: Set<string> | undefined;
  #problem: string | undefined;

  constructor(
    store: Pick<SnippetStore, "queued">,
    { pageSize = 1000, retryMs = 1000 }: EmbeddedBrokerOptions = {},
  ) {
    this.#store = store;
    this.#pageSize = pageSize;
    this.#retryMs = retryMs;
  }

  async start(languages: readonly string[], _window: number, events: BrokerEvents): Promise<void> {
    this.#languages = new Set(languages);
    this.#events = events;
    this.#delivered = new Set();
    await this.#read(undefined);
  }

  /** The store has them: before the start and after the end there is nothing to do. */
  async publish(items: readonly QueueItem[]): Promise<void> {
    await Promise.resolve();
    for (const item of items) this.#first(item, false);
  }

  async depths(): Promise<{ [language: string]: number }> {
    return Object.fromEntries(this.#unsettled);
  }

  problem(): string | undefined {
    return this.#problem;
  }

  async close(): Promise<void> {
    this.#events = undefined;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    this.#unsettled.clear();
  }

  async #read(after: string | undefined): Promise<void> {
    let last = after;
    for (;;) {
      const page = await this.#page(last);
      if (this.#events === undefined) return;
      if (page === undefined) {
        this.#later(this.#retryMs, () => void this.#read(last));
        return;
      }
      // Whether an earlier process delivered them is not known, so it is not denied.
      for (const item of page) this.#first(item, true);
      last = page.at(-1)?.id;
      if (page.length < this.#pageSize) break;
    }
    this.#problem = undefined;
    this.#delivered = undefined;
    this.#events.ready();
  }

  async #page(after: string | undefined): Promise<QueueItem[] | undefined> {
    try {
      return await this.#store.queued(after, this.#pageSize);
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error);
      this.#problem = `what is queued cannot be read: ${detail}; it goes on trying`;
      return undefined;
    }
  }

  #first(item: QueueItem, isRedelivered: boolean): void {
    if (this.#events === undefined || !this.#languages.has(item.language)) return;
    if (this.#delivered?.has(item.id)) return;
    this.#delivered?.add(item.id);
    this.#count(item, 1);
    this.#deliver(item, isRedelivered);
  }

  #deliver(item: QueueItem, isRedelivered: boolean): void {
    let isSettled = false;
    const settle = (then: () => void) => {
      if (isSettled || this.#events === undefined) return;
      isSettled = true;
      then();
    };
    const delivery: Delivery = {
      item,
      isRedelivered,
      done: () => settle(() => this.#count(item, -1)),
      again: (delayMs) => settle(() => this.#later(delayMs, () => this.#deliver(item, true))),
      reject: () => settle(() => this.#count(item, -1)),
    };
    this.#events?.delivered(delivery);
  }

  #count({ language }: QueueItem, change: 1 | -1): void {
    const count = (this.#unsettled.get(language) ?? 0) + change;
    if (count === 0) this.#unsettled.delete(language);
    else this.#unsettled.set(language, count);
  }

  #later(delayMs: number, then: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      then();
    }, delayMs);
    timer.unref();
    this.#timers.add(timer);
  }
}
