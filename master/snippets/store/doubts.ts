// Calls whose answer was lost may have been done all the same. What follows from the same call made
// again is decided here: a claim that may be this master's is its, an end that may be kept is.
// Without that, a snippet that was claimed while the database went away would belong for ever to a
// master that does not know of it.
import { StoreDown } from "./store.ts";

/** It may have been done. */
export class InDoubt extends StoreDown {}

/** More of them are forgotten, oldest first. */
const kept = 10_000;

export class Doubts {
  readonly #names = new Set<string>();

  /** `name` tells of what it is; `call` is told whether the same may have been done before. */
  async call<T>(name: string, call: (isInDoubt: boolean) => Promise<T>): Promise<T> {
    // Taken out at once: of two calls at the same time, only one may believe it is its own.
    const isInDoubt = this.#names.delete(name);
    try {
      return await call(isInDoubt);
    } catch (error) {
      if (isInDoubt || error instanceof InDoubt) this.#add(name);
      throw error;
    }
  }

  #add(name: string): void {
    this.#names.add(name);
    if (this.#names.size <= kept) return;
    for (const oldest of this.#names) {
      this.#names.delete(oldest);
      return;
    }
  }
}
