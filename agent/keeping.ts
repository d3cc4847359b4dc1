// Keeps the agent's state in order: commits the journal and tries again when it cannot be written,
// tidies it when there is time, and says in the health file what stands in the way. Decides nothing
// about runs.
import { rmSync } from "node:fs";
import type { LogLevel } from "../protocol/log.ts";
import { removeArtifacts } from "./artifact-store.ts";
import { type Health, writeHealth } from "./health.ts";
import type { Journal } from "./journal/journal.ts";

export interface KeepingOptions {
  journal: Journal;
  stateDir: string;
  heartbeatMs: number;
  say(level: LogLevel, text: string): void;
  /** What the agent is doing, for the health file. */
  state(): Health["state"];
  /** The health file is written: in the rhythm of heartbeats. */
  beat(): void;
  sandboxes(): Health["sandboxes"];
  /** Everything that was buffered is in the journal. */
  committed(): void;
}

/** Between two tries at what the state folder does not take. */
export const retryMs = 1000;
const maintenanceMs = 200;

export class Keeping {
  readonly #options: KeepingOptions;
  #problem: string | undefined;
  #health: NodeJS.Timeout | undefined;
  #retry: NodeJS.Timeout | undefined;
  #maintenance: NodeJS.Timeout | undefined;
  #isEnding = false;
  #isClosed = false;

  constructor(options: KeepingOptions) {
    this.#options = options;
  }

  /** Writes the health file now and with every heartbeat. */
  begin(): void {
    this.#writeHealth();
    this.#health = setInterval(() => {
      this.#writeHealth();
      this.#options.beat();
    }, this.#options.heartbeatMs);
  }

  /** Something else than the journal that stands in the way; said once, however often it is met. */
  meet(problem: string): void {
    if (this.#problem !== problem) this.#options.say("error", problem);
    this.#problem = problem;
  }

  commit(): void {
    if (this.#isClosed) return;
    const { journal, say } = this.#options;
    const committed = journal.commit();
    if (committed.ok) {
      if (this.#problem !== undefined) {
        this.#problem = undefined;
        say("info", "the journal can be written again");
        this.#writeHealth();
      }
      this.#options.committed();
      return;
    }
    const [diagnostic] = committed.diagnostics;
    if (this.#problem === undefined) {
      this.#problem = `${diagnostic?.message} (${diagnostic?.remedy})`;
      say("error", `${diagnostic?.code}: ${this.#problem}`);
      this.#writeHealth();
    }
    this.#retry ??= setTimeout(() => {
      this.#retry = undefined;
      this.commit();
    }, retryMs);
  }

  /** Acknowledged rows, events and folders of finished runs: removed in small steps. */
  maintainSoon(): void {
    this.#maintenance ??= setTimeout(() => {
      this.#maintenance = undefined;
      if (this.#isEnding) return;
      const step = this.#options.journal.maintain();
      if (step.ok && step.value.more) this.maintainSoon();
      if (step.ok && !step.value.more) this.#removeExpired();
    }, maintenanceMs).unref();
  }

  /** No more health and tidying; commits go on until `close`. */
  end(): void {
    this.#isEnding = true;
    clearInterval(this.#health);
    clearTimeout(this.#maintenance);
  }

  /** The last commit. */
  close(): void {
    clearTimeout(this.#retry);
    this.#options.journal.commit();
    this.#isClosed = true;
    this.#options.journal.close();
  }

  #removeExpired(): void {
    const { journal, stateDir, say } = this.#options;
    const expired = journal.expiredRuns();
    try {
      for (const { run, folder } of expired) {
        rmSync(folder, { recursive: true, force: true });
        journal.forgetRun(run);
      }
      if (expired.length > 0) removeArtifacts(stateDir, journal.digests());
    } catch (error) {
      say("warn", `old runs cannot be removed: ${String(error)}`);
    }
  }

  #writeHealth(): void {
    const { stateDir, heartbeatMs, state, sandboxes, say } = this.#options;
    const failed = writeHealth(stateDir, {
      time: Date.now(),
      pid: process.pid,
      heartbeatMs,
      state: state(),
      sandboxes: sandboxes(),
      ...(this.#problem === undefined ? {} : { problem: this.#problem }),
    });
    if (failed !== undefined) say("warn", `the health file cannot be written: ${failed}`);
  }
}
