// When the lines of a run go to its log: with each turn, soon after output without any event, and
// again while the disk does not take them. Tells the launchers of held processes what is written.
import type { HeldHandle } from "./exec/launcher/process.ts";
import type { Holding } from "./holding.ts";
import type { RunLog } from "./log/run-log.ts";

export interface LogFlushOptions {
  log: RunLog;
  holding: Holding;
  /** Writes the journal. */
  commit(): boolean;
  /** The log cannot be written, or (undefined) can again. */
  logStuck(problem: string | undefined): void;
  /** Calls when all that was appended is kept. */
  whenKept(told: () => void): void;
}

/** Output without any event is written after this time at the latest. */
const quietFlushMs = 10;
const retryMs = 1000;

export class LogFlush {
  readonly #options: LogFlushOptions;
  #timer: NodeJS.Timeout | undefined;
  #isStuck = false;
  /** Ends of held processes: in the journal's buffer, not yet known to be in the log's files. */
  #settled: HeldHandle[] = [];

  constructor(options: LogFlushOptions) {
    this.#options = options;
  }

  get isStuck(): boolean {
    return this.#isStuck;
  }

  /** Writes what waits. What the disk does not take stays in memory and is tried again. */
  now(): void {
    const { log, logStuck } = this.#options;
    const flushed = log.flush();
    if (flushed.ok) {
      if (this.#isStuck) logStuck(undefined);
      this.#isStuck = false;
      this.#sayLogged();
      return;
    }
    this.#isStuck = true;
    const [problem] = flushed.diagnostics;
    logStuck(`${problem?.code}: ${problem?.message} (${problem?.remedy})`);
    this.#timer ??= setTimeout(() => this.#late(), retryMs);
  }

  soon(): void {
    this.#timer ??= setTimeout(() => this.#late(), quietFlushMs);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Ends of held processes are in the journal's buffer. */
  addSettled(settled: readonly HeldHandle[]): void {
    this.#settled.push(...settled);
  }

  #late(): void {
    this.#timer = undefined;
    this.now();
    this.#options.commit();
  }

  /** Their ends only when the journal has them too. */
  #sayLogged(): void {
    const { holding, whenKept } = this.#options;
    holding.logged();
    if (this.#settled.length === 0) return;
    const settled = this.#settled;
    this.#settled = [];
    whenKept(() => {
      for (const held of settled) held.forget();
    });
  }
}
