// The tables of runs and their events. Runs inside the journal's transactions and never opens one;
// what is buffered stays buffered until the journal says that it was written.
import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Json } from "../../protocol/json.ts";
import type { RunOutcome } from "../../protocol/outcome.ts";
import { rowSum, type SumOf } from "../../protocol/row-sum.ts";
import { runIdPattern } from "../../protocol/state-paths.ts";
import type { LogPosition } from "./outbox.ts";

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
  /** Why it cannot go on: its rows were damaged. */
  damage?: string;
}

export class RunTable {
  readonly #statements: Statements;
  readonly #open = new Map<string, RunEntry>();
  /** Runs with events to write. */
  readonly #dirty = new Set<RunEntry>();
  #begun: RunEntry[] = [];
  #finished: { entry: RunEntry; outcome: RunOutcome; at: number; lastSeq: number }[] = [];
  /** Numbers of finished runs whose events are still to be deleted. */
  readonly #garbage: number[];
  #nextNo: number;

  /** `seen` is told up to where the log of each open run had been recorded. */
  constructor(database: DatabaseSync, seen: (run: string, position: LogPosition) => void) {
    this.#statements = prepare(database);
    const last = database.prepare("SELECT max(no) AS no FROM runs").get();
    this.#nextNo = Number(last?.no ?? 0) + 1;
    const finished = database.prepare("SELECT no FROM runs WHERE outcome IS NOT NULL").all();
    this.#garbage = finished.map((row) => Number(row.no));
    for (const row of database.prepare("SELECT * FROM runs WHERE outcome IS NULL").all()) {
      const run = String(row.run);
      const no = Number(row.no);
      const from = no * eventsPerRun;
      const highest = this.#statements.lastEvent.get(from, from + eventsPerRun);
      const nextEvent = highest?.id == null ? 0 : Number(highest.id) - from + 1;
      const start = {
        digest: String(row.digest),
        startedAt: Number(row.started_at),
        ...(row.params === null ? {} : { params: JSON.parse(String(row.params)) }),
      };
      const damage = row.damage === null ? {} : { damage: String(row.damage) };
      this.#open.set(run, { no, run, nextEvent, events: [], start, ...damage });
      seen(run, { segment: Number(row.log_segment), end: Number(row.log_end) });
    }
  }

  /** Rows that `writePending` will touch. */
  get pending(): number {
    return this.#dirty.size + this.#begun.length + this.#finished.length;
  }

  /** Throws for a name that is no run id, and for one that is already open. */
  begin(run: string, start: RunStart): void {
    if (!runIdPattern.test(run) || this.#open.has(run)) {
      throw new Error(`cannot begin run ${run}`);
    }
    const entry = { no: this.#nextNo++, run, nextEvent: 0, events: [], start };
    this.#open.set(run, entry);
    this.#begun.push(entry);
  }

  isOpen(run: string): boolean {
    return this.#open.has(run);
  }

  /** Open, or finished and not yet forgotten. */
  isKnown(run: string): boolean {
    return this.#open.has(run) || this.#statements.known.get(run) !== undefined;
  }

  /** Of all runs that are known. */
  digests(): Set<string> {
    const written = this.#statements.digests.all().map((row) => String(row.digest));
    return new Set([...written, ...this.#begun.map(({ start }) => start.digest)]);
  }

  /** Undoes a `begin` that could not be written. */
  withdraw(run: string): void {
    const entry = this.#entry(run);
    const at = this.#begun.indexOf(entry);
    if (at < 0) throw new Error(`run ${run} has been written`);
    this.#begun.splice(at, 1);
    this.#dirty.delete(entry);
    this.#open.delete(run);
  }

  append(run: string, events: readonly unknown[]): void {
    const entry = this.#entry(run);
    for (const event of events) {
      entry.events.push(event);
    }
    this.#dirty.add(entry);
  }

  finish(run: string, outcome: RunOutcome, lastSeq: number): void {
    this.#finished.push({ entry: this.#entry(run), outcome, at: Date.now(), lastSeq });
    this.#open.delete(run);
  }

  writePending(): void {
    for (const { no, run, start } of this.#begun) {
      const params = start.params === undefined ? null : JSON.stringify(start.params);
      const sum = runSum([no, run, start.digest, params, start.startedAt]);
      this.#statements.insertRun.run(no, run, start.digest, params, start.startedAt, sum);
    }
    for (const { no, nextEvent, events } of this.#dirty) {
      const data = JSON.stringify(events);
      this.#statements.insertEvents.run(
        no * eventsPerRun + nextEvent,
        data,
        rowSum(data, eventsSeed(no, nextEvent)),
      );
    }
    for (const { entry, outcome, at, lastSeq } of this.#finished) {
      const text = JSON.stringify(outcome);
      const sum = endSum([entry.no, text, at, lastSeq]);
      this.#statements.finishRun.run(text, at, lastSeq, sum, entry.no);
    }
  }

  /** The transaction that held `writePending` is through. Returns the runs that have finished. */
  pendingWritten(): string[] {
    for (const entry of this.#dirty) {
      entry.nextEvent += 1;
      entry.events = [];
    }
    this.#dirty.clear();
    this.#begun = [];
    const finished = this.#finished.map(({ entry }) => entry);
    this.#finished = [];
    this.#garbage.push(...finished.map(({ no }) => no));
    return finished.map(({ run }) => run);
  }

  /** Inside a transaction. */
  writeLogPositions(positionOf: (run: string) => LogPosition | undefined): void {
    for (const { no, run } of this.#open.values()) {
      const position = positionOf(run);
      if (position !== undefined) {
        const { segment, end } = position;
        this.#statements.logPosition.run(segment, end, logSum([no, segment, end]), no);
      }
    }
  }

  openRuns(): OpenRun[] {
    return [...this.#open.values()].map(({ no, run, start, damage }) => {
      if (damage !== undefined) return { run, ...start, events: [], damage };
      const from = no * eventsPerRun;
      const rows = this.#statements.events.all(from, from + eventsPerRun);
      // Written by `writePending` from arrays.
      const events = rows.flatMap((row) => JSON.parse(String(row.data)) as unknown[]);
      return { run, ...start, events };
    });
  }

  get hasGarbage(): boolean {
    return this.#garbage.length > 0;
  }

  /** Deletes at most `limit` rows of events of finished runs. */
  sweep(limit: number): void {
    const no = this.#garbage[0];
    if (no === undefined) {
      return;
    }
    const from = no * eventsPerRun;
    const { changes } = this.#statements.deleteEvents.run(from, from + eventsPerRun, limit);
    if (changes < limit) {
      this.#garbage.shift();
    }
  }

  /** Finished and swept runs with no number above `seq`, beyond the newest `keep`. */
  expired(seq: number, keep: number): string[] {
    const rows = this.#statements.expired.all(seq, keep);
    return rows
      .filter((row) => !this.#garbage.includes(Number(row.no)))
      .map((row) => String(row.run));
  }

  forget(run: string): void {
    this.#statements.deleteRun.run(run);
  }

  /** Inside a transaction: records above `acked` have got numbers higher by `shift`. */
  writeRenumbered(acked: number, shift: number): void {
    for (const row of this.#statements.lastSeqs.all(acked)) {
      const lastSeq = Number(row.last_seq) + shift;
      const sum = endSum([Number(row.no), row.outcome, row.finished_at, lastSeq]);
      this.#statements.shiftLastSeq.run(lastSeq, sum, row.no ?? null);
    }
  }

  #entry(run: string): RunEntry {
    const entry = this.#open.get(run);
    if (entry === undefined) {
      throw new Error(`run ${run} is not open`);
    }
    return entry;
  }
}

interface RunEntry {
  no: number;
  run: string;
  /** Rows of events are numbered within their run, so that a run is one range of the table. */
  nextEvent: number;
  events: unknown[];
  start: RunStart;
  damage?: string;
}

/** Over the columns that never change. */
export function runSum(
  columns: [no: number, run: unknown, digest: unknown, params: unknown, startedAt: unknown],
  sumOf: SumOf = rowSum,
): number {
  return sumOf(JSON.stringify(columns), 1);
}

export function endSum(
  columns: [no: number, outcome: unknown, finishedAt: unknown, lastSeq: unknown],
  sumOf: SumOf = rowSum,
): number {
  return sumOf(JSON.stringify(columns), 2);
}

export function logSum(
  columns: [no: number, segment: unknown, end: unknown],
  sumOf: SumOf = rowSum,
): number {
  return sumOf(JSON.stringify(columns), 3);
}

/** `index` is that of the row within its run. */
export function eventsSeed(no: number, index: number): number {
  return (Math.imul(no, 31) + index) | 0;
}

/** Room for 2^32 turns a run, and 2^21 runs below the largest safe integer. */
export const eventsPerRun = 2 ** 32;

type Statements = ReturnType<typeof prepare>;

function prepare(database: DatabaseSync) {
  const sql = (text: string): StatementSync => database.prepare(text);
  return {
    insertRun: sql(
      "INSERT INTO runs (no, run, digest, params, started_at, sum) VALUES (?, ?, ?, ?, ?, ?)",
    ),
    insertEvents: sql("INSERT INTO events VALUES (?, ?, ?)"),
    events: sql("SELECT data FROM events WHERE id >= ? AND id < ? ORDER BY id"),
    lastEvent: sql("SELECT max(id) AS id FROM events WHERE id >= ? AND id < ?"),
    deleteEvents: sql(
      "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE id >= ? AND id < ? LIMIT ?)",
    ),
    finishRun: sql(
      "UPDATE runs SET outcome = ?, finished_at = ?, last_seq = ?, end_sum = ? WHERE no = ?",
    ),
    digests: sql("SELECT DISTINCT digest FROM runs"),
    known: sql("SELECT 1 FROM runs WHERE run = ?"),
    deleteRun: sql("DELETE FROM runs WHERE run = ? AND outcome IS NOT NULL"),
    logPosition: sql("UPDATE runs SET log_segment = ?, log_end = ?, log_sum = ? WHERE no = ?"),
    lastSeqs: sql("SELECT no, outcome, finished_at, last_seq FROM runs WHERE last_seq > ?"),
    shiftLastSeq: sql("UPDATE runs SET last_seq = ?, end_sum = ? WHERE no = ?"),
    expired: sql(
      "SELECT no, run FROM runs WHERE outcome IS NOT NULL AND last_seq <= ? ORDER BY no DESC LIMIT -1 OFFSET ?",
    ),
  };
}
