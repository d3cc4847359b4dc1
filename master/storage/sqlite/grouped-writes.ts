// Small writes of one turn of the event loop go into one transaction: when a fleet comes back at once,
// one flush of the disk serves many nodes. Each caller hears of its own write, after it is on the disk.

interface Waiting {
  write(): void;
  done(): void;
  failed(error: unknown): void;
}

export class GroupedWrites {
  readonly #transaction: (work: () => void) => void;
  #waiting: Waiting[] = [];

  constructor(transaction: (work: () => void) => void) {
    this.#transaction = transaction;
  }

  add(write: () => void): Promise<void> {
    return new Promise((done, failed) => {
      this.#waiting.push({ write, done, failed });
      if (this.#waiting.length === 1) setImmediate(() => this.flush());
    });
  }

  flush(): void {
    const group = this.#waiting;
    if (group.length === 0) return;
    this.#waiting = [];
    try {
      this.#transaction(() => {
        for (const { write } of group) write();
      });
      for (const { done } of group) done();
    } catch (error) {
      if (group.length === 1) group[0]?.failed(error);
      else this.#oneByOne(group);
    }
  }

  /** One that cannot be written harms only itself. */
  #oneByOne(group: readonly Waiting[]): void {
    for (const { write, done, failed } of group) {
      try {
        this.#transaction(write);
        done();
      } catch (error) {
        failed(error);
      }
    }
  }
}
