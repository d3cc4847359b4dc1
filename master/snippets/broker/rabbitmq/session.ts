// One life of the connection to RabbitMQ, from login to loss; who makes the next one is not its
// concern. It is two connections that live and end together: the broker stops reading from a
// connection that publishes when it is short of memory or disk, and acks must still get through
// then, or nothing would ever be taken out of the queues.
import type { EventEmitter } from "node:events";
import { type Channel, type ChannelModel, type ConfirmChannel, connect } from "amqplib";
import type { Logger } from "../../../clock.ts";
import type { QueueItem } from "../../store/store.ts";
import type { Delivery } from "../broker.ts";
import type { AmqpAddress } from "./address.ts";
import { Consumer } from "./consumer.ts";
import { Publisher } from "./publisher.ts";
import { deadExchange, declareTopology, queueOf } from "./topology.ts";
import { brokerDown, type Trouble, troubleOf } from "./trouble.ts";

export interface SessionOptions {
  address: AmqpAddress;
  languages: readonly string[];
  log: Logger;
  /** For connecting and declaring, all together. */
  openMs: number;
  confirmMs: number;
  /** For what is still under way at `close`, and for `depths`. */
  answerMs: number;
  /** Aborted, it gives up opening. */
  signal: AbortSignal;
  delivered(delivery: Delivery): void;
  /** Once, unless it was closed. What was not settled is void. */
  ended(trouble: Trouble): void;
}

interface Wires {
  publishing: ChannelModel;
  consuming: ChannelModel;
  confirmed: ConfirmChannel;
  deliveries: Channel;
}

export class Session {
  readonly #options: SessionOptions;
  readonly #wires: Wires;
  readonly #publisher: Publisher;
  readonly #consumer: Consumer;
  /** Aborted, it destroys the sockets: a peer that is gone answers no polite goodbye. */
  readonly #life: AbortController;
  #inspection: Promise<Channel> | undefined;
  #isEnded = false;

  /** Rejects with what went wrong, and leaves nothing open then. */
  static async open(options: SessionOptions): Promise<Session> {
    const life = new AbortController();
    const late = new Error(`no answer within ${options.openMs} ms`);
    const timer = setTimeout(() => life.abort(late), options.openMs);
    const stop = () => life.abort();
    options.signal.addEventListener("abort", stop, { once: true });
    let isLost = false;
    // What goes wrong here is told by the call that waits; but the last call may have been answered.
    const watch = <T extends EventEmitter>(wire: T): T => {
      wire.on("error", () => {});
      wire.on("close", () => {
        isLost = true;
      });
      return wire;
    };
    try {
      const publishing = watch(await dial(options, life.signal));
      const consuming = watch(await dial(options, life.signal));
      const confirmed = watch(await publishing.createConfirmChannel());
      const deliveries = watch(await consuming.createChannel());
      await declareTopology(deliveries, options.languages);
      if (isLost) throw new Error("the connection was closed at once");
      return new Session(options, { publishing, consuming, confirmed, deliveries }, life);
    } catch (error) {
      life.abort();
      throw life.signal.reason === late ? late : error;
    } finally {
      clearTimeout(timer);
      options.signal.removeEventListener("abort", stop);
    }
  }

  private constructor(options: SessionOptions, wires: Wires, life: AbortController) {
    this.#options = options;
    this.#wires = wires;
    this.#life = life;
    const { address, confirmMs, languages, log, delivered } = options;
    this.#publisher = new Publisher({
      channel: wires.confirmed,
      address: address.shown,
      confirmMs,
      unroutable: (name, routingKey) => {
        if (name !== deadExchange && !languages.includes(routingKey)) return;
        this.#gone(name === deadExchange ? deadExchange : queueOf(routingKey));
      },
    });
    this.#consumer = new Consumer({
      channel: wires.deliveries,
      log,
      delivered,
      setAside: (message, language, why) => this.#publisher.setAside(message, language, why),
      cancelled: (language) => this.#gone(queueOf(language)),
    });
    this.#listen();
  }

  async consume(window: number): Promise<void> {
    try {
      await this.#consumer.begin(this.#options.languages, window);
    } catch (error) {
      this.#stop(() => troubleOf(error, this.#options.address.shown));
    }
  }

  publish(items: readonly QueueItem[]): Promise<void> {
    return this.#publisher.publish(items);
  }

  /** It is connected, and yet takes no messages. */
  get blocked(): Trouble | undefined {
    return this.#publisher.blocked;
  }

  /** What other masters have taken and not settled is not seen. */
  async depths(): Promise<{ [language: string]: number }> {
    const { address, answerMs, languages } = this.#options;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer within ${answerMs} ms`)), answerMs);
    });
    try {
      return await Promise.race([this.#inspect(languages), late]);
    } catch (error) {
      this.#inspection = undefined;
      throw brokerDown(troubleOf(error, address.shown));
    } finally {
      clearTimeout(timer);
    }
  }

  /** Acks and confirms that are on their way are waited for, within bounds. */
  async close(): Promise<void> {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#consumer.end();
    const { answerMs, address } = this.#options;
    const timer = setTimeout(() => this.#life.abort(), answerMs);
    const { publishing, consuming, confirmed, deliveries } = this.#wires;
    const ends = [
      // A connection's end overtakes what its channels have to send; theirs does not.
      deliveries.close().then(() => consuming.close()),
      this.#publisher
        .settled()
        .then(() => confirmed.close())
        .then(() => publishing.close()),
    ];
    const aborted = new Promise((resolve) => this.#life.signal.addEventListener("abort", resolve));
    await Promise.race([Promise.allSettled(ends), aborted]);
    clearTimeout(timer);
    this.#publisher.end({
      text: `the connection to RabbitMQ at ${address.shown} is closed`,
      remedy: "start the service again",
    });
    this.#life.abort();
  }

  #listen(): void {
    const { publishing, consuming, confirmed, deliveries } = this.#wires;
    const { shown } = this.#options.address;
    let cause: Error | undefined;
    for (const wire of [publishing, consuming, confirmed, deliveries]) {
      wire.on("error", (error: Error) => {
        cause ??= error;
      });
      wire.on("close", (error?: Error) => {
        cause ??= error;
        // Channels are closed before their connection says why.
        this.#stop(() => troubleOf(cause ?? new Error("the connection was closed"), shown));
      });
    }
    publishing.on("blocked", (reason) => {
      this.#publisher.block({
        text: `RabbitMQ at ${shown} takes no messages: ${reason}`,
        remedy: "free its memory or disk, or raise the limits in rabbitmq.conf",
      });
    });
    publishing.on("unblocked", () => this.#publisher.unblock());
  }

  async #inspect(languages: readonly string[]): Promise<{ [language: string]: number }> {
    this.#inspection ??= this.#openInspection();
    const channel = await this.#inspection;
    const depths: { [language: string]: number } = {};
    for (const language of languages) {
      const { messageCount } = await channel.checkQueue(queueOf(language));
      depths[language] = messageCount + this.#consumer.unsettled(language);
    }
    return depths;
  }

  /** A channel of its own: asking for a queue that is gone closes it. */
  async #openInspection(): Promise<Channel> {
    const channel = await this.#wires.consuming.createChannel();
    channel.on("error", () => {});
    channel.on("close", () => {
      this.#inspection = undefined;
    });
    return channel;
  }

  /** Somebody took away what we declared: the next session declares it again. */
  #gone(name: string): void {
    this.#stop(() => ({
      text: `RabbitMQ at ${this.#options.address.shown} lost ${name}`,
      remedy: "do not delete it while the service runs; it is declared again",
    }));
  }

  /** Nothing is settled or sent from here on; why is asked for, and told, in a moment. */
  #stop(why: () => Trouble): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#consumer.end();
    queueMicrotask(() => {
      const trouble = why();
      this.#publisher.end(trouble);
      this.#life.abort();
      this.#options.ended(trouble);
    });
  }
}

async function dial(
  { address, openMs }: SessionOptions,
  signal: AbortSignal,
): Promise<ChannelModel> {
  const socketOptions = {
    // Without it a confirm waits for the delayed ack of TCP: 44 ms instead of 0.2.
    noDelay: true,
    timeout: openMs,
    signal,
    clientProperties: { connection_name: "edgedag" },
  };
  return await connect(address.connectOptions(), socketOptions);
}
