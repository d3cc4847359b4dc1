// Opens the master's SQLite file and brings its schema up to date. WAL with FULL synchronisation: an
// acknowledged record is on the disk, since the node forgets it then. The file is locked for one
// master: two of them on one folder would both hand out the same runs.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { migrations } from "./migrations.ts";
import { closeToOthers } from "./private-files.ts";

export type OpenedDatabase =
  | { ok: true; database: DatabaseSync }
  | { ok: false; code: "E_MASTER_STORAGE"; message: string; remedy: string };

/** `folder` is made when it is missing. */
export function openDatabase(folder: string): OpenedDatabase {
  const path = join(folder, "master.db");
  let database: DatabaseSync | undefined;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    database = new DatabaseSync(path, { timeout: 0 });
    // The lock is taken before WAL is switched on: then the -shm file is not needed at all.
    database.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;");
    database.exec("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;");
    // 16 MiB between checkpoints, 32 MiB of cache.
    database.exec("PRAGMA wal_autocheckpoint = 4096; PRAGMA cache_size = -32768;");
    closeToOthers(path);
    const problem = migrate(database, migrations);
    if (problem === undefined) return { ok: true, database };
    database.close();
    return { ok: false, code: "E_MASTER_STORAGE", ...problem };
  } catch (error) {
    database?.close();
    const detail = error instanceof Error ? error.message : String(error);
    const isLocked = detail.includes("locked");
    return {
      ok: false,
      code: "E_MASTER_STORAGE",
      message: isLocked ? `another master uses ${path}` : `cannot open ${path}: ${detail}`,
      remedy: isLocked
        ? "End the other master, or give this one its own data folder."
        : "Give the master a data folder that it may write, on a local disk with free space.",
    };
  }
}

/** Applies the steps that the file has not seen; all of them or none. */
export function migrate(
  database: DatabaseSync,
  steps: readonly string[],
): { message: string; remedy: string } | undefined {
  database.exec("BEGIN EXCLUSIVE");
  database.exec(
    "CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL)",
  );
  const row = database.prepare("SELECT max(version) AS version FROM migrations").get();
  const version = typeof row?.version === "number" ? row.version : 0;
  if (version > steps.length) {
    database.exec("ROLLBACK");
    return {
      message: `the data folder has schema ${version}, this master knows ${steps.length}`,
      remedy: "Start the newer release that wrote it, or give this master another data folder.",
    };
  }
  const note = database.prepare("INSERT INTO migrations VALUES (?, unixepoch())");
  for (const [index, sql] of steps.entries()) {
    if (index < version) continue;
    database.exec(sql);
    note.run(index + 1);
  }
  database.exec("COMMIT");
  return undefined;
}
