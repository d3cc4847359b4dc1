// Keeps the agent's state in order: commits the journal and tries again when it cannot be written, lets
// nothing be told before it is kept, tidies when there is time, and says in the health file what stands
// in the way. Decides nothing about runs.
import { rmSync } from "node:fs";
import type { Result } from "../protocol/diagnostic.ts";
import type { LogLevel } from "../protocol/log.ts";
import { removeArtifacts } from "./artifact-store.ts";
import { type Health, writeHealth } from "./health.ts";
import type { Journal } from "./journal/journal.ts";
import { Reserve } from "./reserve.ts";

export interface KeepingOptions {
  journal: Journal;
  stateDir: string;
  heartbeatMs: number;
  /** Most bytes that may wait for the master; 0: nothing is shipped. */
  outboxLimitBytes: number;
  /** False for a state that nobody goes on with: no room is kept free for it. */
  hasReserve: boolean;
  say(level: LogLevel, text: string): void;
  /** What the agent is doing, for the health file. */
  state(): Health["state"];
  sandboxes(): Health["sandboxes"];
  /** Everything that was buffered is in the journal. */
  committed(): void;
  /** The journal is damaged for good: only a start of the agent can set it aside. */
  damaged(): void;
}

/** Between two tries at what the state folder does not take. */
export const retryMs = 1000;
const maintenanceMs = 200;
/** A bad moment of the disk looks like damage, too: after so many tries the file is looked at. */
const corruptTries = 10;

/** What can stand in the way; each is said once, and once that it is over. */
export type Obstacle = "journal" | "sync" | "log" | "files" | "run" | "reserve" | "outbox" | "link";

export class Keeping {
  readonly #options: KeepingOptions;
  readonly #obstacles = new Map<Obstacle, string>();
  readonly #reserve: Reserve;
  /** What is to be told once the turn that it tells of is kept. */
  #untold: (() => void)[] = [];
  #notice: string | undefined;
  #health: NodeJS.Timeout | undefined;
  #retry: NodeJS.Timeout | undefined;
  #maintenance: NodeJS.Timeout | undefined;
  #corruptTries = 0;
  #isDropping = false;
  #isEnding = false;
  #isClosed = false;

  constructor(options: KeepingOptions) {
    this.#options = options;
    const { journal } = options;
    this.#reserve = new Reserve(options.stateDir);
    journal.onSyncFailed = (problem) => this.obstacle("sync", problem);
    if (journal.recovery !== undefined) {
      const { code, message } = journal.recovery;
      this.#notice = message;
      options.say("error", `${code}: ${message}`);
    }
  }

  /** Writes the health file now and with every heartbeat. */
  begin(): void {
    this.#writeHealth();
    this.#health = setInterval(() => this.#writeHealth(), this.#options.heartbeatMs);
    if (this.#options.hasReserve) setTimeout(() => void this.#fillReserve(), retryMs).unref();
  }

  /** True while only results may be written: what is left of the disk is kept for them. */
  get isTight(): boolean {
    return this.#obstacles.has("reserve");
  }

  /** Something stands in the way, or (undefined) does no longer. Health is red meanwhile. */
  obstacle(what: Obstacle, problem: string | undefined): void {
    const known = this.#obstacles.get(what);
    if (known === problem) return;
    if (problem === undefined) {
      this.#obstacles.delete(what);
      if (this.#obstacles.size === 0) this.#options.say("info", "the state can be written again");
    } else {
      this.#obstacles.set(what, problem);
      // The same obstacle in other words is no news for the log.
      if (known === undefined) this.#options.say("error", problem);
    }
    if (!this.#isClosed) this.#writeHealth();
  }

  /** What was lost, and is past: `edgedag health` shows it, and is not red. */
  notice(text: string): void {
    this.#notice = text;
    this.#options.say("error", text);
  }

  /**
   * `told` is called when everything up to now is in the journal, with EDGEDAG_DURABILITY=power on the
   * disk. It must not be told to anybody before.
   */
  whenKept(told: () => void): void {
    this.#untold.push(told);
  }

  /** True when all that was buffered is in the journal. */
  commit(): boolean {
    if (this.#isClosed) return false;
    const { journal } = this.#options;
    let committed = journal.commit();
    if (!committed.ok && isFull(committed) && this.#reserve.release()) {
      const text = `${committed.diagnostics[0]?.message}: results are written into the reserve, log lines wait or are dropped (${committed.diagnostics[0]?.remedy})`;
      this.obstacle("reserve", text);
      committed = journal.commit();
    }
    if (!committed.ok) {
      const [diagnostic] = committed.diagnostics;
      const text = `${diagnostic?.code}: ${diagnostic?.message} (${diagnostic?.remedy})`;
      this.obstacle("journal", text);
      this.#corruptTries = diagnostic?.code === "E_STATE_CORRUPT" ? this.#corruptTries + 1 : 0;
      if (this.#corruptTries === corruptTries) {
        this.#corruptTries = 0;
        if (journal.isDamaged()) this.#options.damaged();
      }
    }
    if (!committed.ok || this.isTight) {
      this.#retry ??= setTimeout(() => {
        this.#retry = undefined;
        if (this.isTight) void this.#fillReserve();
        this.commit();
      }, retryMs);
    }
    if (!committed.ok) return false;
    this.#corruptTries = 0;
    this.obstacle("journal", undefined);
    if (this.#untold.length > 0) {
      const untold = this.#untold;
      this.#untold = [];
      journal.whenSynced(() => {
        for (const told of untold) told();
      });
    }
    this.#keepWithinLimit();
    this.#options.committed();
    return true;
  }

  /** Acknowledged rows, events and folders of finished runs: removed in small steps. */
  maintainSoon(): void {
    this.#maintenance ??= setTimeout(() => {
      this.#maintenance = undefined;
      if (this.#isEnding) return;
      const step = this.#options.journal.maintain();
      if (step.ok && step.value.more) this.maintainSoon();
      if (step.ok && !step.value.more) this.#removeExpired();
      this.#keepWithinLimit();
    }, maintenanceMs).unref();
  }

  /** No more health and tidying; commits go on until `close`. */
  end(): void {
    this.#isEnding = true;
    clearInterval(this.#health);
    clearTimeout(this.#maintenance);
  }

  /** The last commit. Fails when it cannot be written: what it held is lost. */
  close(): Result<null> {
    clearTimeout(this.#retry);
    this.#reserve.release();
    const committed = this.#options.journal.commit();
    this.#isClosed = true;
    this.#options.journal.close();
    return committed;
  }

  async #fillReserve(): Promise<void> {
    if (this.#isEnding) return;
    const failed = await this.#reserve.fill();
    if (this.#isEnding) this.#reserve.release();
    // Without room for a reserve there is still room for work, unless that was lacking already.
    if (failed === undefined) this.obstacle("reserve", undefined);
  }

  /** Drops log lines, oldest first, a step at a time; results and outcomes never. */
  #keepWithinLimit(): void {
    const { journal, outboxLimitBytes } = this.#options;
    if (outboxLimitBytes === 0 || this.#isDropping || this.#isClosed) return;
    const isOver = journal.outboxBytes > outboxLimitBytes;
    if (!isOver) this.obstacle("outbox", undefined);
    if (!isOver && !journal.mustDrop) return;
    this.#isDropping = true;
    setImmediate(() => {
      this.#isDropping = false;
      if (this.#isClosed) return;
      const dropped = journal.dropOldestLog({ onlyDue: !isOver });
      if (!dropped.ok) return; // the next commit meets the same disk, and tells
      if (dropped.value.lines === 0 && !journal.mustDrop) {
        if (!isOver) return;
        const text = `E_OUTBOX_LIMIT: ${journal.outboxBytes} bytes of results wait for the master, more than EDGEDAG_OUTBOX_LIMIT (Bring the master back or raise the limit; results are never dropped.)`;
        this.obstacle("outbox", text);
        return;
      }
      if (dropped.value.lines > 0) {
        const { lines, bytes, run } = dropped.value;
        this.#options.say(
          "warn",
          `E_LOG_LIMIT: ${lines} lines (${bytes} bytes) of the log of run ${run} were dropped before the master had them`,
        );
      }
      this.#keepWithinLimit();
    });
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
    const problem = [...this.#obstacles.values()].join("; ");
    const failed = writeHealth(stateDir, {
      time: Date.now(),
      pid: process.pid,
      heartbeatMs,
      state: state(),
      sandboxes: sandboxes(),
      ...(problem === "" ? {} : { problem }),
      ...(this.#notice === undefined ? {} : { notice: this.#notice }),
    });
    if (failed !== undefined) say("warn", `the health file cannot be written: ${failed}`);
  }
}

function isFull(result: Result<unknown>): boolean {
  return !result.ok && result.diagnostics[0]?.code === "E_STATE_FULL";
}
