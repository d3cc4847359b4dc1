// Publishes on one channel with confirms: a batch is kept when the broker has confirmed each of its
// messages. A batch always ends: confirmed, refused, or given up after a bounded time, when the
// connection is lost, or when the broker says that it takes nothing. One that was given up may have
// been kept all the same; to publish it again is harmless.
import type { ConfirmChannel, Message, Options } from "amqplib";
import type { QueueItem } from "../../store/store.ts";
import { encode } from "./message.ts";
import { deadExchange, exchange } from "./topology.ts";
import { brokerDown, type Trouble } from "./trouble.ts";

export interface PublisherOptions {
  channel: ConfirmChannel;
  /** Of the broker, for errors. */
  address: string;
  /** A confirm that takes longer is not waited for. */
  confirmMs: number;
  /** No queue took it. */
  unroutable(exchange: string, routingKey: string): void;
}

interface Batch {
  unconfirmed: number;
  timer: NodeJS.Timeout;
  end: PromiseWithResolvers<void>;
}

interface Outgoing {
  exchange: string;
  routingKey: string;
  content: Buffer;
  options: Options.Publish;
}

export class Publisher {
  readonly #options: PublisherOptions;
  readonly #batches = new Set<Batch>();
  /** Numbers of messages that came back; their confirms follow. */
  readonly #returned = new Set<string>();
  #count = 0;
  #blocked: Trouble | undefined;
  #ended: Trouble | undefined;

  constructor(options: PublisherOptions) {
    this.#options = options;
    options.channel.on("return", ({ properties, fields }: Message) => {
      this.#returned.add(String(properties.correlationId));
      options.unroutable(fields.exchange, fields.routingKey);
    });
  }

  get blocked(): Trouble | undefined {
    return this.#blocked;
  }

  publish(items: readonly QueueItem[]): Promise<void> {
    return this.#send(
      items.map((item) => ({ exchange, routingKey: item.language, ...encode(item) })),
    );
  }

  /** Sets a message aside, as it is, with the reason in a header. */
  setAside({ content, properties }: Message, language: string, why: string): Promise<void> {
    const { messageId, contentType, type, appId } = properties;
    const options: Options.Publish = {
      persistent: true,
      mandatory: true,
      headers: { "edgedag-reason": why.slice(0, 2000), "edgedag-language": language },
      ...(messageId === undefined ? {} : { messageId }),
      ...(contentType === undefined ? {} : { contentType }),
      ...(type === undefined ? {} : { type }),
      ...(appId === undefined ? {} : { appId }),
    };
    return this.#send([{ exchange: deadExchange, routingKey: language, content, options }]);
  }

  /** The broker takes nothing until `unblock`: what waits for its confirm is given up now. */
  block(trouble: Trouble): void {
    this.#blocked = trouble;
    this.#giveUp(trouble);
  }

  unblock(): void {
    this.#blocked = undefined;
  }

  /** Once; nothing is published from here on. */
  end(trouble: Trouble): void {
    this.#ended ??= trouble;
    this.#giveUp(this.#ended);
  }

  /** Resolves when no confirm is waited for. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#batches].map(({ end }) => end.promise));
  }

  async #send(messages: readonly Outgoing[]): Promise<void> {
    const trouble = this.#ended ?? this.#blocked;
    if (trouble !== undefined) throw brokerDown(trouble);
    if (messages.length === 0) return;
    const batch: Batch = {
      unconfirmed: messages.length,
      timer: setTimeout(() => this.#settle(batch, this.#late()), this.#options.confirmMs),
      end: Promise.withResolvers(),
    };
    this.#batches.add(batch);
    try {
      for (const message of messages) this.#sendOne(message, batch);
    } catch (error) {
      this.#settle(batch, this.#refused(String(error)));
    }
    await batch.end.promise;
  }

  #sendOne({ exchange, routingKey, content, options }: Outgoing, batch: Batch): void {
    this.#count += 1;
    const correlationId = String(this.#count);
    const confirmed = (error: unknown) => {
      const isReturned = this.#returned.delete(correlationId);
      if (error) {
        // The other error is that the channel was closed; then `end` says why.
        if (isNack(error)) this.#settle(batch, this.#refused("it did not keep it"));
      } else if (isReturned) this.#settle(batch, this.#unroutable(routingKey));
      else {
        batch.unconfirmed -= 1;
        if (batch.unconfirmed === 0) this.#settle(batch, undefined);
      }
    };
    this.#options.channel.publish(
      exchange,
      routingKey,
      content,
      { ...options, correlationId },
      confirmed,
    );
  }

  #settle(batch: Batch, trouble: Trouble | undefined): void {
    if (!this.#batches.delete(batch)) return;
    clearTimeout(batch.timer);
    if (trouble === undefined) batch.end.resolve();
    else batch.end.reject(brokerDown(trouble));
  }

  #giveUp(trouble: Trouble): void {
    for (const batch of this.#batches) this.#settle(batch, trouble);
  }

  #late(): Trouble {
    const { address, confirmMs } = this.#options;
    return {
      text: `RabbitMQ at ${address} did not confirm within ${confirmMs} ms that it keeps a message`,
      remedy: "look whether its disk or its processors are too busy",
    };
  }

  #refused(words: string): Trouble {
    return {
      text: `RabbitMQ at ${this.#options.address} refused a message: ${words}`,
      remedy: "look for a policy that limits the length of the queue, and in the log of RabbitMQ",
    };
  }

  #unroutable(routingKey: string): Trouble {
    return {
      text: `RabbitMQ at ${this.#options.address} has no queue for ${routingKey}`,
      remedy: "it is declared on the next connection, if this master serves that language",
    };
  }
}

/** amqplib's own words; it has no other way to tell. */
function isNack(error: unknown): boolean {
  return error instanceof Error && error.message === "message nacked";
}
