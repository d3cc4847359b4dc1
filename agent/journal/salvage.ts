// What is done about a damaged journal: it is moved aside, never removed, and a new one is made of
// what is sound in it. A device must come up by itself, and must say what is lost: records that cannot be
// read become records that say so, runs that cannot be replayed are closed by the agent as failed.
// Nothing is ever made up.
import { copyFileSync, existsSync, mkdirSync, renameSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { encodeRecord } from "../../protocol/outbox.ts";
import { rowSum } from "../../protocol/row-sum.ts";
import { quarantineDir } from "../../protocol/state-paths.ts";
import {
  eventsDamage,
  isEndSound,
  isNameSound,
  isOutboxRowSound,
  isPositionSound,
  type Row,
  readAcked,
} from "./examine.ts";
import { ackedSum } from "./outbox.ts";
import { endSum, eventsPerRun, logSum } from "./run-table.ts";

export interface Salvage {
  /** Numbers whose records could not be read. */
  lostRecords: number;
  keptRecords: number;
  /** Runs that were open and cannot go on. */
  lostRuns: string[];
  keptRuns: number;
}

const parts = ["", "-wal", "-shm"];

/** Moves the database's files (or copies them) and gives the folder. Throws what the file system throws. */
export function setAside(stateDir: string, databasePath: string, how: "move" | "copy"): string {
  const time = new Date().toISOString().replace(/[:.]/g, "-");
  const folder = freeName(`${quarantineDir(stateDir)}/${time}`);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  for (const part of parts) {
    const path = `${databasePath}${part}`;
    if (!existsSync(path)) continue;
    if (how === "move") renameSync(path, `${folder}/journal.db${part}`);
    else copyFileSync(path, `${folder}/journal.db${part}`);
  }
  return folder;
}

function freeName(wanted: string): string {
  let name = wanted;
  for (let n = 2; existsSync(name); n++) name = `${wanted}-${n}`;
  return name;
}

/** Writes into the new database what is sound in the old one. Throws only for the new one. */
export function salvage(folder: string, into: DatabaseSync): Salvage {
  const found = readOld(`${folder}/journal.db`);
  const result: Salvage = { lostRecords: 0, keptRecords: 0, lostRuns: [], keptRuns: 0 };
  into.exec("BEGIN IMMEDIATE");
  try {
    keepRuns(found, into, result);
    keepOutbox(found, into, result);
    keepSignatures(found, into);
    markAnew(into);
    into.exec("COMMIT");
  } catch (error) {
    if (into.isTransaction) into.exec("ROLLBACK");
    throw error;
  }
  return result;
}

/** At the next welcome everything held gets new numbers: old ones may have been used for other records. */
export function markAnew(database: DatabaseSync): void {
  database.exec("INSERT OR REPLACE INTO meta VALUES ('anew', 1)");
}

interface Found {
  acked: number | undefined;
  outbox: Row[];
  runs: Row[];
  /** Of each open run that can be replayed. */
  events: Map<unknown, Row[]>;
  runSignatures: Row[];
  usedSignatures: Row[];
}

/** Reads as far as it can be read; nothing of it is believed yet. */
function readOld(path: string): Found {
  const found: Found = {
    acked: undefined,
    outbox: [],
    runs: [],
    events: new Map(),
    runSignatures: [],
    usedSignatures: [],
  };
  let old: DatabaseSync;
  try {
    old = new DatabaseSync(path, { readOnly: true });
  } catch {
    return found; // no database any more
  }
  try {
    found.acked = attempt(() => readAcked(old));
    found.outbox = readTable(old, "outbox", "seq");
    found.runs = readTable(old, "runs", "no");
    found.runSignatures = readTable(old, "run_signatures", "run");
    found.usedSignatures = readTable(old, "used_signatures", "id");
    for (const run of found.runs) {
      if (run.outcome !== null || attempt(() => eventsDamage(old, run) ?? "sound") !== "sound") {
        continue;
      }
      const from = Number(run.no) * eventsPerRun;
      const sql = "SELECT * FROM events WHERE id >= ? AND id < ? ORDER BY id";
      const rows = attempt(() => old.prepare(sql).all(from, from + eventsPerRun));
      if (rows !== undefined) found.events.set(run.no, rows);
    }
  } finally {
    attempt(() => old.close());
  }
  return found;
}

/** From both ends, since a damaged page stops the reader in the middle. */
function readTable(database: DatabaseSync, table: string, key: string): Row[] {
  const rows = new Map<unknown, Row>();
  for (const order of ["ASC", "DESC"]) {
    try {
      for (const row of database
        .prepare(`SELECT * FROM ${table} ORDER BY ${key} ${order}`)
        .iterate()) {
        if (order === "DESC" && rows.has(row[key])) break;
        rows.set(row[key], row);
      }
      if (order === "ASC") break;
    } catch {
      // Damaged from here on: what was read stays, the rest counts as lost.
    }
  }
  return [...rows.values()].sort(
    // Names are in no order that anybody needs.
    (a, b) => (typeof a[key] === "string" ? 0 : Number(a[key]) - Number(b[key])),
  );
}

function keepRuns(found: Found, into: DatabaseSync, result: Salvage): void {
  const insertEvents = into.prepare("INSERT INTO events VALUES (?, ?, ?)");
  for (const run of found.runs) {
    // Without its name there is nothing to be told of it: the master finds that it is not here.
    if (!isNameSound(run) || typeof run.run !== "string") continue;
    const events = found.events.get(run.no);
    const isOpen = run.outcome === null && isEndSound(run);
    const damage = isOpen && events === undefined ? "its events were damaged" : null;
    const isLogSound = isPositionSound(run);
    const kept: Row = {
      ...run,
      damage,
      ...(isOpen || isEndSound(run) ? {} : unknownEnd(Number(run.no))),
      ...(isLogSound ? {} : unknownPosition(Number(run.no))),
    };
    insertRow(into, "runs", kept);
    if (damage !== null) result.lostRuns.push(run.run);
    if (isOpen && events !== undefined) {
      result.keptRuns += 1;
      for (const { id, data, sum } of events) insertEvents.run(...values([id, data, sum]));
    }
  }
}

/** It had ended, and its end is on its way or told already: nothing more is said of it. */
function unknownEnd(no: number): Row {
  const outcome = '{"kind":"failed","failed":[]}';
  return { outcome, finished_at: 0, last_seq: 0, end_sum: endSum([no, outcome, 0, 0]) };
}

/** Beyond every line that there is: none is sent a second time. */
function unknownPosition(no: number): Row {
  const segment = 2 ** 31 - 1;
  return { log_segment: segment, log_end: 0, log_sum: logSum([no, segment, 0]) };
}

function keepOutbox(found: Found, into: DatabaseSync, result: Salvage): void {
  const sound = found.outbox.filter(isOutboxRowSound);
  const first = Number(sound[0]?.seq ?? 1);
  let acked = found.acked ?? first - 1;
  // Acknowledged rows that were not removed yet.
  const held = sound.filter((row) => Number(row.last) > acked);
  if (held.length === 0 && found.outbox.length > sound.length) result.lostRecords += 1;
  let next = acked + 1;
  for (const row of held) {
    const seq = Number(row.seq);
    if (seq < next && next > acked + 1) continue; // a number that cannot be
    if (seq > next) {
      if (seq - next > mostMissing) {
        // A number that was damaged, or a database of which little is left: no room is kept for it.
        result.lostRecords += 1;
      } else {
        result.lostRecords += seq - next;
        insertRow(into, "outbox", lostRow(next, seq - 1));
        next = seq;
      }
    }
    const span = Number(row.last) - seq;
    const from = seq < next ? seq : next;
    insertRow(into, "outbox", { ...row, seq: from, last: from + span });
    result.keptRecords += span + 1;
    next = from + span + 1;
  }
  const end = Number(found.outbox.at(-1)?.last ?? 0);
  if (end >= next && end - next < mostMissing) {
    result.lostRecords += end - next + 1;
    insertRow(into, "outbox", lostRow(next, end));
  }
  acked = Math.max(0, acked);
  into
    .prepare("INSERT OR REPLACE INTO meta VALUES ('acked', ?1), ('acked_sum', ?2)")
    .run(acked, ackedSum(acked));
}

const mostMissing = 1_000_000;

/** Each number tells of itself: the master counts them. */
export function lostRow(seq: number, last: number): Row {
  const detail = "damaged on the node's disk";
  const record = encodeRecord({ type: "records-lost", time: Date.now(), run: "lost", detail });
  const data = Array.from({ length: last - seq + 1 }, () => record).join("\n");
  return { seq, last, data, sum: rowSum(data, last - seq) };
}

/**
 * A damaged envelope is found by its signature. A use that is missing is not found by anything: no
 * signature for one run that was made before now is taken any more.
 */
function keepSignatures(found: Found, into: DatabaseSync): void {
  for (const row of found.runSignatures) insertRow(into, "run_signatures", row);
  for (const row of found.usedSignatures) insertRow(into, "used_signatures", row);
  into.prepare("INSERT OR REPLACE INTO meta VALUES ('once_after', ?)").run(Date.now());
}

function insertRow(into: DatabaseSync, table: string, row: Row): void {
  const names = Object.keys(row);
  into
    .prepare(
      `INSERT INTO ${table} (${names.join(", ")}) VALUES (${names.map(() => "?").join(", ")})`,
    )
    .run(...values(Object.values(row)));
}

/** What SQLite gave goes back as it is. */
function values(row: unknown[]): (string | number | null)[] {
  return row.map((value) =>
    typeof value === "string" || typeof value === "number" ? value : null,
  );
}

/** Undefined when the old database throws. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
