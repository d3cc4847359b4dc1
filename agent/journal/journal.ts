// The journal: what must survive the agent. Events of open runs (replayed after a restart) and the
// outbox (what the master has not acknowledged), in one SQLite database with one writer, the agent's
// main thread. Everything of a turn is buffered and written by `commit()` in one transaction.
// It never decides anything about a run and never talks to the master. A call that cannot be written
// is a value, and what was buffered stays buffered until it can.
import { closeSync, existsSync, fsync, fsyncSync, mkdirSync, openSync, unlink } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { crashPoint } from "../../protocol/crash-points.ts";
import type { Diagnostic, Result } from "../../protocol/diagnostic.ts";
import type { LogGap, LogPointer, ObjectPointer, UnnumberedRecord } from "../../protocol/outbox.ts";
import type { RunOutcome } from "../../protocol/outcome.ts";
import { journalPath, runDir, runObjectsDir } from "../../protocol/state-paths.ts";
import { findDamage, isOutboxRowSound } from "./examine.ts";
import { LogRoom } from "./log-room.ts";
import { type OpenedDatabase, openError, openSound } from "./open-sound.ts";
import { type LogPosition, Outbox } from "./outbox.ts";
import { closeState } from "./private-state.ts";
import { type OpenRun, type RunStart, RunTable } from "./run-table.ts";
import { lostRow, setAside } from "./salvage.ts";
import { SignatureTable, type UseOfSignature } from "./signature-table.ts";
import { stateError } from "./state-error.ts";
import { StateLock } from "./state-lock.ts";
import { type FileSync, Syncer } from "./syncer.ts";

export type { OpenRun, RunStart } from "./run-table.ts";

export interface JournalOptions {
  stateDir: string;
  durability: "process" | "power";
  /** False when no master is configured: nothing is kept for one, and `record` returns 0. */
  ship: boolean;
  /** Nothing goes on from it after a loss of power. */
  isOneOff?: boolean;
  /** Most bytes of the database file; absent: as large as the disk allows. */
  limitBytes?: number;
  /** Finished runs whose folders stay for `edgedag logs`; default 50. */
  keepRuns?: number;
  /** Something that the journal could not tidy up; nothing is lost by it. */
  onProblem?(problem: Diagnostic): void;
}

export class Journal {
  /** The journal was damaged when it was opened; what is lost is said here. */
  readonly recovery: Diagnostic | undefined;
  readonly #options: JournalOptions;
  readonly #lock: StateLock;
  readonly #database: DatabaseSync;
  readonly #outbox: Outbox;
  readonly #runs: RunTable;
  readonly #signatures: SignatureTable;
  readonly #begin: StatementSync;
  readonly #commit: StatementSync;
  /** Called when no record needs a segment any more that the master never had: its file is to go. */
  onSegmentDropped: ((run: string, segment: number) => void) | undefined;
  /** Called before a segment is dropped: from here on nothing is written to it. */
  onSegmentDropping: ((run: string, segment: number) => void) | undefined;
  readonly #syncer: Syncer | undefined;
  readonly #walFd: number | undefined;
  /** With EDGEDAG_DURABILITY=power: what was written could not be put on the disk; undefined: it can again. */
  onSyncFailed: ((problem: string | undefined) => void) | undefined;
  #boot: string | undefined;
  #ackTarget: number;
  readonly #room: LogRoom;
  /** The last step left acknowledged rows behind. */
  #ackBacklog = true;

  private constructor(options: JournalOptions, lock: StateLock, opened: OpenedDatabase) {
    const { database, recovery } = opened;
    this.#options = options;
    this.#lock = lock;
    this.#database = database;
    this.recovery = recovery;
    this.#outbox = new Outbox(database);
    this.#room = new LogRoom(database, this.#outbox, {
      dropping: (run, segment) => this.onSegmentDropping?.(run, segment),
      dropped: (run, segment) => this.onSegmentDropped?.(run, segment),
    });
    this.#ackTarget = this.#outbox.acked;
    this.#runs = new RunTable(database, (run, at) => this.#outbox.seeLogPosition(run, at));
    this.#signatures = new SignatureTable(database);
    this.#begin = database.prepare("BEGIN IMMEDIATE");
    this.#commit = database.prepare("COMMIT");
    if (options.durability === "power") {
      const walPath = `${journalPath(options.stateDir)}-wal`;
      const fd = openSync(walPath, "r");
      this.#walFd = fd;
      this.#syncer = new Syncer({
        sync: () => syncDescriptor(fd),
        rewrite: () => this.#checkpointAll(),
        failed: (problem) =>
          this.onSyncFailed?.(
            problem === undefined
              ? undefined
              : `E_STATE_IO: what was written is not on the disk: ${problem} (${syncRemedy})`,
          ),
      });
    }
  }

  /**
   * Fails with E_STATE_LOCKED (another agent), E_STATE_READONLY, E_STATE_FULL, E_STATE_VERSION
   * (written by a later release) or E_STATE_IO. A damaged journal is moved aside and what is sound in
   * it goes on: see `recovery`.
   */
  static open(options: JournalOptions): Result<Journal> {
    const path = journalPath(options.stateDir);
    let lock: StateLock | undefined;
    let opened: OpenedDatabase | undefined;
    try {
      const isLogNew = !existsSync(`${path}-wal`);
      mkdirSync(options.stateDir, { recursive: true, mode: 0o700 });
      const taken = StateLock.take(options.stateDir);
      if (!taken.ok) {
        return taken;
      }
      lock = taken.value;
      opened = openSound(path, options);
      closeState(options.stateDir);
      // The log is synced by ourselves, and SQLite would sync its name with the first checkpoint.
      if (isLogNew && (options.ship || options.durability === "power")) {
        syncNames(options.stateDir);
      }
      return { ok: true, value: new Journal(options, lock, opened) };
    } catch (error) {
      opened?.database.close();
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
    this.#signatures.withdraw(run);
  }

  /** With which signature the run of `beginRun` was taken; written by the same commit. */
  useSignature(use: UseOfSignature): void {
    this.#signatures.use(use);
  }

  /** What is known of signatures, also of runs that are long forgotten. */
  get signatures(): Pick<SignatureTable, "usedBy" | "envelopeOf" | "provenAt"> {
    return this.#signatures;
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

  /** Lines that are not there, and will not be. */
  recordLogGap(gap: Omit<LogGap, "span">): number {
    return this.#options.ship ? this.#outbox.addGap({ ...gap, span: 1 }) : 0;
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
    const rows = this.#runs.pending + this.#signatures.pending + (this.#outbox.hasPending ? 1 : 0);
    if (rows === 0) {
      return done;
    }
    // A single insert is its own transaction: two statements less on the shortest path.
    crashPoint("agent.journal-commit");
    const result =
      rows === 1 ? this.#attempt(() => this.#writeTurn()) : this.#transact(() => this.#writeTurn());
    if (result.ok) {
      crashPoint("agent.journal-committed");
      this.#turnWritten();
      this.#syncer?.written();
    }
    return result;
  }

  /** `told` is called when what was committed survives what EDGEDAG_DURABILITY says: at once, or later. */
  whenSynced(told: () => void): void {
    if (this.#syncer === undefined) told();
    else this.#syncer.whenSynced(told);
  }

  /** Files that rows point to are synced before the rows are. */
  addFile(sync: FileSync): void {
    this.#syncer?.addFile(sync);
  }

  removeFile(sync: FileSync): void {
    this.#syncer?.removeFile(sync);
  }

  /** Waits for the disk, on this thread: only for what must not happen twice. */
  syncNow(): Result<null> {
    if (this.#walFd === undefined) return done;
    try {
      fsyncSync(this.#walFd);
      return done;
    } catch (error) {
      const path = journalPath(this.#options.stateDir);
      return { ok: false, diagnostics: [stateError(error, path)] };
    }
  }

  /**
   * Everything that is in the write-ahead log is written to the database and synced: what a failed
   * sync of the log has lost is written a second time. Throws when that is not possible either.
   */
  #checkpointAll(): void {
    const row = this.#database.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get();
    if (row?.busy !== 0) throw new Error("the journal is being read");
  }

  /** After the link thread has seen a sync fail. */
  rewrite(): Result<null> {
    return this.#attempt(() => {
      this.#database.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get();
    });
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
    if (!committed.ok || (acked < this.#outbox.nextSeq && !this.#isAnew())) {
      return committed;
    }
    let shift = 0;
    const result = this.#transact(() => {
      this.#database.exec("DELETE FROM meta WHERE key = 'anew'");
      shift = this.#outbox.writeRenumbered(acked);
      this.#runs.writeRenumbered(this.#outbox.acked, shift);
    });
    if (result.ok) {
      this.#outbox.renumberedWritten(acked, shift);
      this.#room.restart();
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
    return this.#transact(() => {
      this.#runs.forget(run);
      this.#signatures.forget(run);
    });
  }

  outboxDepth(): number {
    return this.#outbox.depth;
  }

  /**
   * Looks at the file through a connection of its own. False also when it cannot be read now: SQLite calls
   * a bad moment of the disk damage, too.
   */
  isDamaged(): boolean {
    let database: DatabaseSync | undefined;
    try {
      database = new DatabaseSync(journalPath(this.#options.stateDir), { readOnly: true });
      return findDamage(database) !== undefined;
    } catch {
      return false; // nothing is proved by it; the journal is red and is tried again
    } finally {
      database?.close();
    }
  }

  /** Bytes that are kept because the master has not acknowledged them, the database itself included. */
  get outboxBytes(): number {
    return this.#room.bytes;
  }

  /** The segment's file is gone, though the master has not all of it. */
  segmentGone(run: string, segment: number): void {
    this.#room.segmentGone(run, segment);
  }

  /** A segment is to be dropped whatever the limit: its file is gone, or it was begun. */
  get mustDrop(): boolean {
    return this.#room.mustDrop;
  }

  /**
   * One bounded step of dropping log lines that wait for the master, oldest first; `lines` 0: there
   * are none. Gaps stand in their place. Results and outcomes are never dropped. `onlyDue`: only what
   * `mustDrop` means.
   */
  dropOldestLog({ onlyDue = false } = {}): Result<{ lines: number; bytes: number; run: string }> {
    const committed = this.commit();
    if (!committed.ok) return committed;
    const drop = this.#room.current(onlyDue);
    if (drop === undefined) return { ok: true, value: { lines: 0, bytes: 0, run: "" } };
    let dropped = { lines: 0, bytes: 0, isDone: false };
    const result = this.#transact(() => {
      dropped = drop.step(rowsPerStep);
    });
    if (!result.ok) {
      this.#room.restart();
      return result;
    }
    if (dropped.isDone) this.#room.done(drop);
    return { ok: true, value: { lines: dropped.lines, bytes: dropped.bytes, run: drop.held.run } };
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
    this.#syncer?.close();
    this.#database.close();
    if (this.#walFd !== undefined) closeSync(this.#walFd);
    this.#lock.release();
  }

  /**
   * A row of the outbox is not what was written (the link thread has found it): its numbers become
   * records that say so, and what is there is kept in the quarantine. Reconnect afterwards.
   */
  repairOutbox(): Result<{ lost: number; folder: string }> {
    const committed = this.commit();
    if (!committed.ok) return committed;
    let lost = 0;
    let folder = "";
    const path = journalPath(this.#options.stateDir);
    const result = this.#attempt(() => {
      const rows = this.#database.prepare("SELECT * FROM outbox").all();
      const damaged = rows.filter((row) => !isOutboxRowSound(row));
      if (damaged.length === 0) return;
      folder = setAside(this.#options.stateDir, path, "copy");
      const replace = this.#database.prepare("UPDATE outbox SET data = ?, sum = ? WHERE seq = ?");
      this.#begin.run();
      for (const { seq, last } of damaged) {
        const row = lostRow(Number(seq), Number(last));
        replace.run(String(row.data), Number(row.sum), Number(seq));
        lost += Number(last) - Number(seq) + 1;
      }
      this.#commit.run();
    });
    return result.ok ? { ok: true, value: { lost, folder } } : result;
  }

  #isAnew(): boolean {
    return this.#database.prepare("SELECT 1 FROM meta WHERE key = 'anew'").get() !== undefined;
  }

  #writeTurn(): void {
    if (this.#runs.pending > 0) {
      this.#runs.writePending();
    }
    if (this.#signatures.pending > 0) {
      this.#signatures.writePending();
    }
    if (this.#outbox.hasPending) {
      this.#outbox.writePending();
    }
    crashPoint("agent.journal-written");
  }

  #turnWritten(): void {
    if (this.#outbox.hasPending) {
      this.#outbox.pendingWritten();
    }
    this.#signatures.pendingWritten();
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
    crashPoint("agent.ack-write");
    const result = this.#transact(() => {
      rows = this.#outbox.writeAck(seq, rowsPerStep).rows;
      this.#runs.writeLogPositions((run) => this.#outbox.logPosition(run));
      crashPoint("agent.ack-written");
    });
    if (result.ok) {
      crashPoint("agent.ack-committed");
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

function syncDescriptor(fd: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fsync(fd, (error) => (error === null ? resolve() : reject(error)));
  });
}

function syncNames(folder: string): void {
  for (const path of [folder, dirname(folder)]) {
    const fd = openSync(path, "r");
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  }
}

const syncRemedy = "Check the disk; it is written again and nothing counts as finished before.";
const rowsPerStep = 256;
const done: Result<null> = Object.freeze({ ok: true, value: null });

function isSqliteError(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ERR_SQLITE_ERROR";
}
