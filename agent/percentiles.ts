// Percentiles of a stream of measurements in bounded memory: the last 4,096 values.

const capacity = 4096;

export class Percentiles {
  readonly #values = new Float64Array(capacity);
  #count = 0;

  add(value: number): void {
    this.#values[this.#count % capacity] = value;
    this.#count += 1;
  }

  /** The value below which the share `share` of all lies (nearest rank); none without values. */
  at(share: number): number | undefined {
    const held = Math.min(this.#count, capacity);
    if (held === 0) return undefined;
    const sorted = this.#values.slice(0, held).sort();
    return sorted[Math.min(held - 1, Math.max(0, Math.ceil(share * held) - 1))];
  }
}
