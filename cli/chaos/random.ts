// Chance that can be had again: the same seed gives the same numbers on every machine.

export class Random {
  #state: number;

  /** `stream` tells independent sequences of one seed apart. */
  constructor(seed: number, stream: string) {
    this.#state = seed | 0;
    for (const char of stream) this.#state = (Math.imul(this.#state, 31) + char.charCodeAt(0)) | 0;
    // Neighbouring seeds begin alike.
    for (let warm = 0; warm < 4; warm += 1) this.next();
  }

  /** From 0 to below 1. mulberry32: small, and good enough for choosing. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from `least` to `most`, both included. */
  between(least: number, most: number): number {
    return least + Math.floor(this.next() * (most - least + 1));
  }

  pick<T>(all: readonly T[]): T | undefined {
    return all[Math.floor(this.next() * all.length)];
  }

  shuffled<T>(all: readonly T[]): T[] {
    const left = [...all];
    const shuffled: T[] = [];
    while (left.length > 0) shuffled.push(...left.splice(this.between(0, left.length - 1), 1));
    return shuffled;
  }
}
