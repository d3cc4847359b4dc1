// At most so many requests in a time for each caller, by the generic cell rate algorithm (ITU-T
// I.371): one number a caller, bursts up to the whole count, and an exact time to come again. Pure.

export interface Rate {
  count: number;
  perMs: number;
}

const fewCallers = 10_000;

export class RateLimit {
  readonly #intervalMs: number;
  readonly #burstMs: number;
  /** When each caller's next request would be due if it kept to the interval. */
  readonly #dueAt = new Map<string, number>();
  #forgetAbove = fewCallers;

  constructor({ count, perMs }: Rate) {
    this.#intervalMs = perMs / count;
    this.#burstMs = perMs - this.#intervalMs;
  }

  /** 0: let in, and counted. Else milliseconds until one would be. */
  take(caller: string, now: number): number {
    const dueAt = Math.max(now, this.#dueAt.get(caller) ?? 0);
    const waitMs = dueAt - now - this.#burstMs;
    // Of a division: less than a millisecond is none.
    if (waitMs > 1e-6) return Math.ceil(waitMs);
    this.#dueAt.set(caller, dueAt + this.#intervalMs);
    if (this.#dueAt.size > this.#forgetAbove) this.#forget(now);
    return 0;
  }

  /** As `take`, without counting. */
  peek(caller: string, now: number): number {
    const waitMs = (this.#dueAt.get(caller) ?? 0) - now - this.#burstMs;
    return waitMs > 1e-6 ? Math.ceil(waitMs) : 0;
  }

  /** Callers that have all of their burst again need not be known. */
  #forget(now: number): void {
    for (const [caller, dueAt] of this.#dueAt) if (dueAt <= now) this.#dueAt.delete(caller);
    // Not at each call while most of them are still held back.
    this.#forgetAbove = Math.max(fewCallers, 2 * this.#dueAt.size);
  }
}
