// Applies the records of the link to the database. The caller holds the transaction; this file owns
// the statements and the rule that a record is applied once: numbers up to the node's acked are skipped,
// and every statement is an upsert, so that even records that were numbered anew do no harm.
import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { LinkRecord } from "../../../protocol/link.ts";
import { mayBeEarly } from "../../../protocol/outbox.ts";
import type { FrameResult, RecordFrame } from "../storage.ts";

interface RunRef {
  no: number;
  isForeign: boolean;
}

interface RunTally {
  finished: number;
  failed: number;
}

/** State of one frame while it is applied. */
interface Application {
  frame: RecordFrame;
  runs: Map<string, RunRef>;
  tallies: Map<number, RunTally>;
  finishedRuns: string[];
  wholeObject: boolean;
  lost: number;
}

type Of<Type extends LinkRecord["type"]> = LinkRecord & { type: Type };

export class FrameApplier {
  readonly #statements: Statements;

  constructor(database: DatabaseSync) {
    this.#statements = prepare(database);
  }

  apply(frame: RecordFrame): FrameResult {
    const acked = numberOf(this.#statements.acked.get(frame.node)?.acked);
    const application: Application = {
      frame,
      runs: new Map(),
      tallies: new Map(),
      finishedRuns: [],
      wholeObject: false,
      lost: 0,
    };
    if (frame.isEarly === true) {
      this.#early(application, acked);
      return resultOf(application, acked, 0);
    }
    const first = frame.records[0];
    if (first !== undefined && first.seq > acked + 1) {
      return { ...resultOf(application, acked, 0), gapAt: first.seq };
    }
    let last = acked;
    let applied = 0;
    for (const record of frame.records) {
      if (record.seq <= last) continue;
      last = record.seq;
      applied++;
      if (record.type === "sent-early") continue;
      if (record.type === "records-lost") {
        application.lost++;
        continue;
      }
      const run = this.#run(record, application);
      if (!run.isForeign) this.#record(record, run.no, application);
    }
    if (applied > 0) {
      this.#writeTallies(application);
      this.#statements.setAcked.run(last, frame.time, frame.node);
      this.#statements.count.run(applied);
      if (application.lost > 0) this.#statements.lost.run(application.lost, frame.node);
    }
    return resultOf(application, last, applied);
  }

  /**
   * Ahead of their turn: the acknowledged number stays, so the same records may come again in full, in
   * their turn, when the connection ended or this master was restored from an older backup.
   */
  #early(application: Application, acked: number): void {
    for (const record of application.frame.records) {
      if (record.seq <= acked || !mayBeEarly(record)) continue;
      const run = this.#run(record, application);
      if (!run.isForeign) this.#record(record, run.no, application);
    }
    this.#writeTallies(application);
  }

  #writeTallies(application: Application): void {
    for (const [no, tally] of application.tallies) {
      this.#statements.tally.run(tally.finished, tally.failed, no);
    }
  }

  /** A record that comes again (early and in its turn, or with a new number) is not counted again. */
  #isNew(run: number, task: string, attempt: number): boolean {
    return numberOf(this.#statements.isFinal.get(run, task, attempt)?.is_final) === 0;
  }

  /** The run of a record; one that the master has not heard of is made, so that nothing is refused. */
  #run(record: LinkRecord, application: Application): RunRef {
    const known = application.runs.get(record.run);
    if (known !== undefined) return known;
    const node = application.frame.node;
    const row = this.#statements.run.get(record.run);
    let run: RunRef;
    if (row === undefined) {
      const made = this.#statements.makeRun.run(record.run, node, record.time, record.time);
      run = { no: Number(made.lastInsertRowid), isForeign: false };
    } else {
      run = { no: numberOf(row.no), isForeign: row.node !== null && row.node !== node };
      // Any record proves that the node has the run, even when its acceptance got lost.
      if (!run.isForeign && isWaiting(row.state)) {
        this.#statements.runRuns.run(node, record.time, run.no);
      }
    }
    application.runs.set(record.run, run);
    return run;
  }

  #record(record: LinkRecord, run: number, application: Application): void {
    const sql = this.#statements;
    switch (record.type) {
      case "attempt-finished": {
        const counts = record.final === true && this.#isNew(run, record.task, record.attempt);
        sql.attemptFinished.run(
          run,
          record.task,
          record.attempt,
          record.final === true ? 1 : 0,
          record.time,
          JSON.stringify(record.outcome),
          JSON.stringify(record.facts),
          record.result === undefined ? null : JSON.stringify(record.result),
        );
        if (counts) tally(application, run, record);
        return;
      }
      case "log":
        this.#log(record, run);
        return;
      case "attempt-started":
        sql.attemptStarted.run(run, record.task, record.attempt, record.time);
        return;
      case "progress":
        sql.progress.run(
          run,
          record.task,
          record.attempt,
          record.time,
          record.fraction,
          record.text ?? null,
        );
        return;
      case "task-finished": {
        const counts = this.#isNew(run, record.task, 0);
        sql.taskFinished.run(run, record.task, record.time, JSON.stringify(record.outcome));
        if (counts) tally(application, run, record);
        return;
      }
      case "run-started":
        sql.runStarted.run(
          record.dag,
          record.digest,
          record.tasks,
          record.params === undefined ? null : JSON.stringify(record.params),
          record.time,
          run,
        );
        return;
      case "run-finished":
        sql.runFinished.run(
          record.time,
          JSON.stringify(record.outcome),
          JSON.stringify(record.summary),
          run,
        );
        application.finishedRuns.push(record.run);
        return;
      case "object-part":
        if (this.#objectPart(record, run)) application.wholeObject = true;
        return;
      case "records-lost":
      case "sent-early":
        return; // of no run: seen before
    }
  }

  #log(record: Of<"log">, run: number): void {
    const first = record.lines[0];
    const last = record.lines.at(-1);
    if (first === undefined || last === undefined) return;
    let text = "";
    for (const line of record.lines) text += `${JSON.stringify(line)}\n`;
    this.#statements.logChunk.run(run, first.seq, last.seq, text);
  }

  /** True when this part made the object whole. */
  #objectPart(record: Of<"object-part">, run: number): boolean {
    const sql = this.#statements;
    const { kind, task, attempt, name } = record;
    sql.makeObject.run(
      run,
      kind,
      task,
      attempt,
      name,
      record.parts,
      record.sizeBytes,
      record.sha256,
    );
    const object = sql.object.get(run, kind, task, attempt, name);
    const id = numberOf(object?.id);
    const stored = sql.part.run(id, record.part, Buffer.from(record.data, "base64"));
    if (Number(stored.changes) === 0) return false;
    sql.partStored.run(id);
    return numberOf(object?.parts_stored) + 1 >= numberOf(object?.parts);
  }
}

function tally(
  application: Application,
  run: number,
  record: Of<"attempt-finished"> | Of<"task-finished">,
): void {
  // Items of a fan-out are not counted: the fan-out itself is, once.
  if (record.task.includes("[")) return;
  const tally = application.tallies.get(run) ?? { finished: 0, failed: 0 };
  tally.finished++;
  if (record.outcome.kind === "failed") tally.failed++;
  application.tallies.set(run, tally);
}

function isWaiting(state: unknown): boolean {
  return (
    state === "queued" ||
    state === "offered" ||
    state === "accepted" ||
    state === "lost" ||
    state === "refused"
  );
}

function resultOf(application: Application, acked: number, applied: number): FrameResult {
  const runs: string[] = [];
  const foreignRuns: string[] = [];
  for (const [id, run] of application.runs) (run.isForeign ? foreignRuns : runs).push(id);
  const { finishedRuns, wholeObject, lost } = application;
  return { acked, applied, runs, finishedRuns, foreignRuns, wholeObject, lost };
}

function numberOf(value: unknown): number {
  return typeof value === "number" ? value : 0;
}

type Statements = ReturnType<typeof prepare>;

function prepare(database: DatabaseSync) {
  const sql = (text: string): StatementSync => database.prepare(text);
  return {
    acked: sql("SELECT acked FROM nodes WHERE id = ?"),
    setAcked: sql("UPDATE nodes SET acked = ?, last_seen_at = max(last_seen_at, ?) WHERE id = ?"),
    count: sql("UPDATE counters SET value = value + ? WHERE name = 'records'"),
    lost: sql("UPDATE nodes SET missing_records = missing_records + ? WHERE id = ?"),
    run: sql("SELECT no, node, state FROM runs WHERE id = ?"),
    makeRun: sql(
      `INSERT INTO runs (id, dag, digest, state, source, node, is_any, labels_json, created_at, started_at)
       VALUES (?, '', '', 'running', 'node', ?, 0, '{}', ?, ?)`,
    ),
    runRuns: sql(
      "UPDATE runs SET state = 'running', node = ?, started_at = coalesce(started_at, ?) WHERE no = ?",
    ),
    runStarted: sql(
      `UPDATE runs SET dag = ?, digest = ?, tasks = ?, params_json = coalesce(?, params_json),
       started_at = ? WHERE no = ?`,
    ),
    runFinished: sql(
      `UPDATE runs SET state = 'finished', finished_at = ?, outcome_json = ?, summary_json = ?
       WHERE no = ?`,
    ),
    tally: sql(
      `UPDATE runs SET finished_tasks = finished_tasks + ?, failed_tasks = failed_tasks + ?
       WHERE no = ?`,
    ),
    isFinal: sql("SELECT is_final FROM attempts WHERE run_no = ? AND task = ? AND attempt = ?"),
    attemptStarted: sql(
      `INSERT INTO attempts (run_no, task, attempt, is_finished, is_final, time)
       VALUES (?, ?, ?, 0, 0, ?) ON CONFLICT DO NOTHING`,
    ),
    attemptFinished: sql(
      `INSERT INTO attempts (run_no, task, attempt, is_finished, is_final, time, outcome_json,
         facts_json, result_json)
       VALUES (?, ?, ?, 1, ?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET is_finished = 1, is_final = excluded.is_final,
         time = excluded.time, outcome_json = excluded.outcome_json,
         facts_json = excluded.facts_json, result_json = excluded.result_json`,
    ),
    taskFinished: sql(
      `INSERT INTO attempts (run_no, task, attempt, is_finished, is_final, time, outcome_json)
       VALUES (?, ?, 0, 1, 1, ?, ?)
       ON CONFLICT DO UPDATE SET time = excluded.time, outcome_json = excluded.outcome_json`,
    ),
    progress: sql(
      `INSERT INTO attempts (run_no, task, attempt, is_finished, is_final, time, progress,
         progress_text)
       VALUES (?, ?, ?, 0, 0, ?, ?, ?)
       ON CONFLICT DO UPDATE SET progress = excluded.progress,
         progress_text = excluded.progress_text`,
    ),
    logChunk: sql(
      "INSERT OR IGNORE INTO log_chunks (run_no, first_seq, last_seq, text) VALUES (?, ?, ?, ?)",
    ),
    makeObject: sql(
      `INSERT INTO objects (run_no, kind, task, attempt, name, parts, size_bytes, sha256)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
    ),
    object: sql(
      `SELECT id, parts, parts_stored FROM objects
       WHERE run_no = ? AND kind = ? AND task = ? AND attempt = ? AND name = ?`,
    ),
    part: sql("INSERT OR IGNORE INTO object_parts (object_id, part, data) VALUES (?, ?, ?)"),
    partStored: sql(
      `UPDATE objects SET parts_stored = parts_stored + 1,
         state = CASE WHEN parts_stored + 1 >= parts THEN 'whole' ELSE state END
       WHERE id = ?`,
    ),
  };
}
