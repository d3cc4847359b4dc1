// What a pool of one kind counts, and how long its takers waited. Pure book-keeping for metrics.

export interface Quantiles {
  p50: number | undefined;
  p99: number | undefined;
}

export interface KindMetrics {
  level: string;
  language: string;
  /** Boxes that wait for a task. */
  ready: number;
  /** Boxes that are being made. */
  starting: number;
  inUse: number;
  /** How many takers wait for a box just now. */
  waiting: number;
  served: number;
  /** Of `served`: no box was ready. */
  cold: number;
  /** Boxes that ended while they waited for a task. */
  died: number;
  /** Boxes that were too old, or that nobody wanted any more. */
  expired: number;
  /** Boxes that could not be made. */
  failed: number;
  waitMs: Quantiles;
  makeMs: Quantiles;
}

/** The last 1,000 values. */
export class RecentValues {
  readonly #values: number[] = [];
  #next = 0;

  add(value: number): void {
    this.#values[this.#next] = value;
    this.#next = (this.#next + 1) % 1000;
  }

  quantiles(): Quantiles {
    const sorted = this.#values.toSorted((a, b) => a - b);
    const at = (share: number) => sorted[Math.floor((sorted.length - 1) * share)];
    return { p50: at(0.5), p99: at(0.99) };
  }
}

/** At most so many a second; fractions are fewer in a longer time. */
export class RateLimit {
  readonly #times: number[] = [];
  readonly #count: number;
  readonly #windowMs: number;

  constructor(perSecond: number) {
    this.#count = Math.max(1, Math.floor(perSecond));
    this.#windowMs = (1000 * this.#count) / perSecond;
  }

  /** Milliseconds until the next is allowed; 0: now. */
  wait(now: number): number {
    const first = this.#times[0];
    if (first === undefined || this.#times.length < this.#count) return 0;
    return Math.max(0, first + this.#windowMs - now);
  }

  count(now: number): void {
    this.#times.push(now);
    if (this.#times.length > this.#count) this.#times.shift();
  }
}
