// The journal: what must survive the agent. Events of open runs (replayed after a restart) and the
// outbox (what the master has not acknowledged), in one SQLite database with one writer, the agent's
// main thread. Everything of a turn is buffered and written by `commit()` in one transaction.
// It never decides anything about a run and never talks to the master. A call that cannot be written
// is a value, and what was buffered stays buffered until it can.
import { mkdirSync, unlink } from "node:fs";
import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Diagnostic, Result } from "../../protocol/diagnostic.ts";
import type { LogPointer, ObjectPointer, UnnumberedRecord } from "../../protocol/outbox.ts";
import type { RunOutcome } from "../../protocol/outcome.ts";
import { journalPath, runDir, runObjectsDir } from "../../protocol/state-paths.ts";
import { type LogPosition, Outbox } from "./outbox.ts";
import { type OpenRun, type RunStart, RunTable } from "./run-table.ts";
import { NewerSchema, openDatabase } from "./schema.ts";
import { stateError } from "./state-error.ts";
import { StateLock } from "./state-lock.ts";

export type { OpenRun, RunStart } from "./run-table.ts";

export interface JournalOptions {
  stateDir: string;
  durability: "process" | "power";
  /** False when no master is configured: nothing is kept for one, and `record` returns 0. */
  ship: boolean;
  /** Most bytes of the database file; absent: as large as the disk allows. */
  limitBytes?: number;
  /** Finished runs whose folders stay for `edgedag logs`; default 50. */
  keepRuns?: number;
  /** Something that the journal could not tidy up; nothing is lost by it. */
  onProblem?(problem: Diagnostic): void;
}

export class Journal {
  readonly #options: JournalOptions;
  readonly #lock: StateLock;
  readonly #database: DatabaseSync;
  readonly #outbox: Outbox;
  readonly #runs: RunTable;
  readonly #begin: StatementSync;
  readonly #commit: StatementSync;
  #boot: string | undefined;
  #ackTarget: number;
  /** The last step left acknowledged rows behind. */
  #ackBacklog = true;

  private constructor(options: JournalOptions, lock: StateLock, database: DatabaseSync) {
    this.#options = options;
    this.#lock = lock;
    this.#database = database;
    this.#outbox = new Outbox(database);
    this.#ackTarget = this.#outbox.acked;
    this.#runs = new RunTable(database, (run, at) => this.#outbox.seeLogPosition(run, at));
    this.#begin = database.prepare("BEGIN IMMEDIATE");
    this.#commit = database.prepare("COMMIT");
  }

  /**
   * Fails with E_STATE_LOCKED (another agent), E_STATE_READONLY, E_STATE_FULL, E_STATE_CORRUPT,
   * E_STATE_VERSION (written by a later release) or E_STATE_IO.
   */
  static open(options: JournalOptions): Result<Journal> {
    const path = journalPath(options.stateDir);
    let lock: StateLock | undefined;
    let database: DatabaseSync | undefined;
    try {
      mkdirSync(options.stateDir, { recursive: true, mode: 0o700 });
      const taken = StateLock.take(options.stateDir);
      if (!taken.ok) {
        return taken;
      }
      lock = taken.value;
      database = openDatabase(path, {
        durability: options.durability,
        checkpointElsewhere: options.ship,
        ...(options.limitBytes === undefined ? {} : { limitBytes: options.limitBytes }),
      });
      return { ok: true, value: new Journal(options, lock, database) };
    } catch (error) {
      database?.close();
      lock?.release();
      return { ok: false, diagnostics: [openError(error, path)] };
    }
  }

  /** Random id of this agent process, for `hello`. */
  nodeBoot(): string {
    // Made when it is asked for: only the link wants it, and loading crypto costs milliseconds.
    this.#boot ??= crypto.randomUUID();
    return this.#boot;
  }

  /** Throws for a name that is no run id, and for one that is already open. */
  beginRun(run: string, start: RunStart): void {
    this.#runs.begin(run, start);
  }

  /** Undoes a `beginRun` whose commit failed: the run was never there. */
  withdrawRun(run: string): void {
    this.#runs.withdraw(run);
  }

  isOpen(run: string): boolean {
    return this.#runs.isOpen(run);
  }

  /** Whether this journal has or had a run of that name; names are not used twice. */
  knowsRun(run: string): boolean {
    return this.#runs.isKnown(run);
  }

  /** `events` must not be changed afterwards: they are written by the next `commit`. */
  append(run: string, events: readonly unknown[]): void {
    this.#runs.append(run, events);
  }

  /** Returns the record's sequence number; 0 when nothing is shipped. */
  record(record: UnnumberedRecord): number {
    return this.#options.ship ? this.#outbox.addRecord(record) : 0;
  }

  /** Whole lines that have been written to a segment. At most 256 KiB, since it is one record. */
  recordLogChunk(log: LogPointer): number {
    return this.#options.ship ? this.#outbox.addLog(log) : 0;
  }

  /** The file must stay until it is acked; below the run's objects folder the journal removes it then. */
  recordObject(object: Omit<ObjectPointer, "parts" | "partBytes">): number {
    return this.#options.ship ? this.#outbox.addObject(object) : 0;
  }

  /** The outcome is written by the next `commit`, the events are deleted little by little after it. */
  finishRun(run: string, outcome: RunOutcome): void {
    this.#runs.finish(run, outcome, this.#outbox.nextSeq - 1);
  }

  /** Writes everything since the last commit in one transaction. On failure all of it stays buffered. */
  commit(): Result<null> {
    const rows = this.#runs.pending + (this.#outbox.hasPending ? 1 : 0);
    if (rows === 0) {
      return done;
    }
    // A single insert is its own transaction: two statements less on the shortest path.
    const result =
      rows === 1 ? this.#attempt(() => this.#writeTurn()) : this.#transact(() => this.#writeTurn());
    if (result.ok) {
      this.#turnWritten();
    }
    return result;
  }

  /** Runs that have not finished, with their events, for the replay after a restart. */
  openRuns(): OpenRun[] {
    return this.#runs.openRuns();
  }

  /** All records up to `seq` are stored at the master. What does not fit one step is left to `maintain`. */
  ack(seq: number): Result<null> {
    this.#ackTarget = Math.max(this.#ackTarget, Math.min(seq, this.#outbox.nextSeq - 1));
    return this.#ackTarget > this.#outbox.acked ? this.#ackStep() : done;
  }

  /**
   * The master has acknowledged numbers that this journal never gave away (the state was set up anew
   * under an old name): everything held gets the numbers after them. Reconnect afterwards.
   */
  renumber(acked: number): Result<null> {
    const committed = this.commit();
    if (!committed.ok || acked < this.#outbox.nextSeq) {
      return committed;
    }
    let shift = 0;
    const result = this.#transact(() => {
      shift = this.#outbox.writeRenumbered(acked);
      this.#runs.writeRenumbered(this.#outbox.acked, shift);
    });
    if (result.ok) {
      this.#outbox.renumberedWritten(acked, shift);
      this.#ackTarget = acked;
    }
    return result;
  }

  /**
   * One bounded step of tidying (about a millisecond): acked rows, events of finished runs. To be
   * called when the agent has nothing better to do; `more` says that there is work left.
   */
  maintain(): Result<{ more: boolean }> {
    const acked = this.#ackStep();
    if (!acked.ok) {
      return acked;
    }
    const swept = this.#runs.hasGarbage ? this.#attempt(() => this.#runs.sweep(rowsPerStep)) : done;
    return swept.ok
      ? { ok: true, value: { more: this.#runs.hasGarbage || this.#ackBacklog } }
      : swept;
  }

  /** Finished and shipped runs beyond the newest `keepRuns`: their folders may go, then `forgetRun`. */
  expiredRuns(): { run: string; folder: string }[] {
    const shippedUpTo = this.#options.ship ? this.#outbox.acked : Number.MAX_SAFE_INTEGER;
    const runs = this.#runs.expired(shippedUpTo, this.#options.keepRuns ?? 50);
    return runs.map((run) => ({ run, folder: runDir(this.#options.stateDir, run) }));
  }

  /** Digests of the artifacts that known runs were made from. */
  digests(): Set<string> {
    return this.#runs.digests();
  }

  forgetRun(run: string): Result<null> {
    return this.#attempt(() => {
      this.#runs.forget(run);
    });
  }

  outboxDepth(): number {
    return this.#outbox.depth;
  }

  nextSeq(): number {
    return this.#outbox.nextSeq;
  }

  /** True while unacknowledged records need the segment's file. */
  holdsSegment(run: string, segment: number): boolean {
    return this.#outbox.holdsSegment(run, segment);
  }

  /** Up to where the combined log of an open run has been recorded; lines after it are not yet. */
  logPosition(run: string): LogPosition | undefined {
    return this.#options.ship ? this.#outbox.logPosition(run) : undefined;
  }

  /** What is buffered and not committed is given up. */
  close(): void {
    this.#database.close();
    this.#lock.release();
  }

  #writeTurn(): void {
    if (this.#runs.pending > 0) {
      this.#runs.writePending();
    }
    if (this.#outbox.hasPending) {
      this.#outbox.writePending();
    }
  }

  #turnWritten(): void {
    if (this.#outbox.hasPending) {
      this.#outbox.pendingWritten();
    }
    for (const run of this.#runs.pendingWritten()) {
      this.#outbox.forgetLogPosition(run);
    }
  }

  #ackStep(): Result<null> {
    const seq = this.#ackTarget;
    if (seq === this.#outbox.acked && !this.#ackBacklog) {
      return done;
    }
    let rows = 0;
    const result = this.#transact(() => {
      rows = this.#outbox.writeAck(seq, rowsPerStep).rows;
      this.#runs.writeLogPositions((run) => this.#outbox.logPosition(run));
    });
    if (result.ok) {
      this.#ackBacklog = rows === rowsPerStep;
      this.#removeObjects(this.#outbox.ackWritten(seq));
    }
    return result;
  }

  /** Artifacts that lie in a run's working folder belong to the run; only copies made to ship go. */
  #removeObjects(paths: readonly string[]): void {
    const runs = `${this.#options.stateDir}/runs/`;
    for (const path of paths) {
      const run = path.startsWith(runs) ? path.slice(runs.length).split("/")[0] : undefined;
      if (run !== undefined && path.startsWith(`${runObjectsDir(this.#options.stateDir, run)}/`)) {
        unlink(path, (error) => {
          if (error !== null && error.code !== "ENOENT") {
            this.#options.onProblem?.(stateError(error, path));
          }
        });
      }
    }
  }

  #transact(write: () => void): Result<null> {
    return this.#attempt(() => {
      this.#begin.run();
      write();
      this.#commit.run();
    });
  }

  #attempt(write: () => void): Result<null> {
    try {
      write();
      return done;
    } catch (error) {
      if (!isSqliteError(error)) {
        throw error;
      }
      // SQLite rolls back by itself on some of its errors, not on all.
      if (this.#database.isTransaction) {
        this.#database.exec("ROLLBACK");
      }
      return { ok: false, diagnostics: [stateError(error, journalPath(this.#options.stateDir))] };
    }
  }
}

const rowsPerStep = 256;
const done: Result<null> = Object.freeze({ ok: true, value: null });

function isSqliteError(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ERR_SQLITE_ERROR";
}

function openError(error: unknown, path: string): Diagnostic {
  if (error instanceof NewerSchema) {
    return {
      code: "E_STATE_VERSION",
      path,
      message: `the journal was written by a later release (${error.message})`,
      remedy: "Run that release again, or set EDGEDAG_STATE to a new folder.",
    };
  }
  return stateError(error, path);
}
