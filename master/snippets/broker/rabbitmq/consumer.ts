// Takes deliveries from the queues of all languages on one channel, at most `window` unsettled ones
// of each, and settles them as it is told. It ends with its channel: what is not settled then comes
// again by the broker's own rules, and settling it means nothing any more.
import type { Channel, ConsumeMessage } from "amqplib";
import type { Logger } from "../../../clock.ts";
import type { Delivery } from "../broker.ts";
import { decode } from "./message.ts";
import { queueOf } from "./topology.ts";

export interface ConsumerOptions {
  channel: Channel;
  log: Logger;
  /** Never throws. */
  delivered(delivery: Delivery): void;
  /** Keeps a message where people look; rejects where that cannot be now. */
  setAside(message: ConsumeMessage, language: string, why: string): Promise<void>;
  /** The broker took the queue of a language away. */
  cancelled(language: string): void;
}

/** AMQP counts in 16 bits, and takes 0 for no limit. */
const mostPrefetch = 65_535;
/** Until a message comes again that could not be set aside. */
const setAsideAgainMs = 5000;

export class Consumer {
  readonly #options: ConsumerOptions;
  readonly #unsettled = new Map<string, number>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #isEnded = false;

  constructor(options: ConsumerOptions) {
    this.#options = options;
  }

  async begin(languages: readonly string[], window: number): Promise<void> {
    const { channel } = this.#options;
    // Without `global` it holds for each consumer that follows: for each language.
    await channel.prefetch(Math.min(window, mostPrefetch));
    for (const language of languages) {
      await channel.consume(queueOf(language), (message) => {
        if (this.#isEnded) return;
        if (message === null) this.#options.cancelled(language);
        else this.#receive(message, language);
      });
    }
  }

  unsettled(language: string): number {
    return this.#unsettled.get(language) ?? 0;
  }

  end(): void {
    this.#isEnded = true;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    this.#unsettled.clear();
  }

  #receive(message: ConsumeMessage, language: string): void {
    this.#count(language, 1);
    const read = decode(message, language);
    if ("wrong" in read) {
      this.#options.log.warn({ language, why: read.wrong }, "a message is set aside");
      this.#setAside(message, language, read.wrong);
      return;
    }
    let isSettled = false;
    const settle = (then: () => void) => {
      if (isSettled || this.#isEnded) return;
      isSettled = true;
      then();
    };
    this.#options.delivered({
      item: read.value,
      isRedelivered: message.fields.redelivered,
      done: () => settle(() => this.#ack(message, language)),
      again: (delayMs) => settle(() => this.#again(message, language, delayMs)),
      reject: (why) => settle(() => this.#setAside(message, language, why)),
    });
  }

  #ack(message: ConsumeMessage, language: string): void {
    this.#count(language, -1);
    this.#options.channel.ack(message);
  }

  /** It stays ours for the delay, and so counts in the window: a queue cannot be spun over. */
  #again(message: ConsumeMessage, language: string, delayMs: number): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#count(language, -1);
      this.#options.channel.nack(message, false, true);
    }, delayMs);
    this.#timers.add(timer);
  }

  /** Kept there first, then taken from here: in between it may be in both, never in none. */
  #setAside(message: ConsumeMessage, language: string, why: string): void {
    this.#options.setAside(message, language, why).then(
      () => {
        if (!this.#isEnded) this.#ack(message, language);
      },
      (error: unknown) => {
        if (this.#isEnded) return;
        const { log } = this.#options;
        log.warn({ language, why, error: String(error) }, "a message could not be set aside yet");
        this.#again(message, language, setAsideAgainMs);
      },
    );
  }

  #count(language: string, change: 1 | -1): void {
    this.#unsettled.set(language, this.unsettled(language) + change);
  }
}
