// Who waits for the end of which snippet. Those that another master runs are looked up now and then;
// a listener that has gone costs nothing.
import type { SnippetRecord } from "./snippet.ts";
import type { SnippetStore } from "./store/store.ts";

/** Between two looks at a snippet that another master may have. */
const lookEveryMs = 500;

export class Waiters {
  readonly #store: Pick<SnippetStore, "get">;
  readonly #isShared: boolean;
  readonly #listeners = new Map<string, Set<() => void>>();
  readonly #closing = Promise.withResolvers<void>();
  #isClosed = false;

  /** `isShared`: ends may come without a word here. */
  constructor(store: Pick<SnippetStore, "get">, isShared: boolean) {
    this.#store = store;
    this.#isShared = isShared;
  }

  changed(id: string): void {
    for (const listener of [...(this.#listeners.get(id) ?? [])]) listener();
  }

  /** Gives the way to stop it. */
  listen(id: string, listener: () => void): () => void {
    const all = this.#listeners.get(id) ?? new Set();
    this.#listeners.set(id, all.add(listener));
    return () => {
      all.delete(listener);
      if (all.size === 0 && this.#listeners.get(id) === all) this.#listeners.delete(id);
    };
  }

  async wait(id: string, waitMs: number, signal?: AbortSignal): Promise<SnippetRecord | undefined> {
    const until = performance.now() + waitMs;
    let isAborted = false;
    for (;;) {
      // Listened to before it is looked up: nothing is missed in between.
      const change = Promise.withResolvers<void>();
      const stop = this.listen(id, change.resolve);
      const onAbort = () => {
        isAborted = true;
        change.resolve();
      };
      signal?.addEventListener("abort", onAbort);
      let timer: NodeJS.Timeout | undefined;
      try {
        const record = await this.#store.get(id);
        const leftMs = until - performance.now();
        const isOver = leftMs <= 0 || isAborted || signal?.aborted === true || this.#isClosed;
        if (record === undefined || record.state === "finished" || isOver) return record;
        timer = setTimeout(change.resolve, this.#isShared ? Math.min(leftMs, lookEveryMs) : leftMs);
        await Promise.race([change.promise, this.#closing.promise]);
      } finally {
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
        stop();
      }
    }
  }

  /** Whoever waits gets what is known now. */
  close(): void {
    this.#isClosed = true;
    this.#closing.resolve();
  }
}
