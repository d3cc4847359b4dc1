// How long to wait before the next attempt to reach the master: exponential with full jitter above a
// floor, so that a fleet that lost its master does not come back in one moment. Pure.

export interface BackoffRules {
  firstMs: number;
  maxMs: number;
  /** After a refusal that only a person can lift (token, version, twin). */
  slowMs: number;
}

export const defaultBackoff: BackoffRules = { firstMs: 500, maxMs: 4_000, slowMs: 60_000 };

export class Backoff {
  readonly #rules: BackoffRules;
  #failures = 0;

  constructor(rules: BackoffRules) {
    this.#rules = rules;
  }

  /** `random` is from 0 to 1. */
  next(random: number): number {
    const { firstMs, maxMs } = this.#rules;
    const ceiling = Math.min(maxMs, firstMs * 2 ** Math.min(this.#failures, 30));
    this.#failures += 1;
    return Math.round(ceiling / 2 + (random * ceiling) / 2);
  }

  /** Up to twice `slowMs`; the short delays are not begun anew by it. */
  slow(random: number): number {
    return Math.round(this.#rules.slowMs * (1 + random));
  }

  /** The connection has proved itself. */
  reset(): void {
    this.#failures = 0;
  }
}
