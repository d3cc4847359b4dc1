// What is still to be written when a run has ended: its last lines and its receipt. A disk that
// takes nothing gets some time, then the run ends without them, which is told.
import { setTimeout as delay } from "node:timers/promises";
import type { LogFlush } from "./log-flush.ts";
import type { RunEnd, RunHostOptions } from "./run-host-options.ts";

/** How often, a second apart, a full or broken disk is asked. */
const tries = 5;

export class RunClosing {
  readonly #options: Pick<RunHostOptions, "run" | "receipt" | "onProblem" | "logStuck">;
  readonly #flush: LogFlush;
  /** The agent ends: the next one does it. */
  isAbandoned = false;

  constructor(
    options: Pick<RunHostOptions, "run" | "receipt" | "onProblem" | "logStuck">,
    flush: LogFlush,
  ) {
    this.#options = options;
    this.#flush = flush;
  }

  /** Lines that the disk does not take are told as missing. */
  async writeLastLines(): Promise<void> {
    for (let i = 0; i < tries && !this.isAbandoned; i += 1) {
      this.#flush.now();
      this.#flush.stop();
      if (!this.#flush.isStuck) return;
      await delay(1000, undefined, { ref: false });
    }
    this.#options.logStuck(undefined);
  }

  /**
   * Gives what puts the receipt on record. Without a receipt the run has ended all the same: what it
   * did is not undone by a full disk.
   */
  async writeReceipt(end: Omit<RunEnd, "finishedAt">, now: () => number) {
    const { run, receipt, onProblem } = this.#options;
    if (receipt === undefined) return undefined;
    for (let i = 1; !this.isAbandoned; i += 1) {
      try {
        return await receipt({ ...end, finishedAt: now() });
      } catch (error) {
        if (!(error instanceof Error) || !("syscall" in error)) throw error;
        if (i === tries) {
          onProblem(`run ${run} has no receipt: ${error.message}`);
          return undefined;
        }
      }
      await delay(1000, undefined, { ref: false });
    }
    return undefined;
  }
}
