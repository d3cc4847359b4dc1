// A binary heap over a comparison: the ready queue and the timers.

export class Heap<T> {
  readonly #items: T[] = [];
  readonly #isBefore: (a: T, b: T) => boolean;

  constructor(isBefore: (a: T, b: T) => boolean) {
    this.#isBefore = isBefore;
  }

  get size(): number {
    return this.#items.length;
  }

  peek(): T | undefined {
    return this.#items[0];
  }

  push(item: T): void {
    const items = this.#items;
    let at = items.length;
    items.push(item);
    while (at > 0) {
      const up = (at - 1) >> 1;
      const parent = items[up] as T; // up < at: it exists
      if (!this.#isBefore(item, parent)) break;
      items[at] = parent;
      at = up;
    }
    items[at] = item;
  }

  pop(): T | undefined {
    const items = this.#items;
    const top = items[0];
    const last = items.pop();
    if (last === undefined || items.length === 0) return top;
    const { length } = items;
    let at = 0;
    for (;;) {
      let down = 2 * at + 1;
      if (down >= length) break;
      // Both indices are below length: the items exist.
      if (down + 1 < length && this.#isBefore(items[down + 1] as T, items[down] as T)) down += 1;
      const child = items[down] as T;
      if (!this.#isBefore(child, last)) break;
      items[at] = child;
      at = down;
    }
    items[at] = last;
    return top;
  }

  values(): readonly T[] {
    return this.#items;
  }
}
