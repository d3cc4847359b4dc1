// Tells readers that follow a run that something of it was stored. Carries no data: a reader that
// wakes up reads from the storage, so that a slow one can never hold anything up.

export class RunSignals {
  readonly #waiting = new Map<string, Set<() => void>>();

  notify(runs: Iterable<string>): void {
    for (const run of runs) {
      const waiting = this.#waiting.get(run);
      if (waiting === undefined) continue;
      this.#waiting.delete(run);
      for (const wake of waiting) wake();
    }
  }

  /** Resolves at the next `notify` of the run, or when the signal aborts. Take it before reading. */
  next(run: string, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const waiting = this.#waiting.get(run) ?? new Set();
      this.#waiting.set(run, waiting);
      const wake = (): void => {
        signal.removeEventListener("abort", wake);
        waiting.delete(wake);
        resolve();
      };
      waiting.add(wake);
      signal.addEventListener("abort", wake);
    });
  }
}
