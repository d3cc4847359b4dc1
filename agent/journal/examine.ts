// Looks whether the journal's database is what the agent has written: structure, checksums of rows,
// and numbers without holes. SQLite finds damaged pages only by chance, and damaged values never.
// It changes nothing; what is done about damage is in salvage.ts.
import type { DatabaseSync } from "node:sqlite";
import { decodeEntry, entrySpan } from "../../protocol/outbox.ts";
import { isSound, isSum } from "../../protocol/row-sum.ts";
import { ackedSum } from "./outbox.ts";
import { endSum, eventsPerRun, eventsSeed, logSum, runSum } from "./run-table.ts";

export type Row = Record<string, unknown>;

/** The first thing that is wrong, fit for "the journal is damaged: ..."; throws what SQLite throws. */
export function findDamage(database: DatabaseSync): string | undefined {
  const structure = database.prepare("PRAGMA quick_check(1)").get()?.quick_check;
  if (structure !== "ok") return String(structure).split("\n")[0];
  const table = changedTable(database);
  if (table !== undefined) return `the columns of ${table} are not what was made`;
  const acked = readAcked(database);
  if (acked === undefined) return "the acknowledged number is not what was written";
  return findInOutbox(database, acked) ?? findInRuns(database);
}

/** As the migrations leave them. SQLite believes whatever names stand in its schema. */
const columns: Readonly<Record<string, string>> = {
  meta: "key,value",
  runs: "no,run,digest,params,started_at,outcome,finished_at,last_seq,log_segment,log_end,sum,end_sum,log_sum,damage",
  events: "id,data,sum",
  outbox: "seq,last,data,sum",
  run_signatures: "run,envelope",
  used_signatures: "id,run",
};

function changedTable(database: DatabaseSync): string | undefined {
  const read = database.prepare("SELECT group_concat(name) AS names FROM pragma_table_info(?)");
  return Object.keys(columns).find((table) => read.get(table)?.names !== columns[table]);
}

/** Undefined when it was changed on the disk. */
export function readAcked(database: DatabaseSync): number | undefined {
  const value = (key: string) =>
    database.prepare("SELECT value FROM meta WHERE key = ?").get(key)?.value;
  const acked = Number(value("acked") ?? 0);
  const sum = value("acked_sum");
  return sum === undefined || isSum(sum, (of) => ackedSum(acked, of)) ? acked : undefined;
}

function findInOutbox(database: DatabaseSync, acked: number): string | undefined {
  let next: number | undefined;
  for (const row of database.prepare("SELECT * FROM outbox ORDER BY seq").iterate()) {
    const seq = Number(row.seq);
    const last = Number(row.last);
    if (seq !== next && (next !== undefined || seq > acked + 1)) {
      return `records ${next ?? acked + 1} to ${seq - 1} are missing`;
    }
    if (!isOutboxRowSound(row)) return `records ${seq} to ${last} are not what was written`;
    next = last + 1;
  }
  return undefined;
}

export function isOutboxRowSound({ seq, last, data, sum }: Row): boolean {
  if (typeof data !== "string" || typeof seq !== "number" || typeof last !== "number") return false;
  if (!isSound(data, last - seq, sum)) return false;
  try {
    let span = 0;
    for (const text of data.split("\n")) span += entrySpan(decodeEntry(text));
    return span === last - seq + 1;
  } catch {
    return false; // no JSON: damaged, whatever the sum says
  }
}

function findInRuns(database: DatabaseSync): string | undefined {
  for (const row of database.prepare("SELECT * FROM runs").iterate()) {
    const damage =
      runDamage(row) ?? (row.outcome === null ? eventsDamage(database, row) : undefined);
    if (damage !== undefined) return damage;
  }
  return undefined;
}

function runDamage(row: Row): string | undefined {
  if (!isNameSound(row)) return `run ${row.no} is not what was written`;
  if (!isEndSound(row)) return `the end of run ${row.run} is not what was written`;
  return isPositionSound(row)
    ? undefined
    : `the log position of run ${row.run} is not what was written`;
}

export function isPositionSound({
  no,
  log_segment: segment,
  log_end: end,
  log_sum: sum,
  ...row
}: Row): boolean {
  if (sum !== null) return isSum(sum, (of) => logSum([Number(no), segment, end], of));
  // Never written, or by an earlier release.
  return row.sum === null || (segment === 0 && end === 0);
}

export function isNameSound({ no, run, digest, params, started_at: startedAt, sum }: Row): boolean {
  if (sum === null) return true;
  return isSum(sum, (of) => runSum([Number(no), run, digest, params, startedAt], of));
}

export function isEndSound(row: Row): boolean {
  const { no, outcome, finished_at: finishedAt, last_seq: lastSeq, end_sum: sum } = row;
  // Not ended, or by an earlier release.
  if (sum === null) return row.sum === null || outcome === null;
  return isSum(sum, (of) => endSum([Number(no), outcome, finishedAt, lastSeq], of));
}

/** A run can be replayed only from all of its events. */
export function eventsDamage(database: DatabaseSync, { no, run }: Row): string | undefined {
  const from = Number(no) * eventsPerRun;
  let index = 0;
  const rows = database
    .prepare("SELECT * FROM events WHERE id >= ? AND id < ? ORDER BY id")
    .iterate(from, from + eventsPerRun);
  for (const row of rows) {
    if (row.id !== from + index) return `events of run ${run} are missing`;
    const data = String(row.data);
    if (!isSound(data, eventsSeed(Number(no), index), row.sum)) {
      return `events of run ${run} are not what was written`;
    }
    index += 1;
  }
  return undefined;
}
