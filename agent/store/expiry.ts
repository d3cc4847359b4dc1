// When keys expire: their deadlines, and a heap that knows the earliest one, so that a keyspace
// needs one timer and no sampling: nothing wakes up before a key is due.
// Entries of the heap are not removed when a deadline changes; they are recognized as stale when
// they come up, and the heap is rebuilt when stale entries prevail.

interface Due {
  at: number;
  key: string;
}

export class Expiry {
  /** Unix milliseconds by key. */
  readonly #deadlines = new Map<string, number>();
  #heap: Due[] = [];

  get size(): number {
    return this.#deadlines.size;
  }

  get(key: string): number | undefined {
    return this.#deadlines.get(key);
  }

  set(key: string, at: number): void {
    this.#deadlines.set(key, at);
    if (this.#heap.length > 2 * this.#deadlines.size + 64) this.#rebuild();
    else this.#push({ at, key });
  }

  delete(key: string): boolean {
    return this.#deadlines.delete(key);
  }

  clear(): void {
    this.#deadlines.clear();
    this.#heap = [];
  }

  /** The earliest deadline, or undefined when no key expires. */
  earliest(): number | undefined {
    for (;;) {
      const [top] = this.#heap;
      if (top === undefined) return undefined;
      if (this.#deadlines.get(top.key) === top.at) return top.at;
      this.#pop();
    }
  }

  /** Takes one key that is due at `now`; its deadline is kept for the caller to remove. */
  due(now: number): string | undefined {
    const earliest = this.earliest();
    if (earliest === undefined || earliest > now) return undefined;
    return this.#heap[0]?.key;
  }

  #rebuild(): void {
    this.#heap = [];
    for (const [key, at] of this.#deadlines) this.#push({ at, key });
  }

  #push(entry: Due): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(entry);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || above.at <= entry.at) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      let below = heap[child];
      const right = heap[child + 1];
      if (below !== undefined && right !== undefined && right.at < below.at) {
        below = right;
        child++;
      }
      if (below === undefined || below.at >= last.at) break;
      heap[at] = below;
      at = child;
    }
    heap[at] = last;
  }
}
