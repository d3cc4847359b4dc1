// What carries the ids of queued snippets to the schedulers, in one queue a language. A broker keeps
// no truth: what an id stands for, and whether it has ended, the store knows. Deliveries may come
// twice; the store's claims make that harmless.
import type { QueueItem } from "../store/store.ts";

export interface Delivery {
  readonly item: QueueItem;
  /** It was delivered before, here or elsewhere. */
  readonly isRedelivered: boolean;
  /** The snippet has an end in the store: the broker may forget it. Once only. */
  done(): void;
  /** To be delivered again, after `delayMs` at the earliest. Once only, instead of `done`. */
  again(delayMs: number): void;
  /** It cannot be worked on, ever: set aside for people to look at. Once only, instead of `done`. */
  reject(why: string): void;
}

export interface BrokerEvents {
  /** Never throws. */
  delivered(delivery: Delivery): void;
  /** Deliveries that are not settled are void: they will come again. */
  lost(detail: string): void;
  /** Connected, at first or again. */
  ready(): void;
}

export interface Broker {
  readonly name: "embedded" | "rabbitmq";
  /** Messages survive by themselves: the store must note what was published. */
  readonly isExternal: boolean;
  /**
   * Begins to deliver the queues of these languages. `window`: how many deliveries of a language may be unsettled at a
   * time. Called once; resolves when it delivers, or when it goes on trying in the background.
   */
  start(languages: readonly string[], window: number, events: BrokerEvents): Promise<void>;
  /** Resolves when the broker keeps all of them; rejects with BrokerDown when it cannot now. */
  publish(items: readonly QueueItem[]): Promise<void>;
  /** Ready and unsettled messages, by language; a language without messages may be absent. */
  depths(): Promise<{ [language: string]: number }>;
  /** For health: undefined when it works. */
  problem(): string | undefined;
  /** No delivery from here on; what is not settled comes again elsewhere. */
  close(): Promise<void>;
}

/** The broker cannot be reached; the same can be tried again. */
export class BrokerDown extends Error {
  readonly remedy: string;

  constructor(message: string, remedy: string) {
    super(message);
    this.name = "BrokerDown";
    this.remedy = remedy;
  }
}
