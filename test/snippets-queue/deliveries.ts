// The scheduler's end of a broker, for tests: keeps what was delivered and said, and lets a test wait
// for it.
import type { BrokerEvents, Delivery } from "../../master/snippets/broker/broker.ts";
import { until } from "../rig/until.ts";

export class Deliveries implements BrokerEvents {
  readonly all: Delivery[] = [];
  readonly losses: string[] = [];
  readies = 0;
  readonly #then: (delivery: Delivery) => void;

  /** `then` is what is done with each delivery at once. */
  constructor(then: (delivery: Delivery) => void = () => {}) {
    this.#then = then;
  }

  get ids(): string[] {
    return this.all.map(({ item }) => item.id);
  }

  delivered(delivery: Delivery): void {
    this.all.push(delivery);
    this.#then(delivery);
  }

  lost(detail: string): void {
    this.losses.push(detail);
  }

  ready(): void {
    this.readies += 1;
  }

  /** The first `n` of all, when there are so many. */
  async first(n: number): Promise<Delivery[]> {
    await until(
      `${n} deliveries`,
      () => this.all.length,
      (count) => count >= n,
    );
    return this.all.slice(0, n);
  }

  /** The n-th, from 1. */
  async nth(n: number): Promise<Delivery> {
    const delivery = (await this.first(n))[n - 1];
    if (delivery === undefined) throw new Error(`no delivery ${n}`);
    return delivery;
  }
}
