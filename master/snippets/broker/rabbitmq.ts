// RabbitMQ as the broker: keeps a session with it, for ever, and makes a new one when it is lost. What
// travels is ids; each is kept there from the publisher's confirm until its delivery is settled.
import type { Logger } from "../../clock.ts";
import type { QueueItem } from "../store/store.ts";
import type { Broker, BrokerEvents } from "./broker.ts";
import type { AmqpAddress } from "./rabbitmq/address.ts";
import { Session } from "./rabbitmq/session.ts";
import { exchange } from "./rabbitmq/topology.ts";
import { brokerDown, type Trouble, troubleOf } from "./rabbitmq/trouble.ts";

export interface RabbitBrokerOptions {
  address: AmqpAddress;
  log: Logger;
  openMs?: number;
  confirmMs?: number;
  answerMs?: number;
  /** Delays between tries grow from the first to the last one. */
  backoff?: { firstMs: number; maxMs: number };
  /** From 0 to 1. */
  random?: () => number;
}

interface Plan {
  languages: readonly string[];
  window: number;
  events: BrokerEvents;
}

type State =
  | { id: "down"; trouble: Trouble; retry?: NodeJS.Timeout }
  | { id: "up"; session: Session }
  | { id: "closed" };

export class RabbitBroker implements Broker {
  readonly name = "rabbitmq";
  readonly isExternal = true;
  readonly #options: Required<RabbitBrokerOptions>;
  #state: State;
  /** Gives up a connection that is being opened. */
  readonly #opening = new AbortController();
  #connecting: Promise<void> = Promise.resolve();
  #failures = 0;

  constructor(options: RabbitBrokerOptions) {
    this.#options = {
      openMs: 10_000,
      confirmMs: 10_000,
      answerMs: 3000,
      backoff: { firstMs: 200, maxMs: 10_000 },
      random: Math.random,
      ...options,
    };
    this.#state = { id: "down", trouble: this.#own("is not connected yet", "try again soon") };
  }

  async start(languages: readonly string[], window: number, events: BrokerEvents): Promise<void> {
    this.#connecting = this.#connect({ languages, window, events });
    await this.#connecting;
  }

  async publish(items: readonly QueueItem[]): Promise<void> {
    await this.#session().publish(items);
  }

  async depths(): Promise<{ [language: string]: number }> {
    return await this.#session().depths();
  }

  problem(): string | undefined {
    const trouble = this.#trouble();
    return trouble === undefined ? undefined : `${trouble.text}; ${trouble.remedy}`;
  }

  async close(): Promise<void> {
    const state = this.#state;
    this.#state = { id: "closed" };
    if (state.id === "down") clearTimeout(state.retry);
    if (state.id === "up") await state.session.close();
    this.#opening.abort();
    await this.#connecting;
  }

  /** Never rejects. */
  async #connect(plan: Plan): Promise<void> {
    const { languages, window, events } = plan;
    const { address, log } = this.#options;
    let session: Session;
    try {
      session = await Session.open({
        ...this.#options,
        languages,
        signal: this.#opening.signal,
        delivered: (delivery) => events.delivered(delivery),
        ended: (trouble) => this.#lost(trouble, plan),
      });
    } catch (error) {
      this.#fail(troubleOf(error, address.shown), plan);
      return;
    }
    if (this.#state.id === "closed") {
      await session.close();
      return;
    }
    this.#state = { id: "up", session };
    log.info({ broker: address.shown, exchange }, "connected to RabbitMQ");
    events.ready();
    await session.consume(window);
    if (this.#isUp(session)) this.#failures = 0;
  }

  #isUp(session: Session): boolean {
    return this.#state.id === "up" && this.#state.session === session;
  }

  #lost(trouble: Trouble, plan: Plan): void {
    if (this.#state.id === "closed") return;
    this.#fail(trouble, plan);
    plan.events.lost(`${trouble.text}; ${trouble.remedy}`);
  }

  #fail(trouble: Trouble, plan: Plan): void {
    const before = this.#state;
    if (before.id === "closed") return;
    // A loss is told to whoever gave the plan.
    if (before.id === "down" && before.trouble.text !== trouble.text) {
      this.#options.log.warn({ ...trouble }, "no connection to RabbitMQ; it goes on trying");
    }
    const retry = setTimeout(() => {
      this.#connecting = this.#connect(plan);
    }, this.#delayMs());
    this.#state = { id: "down", trouble, retry };
  }

  /** With jitter, so that masters that lost one broker do not come back in one moment. */
  #delayMs(): number {
    const { backoff, random } = this.#options;
    const ceiling = Math.min(backoff.maxMs, backoff.firstMs * 2 ** Math.min(this.#failures, 30));
    this.#failures += 1;
    return Math.round(ceiling / 2 + (random() * ceiling) / 2);
  }

  #session(): Session {
    if (this.#state.id === "up") return this.#state.session;
    throw brokerDown(this.#trouble() ?? this.#own("is not connected", "try again soon"));
  }

  #trouble(): Trouble | undefined {
    switch (this.#state.id) {
      case "up":
        return this.#state.session.blocked;
      case "down":
        return this.#state.trouble;
      case "closed":
        return this.#own("is not connected any more: this service ends", "start it again");
    }
  }

  #own(words: string, remedy: string): Trouble {
    return { text: `RabbitMQ at ${this.#options.address.shown} ${words}`, remedy };
  }
}
