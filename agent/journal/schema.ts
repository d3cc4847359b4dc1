// Opens the journal's database and brings its schema up to date.
// Must never change a table without a new entry in `migrations`: old state directories open for ever.
import { DatabaseSync } from "node:sqlite";

export interface DatabaseOptions {
  /** True when the link thread checkpoints, so that the agent's commits never do. */
  checkpointElsewhere: boolean;
  /** False: a loss of power may take all of it. */
  syncs: boolean;
  /** Most bytes of the database file; commits beyond it fail with E_STATE_FULL. */
  limitBytes?: number;
}

/** Entry n brings the schema from version n to n + 1. */
const migrations: readonly string[] = [
  `CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
   CREATE TABLE runs (
     no INTEGER PRIMARY KEY,
     run TEXT NOT NULL UNIQUE,
     digest TEXT NOT NULL,
     params TEXT,
     started_at REAL NOT NULL,
     outcome TEXT,
     finished_at REAL,
     last_seq INTEGER NOT NULL DEFAULT 0,
     log_segment INTEGER NOT NULL DEFAULT 0,
     log_end INTEGER NOT NULL DEFAULT 0
   );
   CREATE TABLE events (id INTEGER PRIMARY KEY, data TEXT NOT NULL);
   CREATE TABLE outbox (seq INTEGER PRIMARY KEY, last INTEGER NOT NULL, data TEXT NOT NULL);`,
  // Checksums of rows, which SQLite has not (row-sum.ts); NULL where an earlier release wrote.
  // \`damage\`: the run cannot go on, and why.
  `ALTER TABLE outbox ADD COLUMN sum INTEGER;
   ALTER TABLE events ADD COLUMN sum INTEGER;
   ALTER TABLE runs ADD COLUMN sum INTEGER;
   ALTER TABLE runs ADD COLUMN end_sum INTEGER;
   ALTER TABLE runs ADD COLUMN log_sum INTEGER;
   ALTER TABLE runs ADD COLUMN damage TEXT;`,
  // With which signature a run was taken; signatures that were good for one run, and for which.
  `CREATE TABLE run_signatures (run TEXT PRIMARY KEY, envelope TEXT NOT NULL) WITHOUT ROWID;
   CREATE TABLE used_signatures (id TEXT PRIMARY KEY, run TEXT NOT NULL) WITHOUT ROWID;`,
];

/** Throws SQLite's errors, and `NewerSchema`; the caller turns them into diagnostics. */
export function openDatabase(path: string, options: DatabaseOptions): DatabaseSync {
  // The link thread may hold the write lock for moments while it restarts a large WAL.
  const database = new DatabaseSync(path, { timeout: 5_000 });
  try {
    // Commits never sync: with EDGEDAG_DURABILITY=power the journal does, off the main thread.
    database.exec(`PRAGMA synchronous = ${options.syncs ? "NORMAL" : "OFF"}`);
    database.exec("PRAGMA journal_mode = WAL");
    database.exec(`PRAGMA wal_autocheckpoint = ${options.checkpointElsewhere ? 0 : 4_000}`);
    migrate(database);
    if (options.limitBytes !== undefined) {
      const pageSize = Number(database.prepare("PRAGMA page_size").get()?.page_size);
      const pages = Math.max(16, Math.floor(options.limitBytes / pageSize));
      database.exec(`PRAGMA max_page_count = ${pages}`);
    }
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

/** The database was written by a later release. */
export class NewerSchema extends Error {}

function migrate(database: DatabaseSync): void {
  const version = Number(database.prepare("PRAGMA user_version").get()?.user_version);
  if (version > migrations.length) {
    throw new NewerSchema(`schema ${version}, this release knows ${migrations.length}`);
  }
  if (version === migrations.length) return;
  const steps = migrations.slice(version).join("\n");
  database.exec(`BEGIN; ${steps} PRAGMA user_version = ${migrations.length}; COMMIT`);
}
