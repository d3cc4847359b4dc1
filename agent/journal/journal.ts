// The journal: what must survive the agent. Events of open runs (replayed after a restart) and the
// outbox (what the master has not acknowledged), in one SQLite database with one writer, the agent's
// main thread. Everything of a turn is buffered and written by `commit()` in one transaction.
// It never decides anything about a run and never talks to the master. A call that cannot be written
// is a value, and what was buffered stays buffered until it can.
import { randomUUID } from "node:crypto";
import { mkdirSync, unlink } from "node:fs";
import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Diagnostic, Result } from "../../protocol/diagnostic.ts";
import type { Json } from "../../protocol/json.ts";
import type { LogPointer, ObjectPointer, UnnumberedRecord } from "../../protocol/outbox.ts";
import type { RunOutcome } from "../../protocol/outcome.ts";
import { journalPath, runDir, runIdPattern, runObjectsDir } from "../../protocol/state-paths.ts";
import { type LogPosition, Outbox } from "./outbox.ts";
import { NewerSchema, openDatabase } from "./schema.ts";
import { stateError } from "./state-error.ts";
import { StateLock } from "./state-lock.ts";

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

export interface RunStart {
  digest: string;
  /** Unix milliseconds. */
  startedAt: number;
  params?: { [name: string]: Json };
}

export interface OpenRun extends RunStart {
  run: string;
  /** In the order in which they were appended; JSON values. */
  events: unknown[];
}

export class Journal {
  readonly #options: JournalOptions;
  readonly #lock: StateLock;
  readonly #database: DatabaseSync;
  readonly #outbox: Outbox;
  readonly #statements: Statements;
  readonly #boot = randomUUID();
  readonly #runs = new Map<string, RunEntry>();
  /** Runs with events that `commit` has to write. */
  readonly #dirty = new Set<RunEntry>();
  /** Rows of `runs` to write before and after the events. */
  #begun: RunEntry[] = [];
  #finished: { entry: RunEntry; outcome: RunOutcome; at: number; lastSeq: number }[] = [];
  /** Numbers of finished runs whose events are still to be deleted. */
  #garbage: number[];
  #nextRunNo: number;
  #ackTarget: number;
  /** The last step left acknowledged rows behind. */
  #ackBacklog = true;

  private constructor(options: JournalOptions, lock: StateLock, database: DatabaseSync) {
    this.#options = options;
    this.#lock = lock;
    this.#database = database;
    this.#outbox = new Outbox(database);
    this.#ackTarget = this.#outbox.acked;
    this.#statements = prepare(database);
    const last = database.prepare("SELECT max(no) AS no FROM runs").get();
    this.#nextRunNo = Number(last?.no ?? 0) + 1;
    this.#garbage = database
      .prepare("SELECT no FROM runs WHERE outcome IS NOT NULL")
      .all()
      .map((row) => Number(row.no));
    for (const row of database.prepare("SELECT * FROM runs WHERE outcome IS NULL").all()) {
      const no = Number(row.no);
      const from = no * eventsPerRun;
      const highest = this.#statements.lastEvent.get(from, from + eventsPerRun);
      this.#runs.set(String(row.run), {
        no,
        run: String(row.run),
        nextEvent: highest?.id == null ? 0 : Number(highest.id) - from + 1,
        events: [],
        start: {
          digest: String(row.digest),
          startedAt: Number(row.started_at),
          ...(row.params === null ? {} : { params: JSON.parse(String(row.params)) }),
        },
      });
      this.#outbox.setLogPosition(String(row.run), {
        segment: Number(row.log_segment),
        end: Number(row.log_end),
      });
    }
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
    return this.#boot;
  }

  /** Throws for a name that is no run id, and for one that is already open. */
  beginRun(run: string, start: RunStart): void {
    if (!runIdPattern.test(run) || this.#runs.has(run)) {
      throw new Error(`cannot begin run ${run}`);
    }
    const entry = { no: this.#nextRunNo++, run, nextEvent: 0, events: [], start };
    this.#runs.set(run, entry);
    this.#begun.push(entry);
  }

  /** `events` must not be changed afterwards: they are written by the next `commit`. */
  append(run: string, events: readonly unknown[]): void {
    const entry = this.#entry(run);
    for (const event of events) {
      entry.events.push(event);
    }
    this.#dirty.add(entry);
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
    const entry = this.#entry(run);
    const lastSeq = this.#outbox.nextSeq - 1;
    this.#finished.push({ entry, outcome, at: Date.now(), lastSeq });
    this.#runs.delete(run);
  }

  /** Writes everything since the last commit in one transaction. On failure all of it stays buffered. */
  commit(): Result<null> {
    const rows =
      this.#dirty.size +
      this.#begun.length +
      this.#finished.length +
      (this.#outbox.hasPending ? 1 : 0);
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
    return [...this.#runs.values()].map(({ no, run, start }) => {
      const from = no * eventsPerRun;
      const rows = this.#statements.events.all(from, from + eventsPerRun);
      // Written by `commit` from arrays.
      const events = rows.flatMap((row) => JSON.parse(String(row.data)) as unknown[]);
      return { run, ...start, events };
    });
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
      this.#database
        .prepare("UPDATE runs SET last_seq = last_seq + ? WHERE last_seq > ?")
        .run(shift, this.#outbox.acked);
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
    const no = this.#garbage[0];
    if (no === undefined) {
      return { ok: true, value: { more: this.#ackBacklog } };
    }
    const from = no * eventsPerRun;
    let deleted = 0;
    const result = this.#attempt(() => {
      deleted = Number(
        this.#statements.deleteEvents.run(from, from + eventsPerRun, rowsPerStep).changes,
      );
    });
    if (!result.ok) {
      return result;
    }
    if (deleted < rowsPerStep) {
      this.#garbage.shift();
    }
    return { ok: true, value: { more: this.#garbage.length > 0 || this.#ackBacklog } };
  }

  /** Finished and shipped runs beyond the newest `keepRuns`: their folders may go, then `forgetRun`. */
  expiredRuns(): { run: string; folder: string }[] {
    const shippedUpTo = this.#options.ship ? this.#outbox.acked : Number.MAX_SAFE_INTEGER;
    const rows = this.#statements.expired.all(shippedUpTo, this.#options.keepRuns ?? 50);
    const tidy = rows.filter((row) => !this.#garbage.includes(Number(row.no)));
    return tidy.map((row) => {
      const run = String(row.run);
      return { run, folder: runDir(this.#options.stateDir, run) };
    });
  }

  forgetRun(run: string): Result<null> {
    return this.#attempt(() => {
      this.#statements.deleteRun.run(run);
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

  #entry(run: string): RunEntry {
    const entry = this.#runs.get(run);
    if (entry === undefined) {
      throw new Error(`run ${run} is not open`);
    }
    return entry;
  }

  #writeTurn(): void {
    for (const { no, run, start } of this.#begun) {
      const params = start.params === undefined ? null : JSON.stringify(start.params);
      this.#statements.insertRun.run(no, run, start.digest, params, start.startedAt);
    }
    for (const { no, nextEvent, events } of this.#dirty) {
      this.#statements.insertEvents.run(no * eventsPerRun + nextEvent, JSON.stringify(events));
    }
    if (this.#outbox.hasPending) {
      this.#outbox.writePending();
    }
    for (const { entry, outcome, at, lastSeq } of this.#finished) {
      this.#statements.finishRun.run(JSON.stringify(outcome), at, lastSeq, entry.no);
    }
  }

  #turnWritten(): void {
    for (const entry of this.#dirty) {
      entry.nextEvent += 1;
      entry.events = [];
    }
    this.#dirty.clear();
    if (this.#outbox.hasPending) {
      this.#outbox.pendingWritten();
    }
    for (const { entry } of this.#finished) {
      this.#garbage.push(entry.no);
      this.#outbox.forgetLogPosition(entry.run);
    }
    this.#begun = [];
    this.#finished = [];
  }

  #ackStep(): Result<null> {
    const seq = this.#ackTarget;
    if (seq === this.#outbox.acked && !this.#ackBacklog) {
      return done;
    }
    // Pointers that are buffered but not committed must not count as recorded after a crash.
    const positions = this.#outbox.hasPending ? [] : [...this.#runs.values()];
    let rows = 0;
    const result = this.#transact(() => {
      rows = this.#outbox.writeAck(seq, rowsPerStep).rows;
      for (const { no, run } of positions) {
        const position = this.#outbox.logPosition(run);
        if (position !== undefined) {
          this.#statements.logPosition.run(position.segment, position.end, no);
        }
      }
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
      this.#statements.begin.run();
      write();
      this.#statements.commit.run();
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
        this.#statements.rollback.run();
      }
      return { ok: false, diagnostics: [stateError(error, journalPath(this.#options.stateDir))] };
    }
  }
}

interface RunEntry {
  no: number;
  run: string;
  /** Rows of events are numbered within their run, so that a run is one range of the table. */
  nextEvent: number;
  events: unknown[];
  start: RunStart;
}

/** Room for 2^32 turns a run, and 2^21 runs below the largest safe integer. */
const eventsPerRun = 2 ** 32;
const rowsPerStep = 256;
const done: Result<null> = Object.freeze({ ok: true, value: null });

type Statements = ReturnType<typeof prepare>;

function prepare(database: DatabaseSync) {
  const sql = (text: string): StatementSync => database.prepare(text);
  return {
    begin: sql("BEGIN IMMEDIATE"),
    commit: sql("COMMIT"),
    rollback: sql("ROLLBACK"),
    insertRun: sql("INSERT INTO runs (no, run, digest, params, started_at) VALUES (?, ?, ?, ?, ?)"),
    insertEvents: sql("INSERT INTO events VALUES (?, ?)"),
    events: sql("SELECT data FROM events WHERE id >= ? AND id < ? ORDER BY id"),
    lastEvent: sql("SELECT max(id) AS id FROM events WHERE id >= ? AND id < ?"),
    deleteEvents: sql(
      "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE id >= ? AND id < ? LIMIT ?)",
    ),
    finishRun: sql("UPDATE runs SET outcome = ?, finished_at = ?, last_seq = ? WHERE no = ?"),
    deleteRun: sql("DELETE FROM runs WHERE run = ? AND outcome IS NOT NULL"),
    logPosition: sql("UPDATE runs SET log_segment = ?, log_end = ? WHERE no = ?"),
    expired: sql(
      "SELECT no, run FROM runs WHERE outcome IS NOT NULL AND last_seq <= ? ORDER BY no DESC LIMIT -1 OFFSET ?",
    ),
  };
}

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
