// Opens snippets.db in WAL mode, locked for one process, and brings its schema up to date. How surely a
// commit is on the disk is the caller's word; either survives the end of the process at any point.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { migrate } from "../../../storage/sqlite/database.ts";
import { closeToOthers } from "../../../storage/sqlite/private-files.ts";
import { migrations } from "./migrations.ts";
import type { Problem } from "./problems.ts";

/** What a confirmed commit survives: the end of the process, or a loss of power too. */
export type Durability = "process" | "power";

export type OpenedSnippets = { ok: true; database: DatabaseSync } | { ok: false; problem: Problem };

/** `folder` is made when it is missing; `:memory:` is a database that ends with this process. */
export function openSnippets(folder: string, durability: Durability): OpenedSnippets {
  const path = folder === ":memory:" ? folder : join(folder, "snippets.db");
  let database: DatabaseSync | undefined;
  try {
    if (folder !== ":memory:") mkdirSync(folder, { recursive: true, mode: 0o700 });
    database = new DatabaseSync(path, { timeout: 0 });
    // The lock is taken before WAL is switched on: then the -shm file is not needed at all.
    database.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;");
    database.exec(`PRAGMA synchronous = ${durability === "power" ? "FULL" : "NORMAL"};`);
    // 16 MiB between checkpoints, 32 MiB of cache; a log that grew by one large end shrinks again.
    database.exec("PRAGMA wal_autocheckpoint = 4096; PRAGMA cache_size = -32768;");
    database.exec("PRAGMA journal_size_limit = 67108864; PRAGMA temp_store = MEMORY;");
    if (path !== ":memory:") closeToOthers(path);
    const problem = migrate(database, migrations);
    if (problem === undefined) return { ok: true, database };
    database.close();
    return { ok: false, problem };
  } catch (error) {
    database?.close();
    const detail = error instanceof Error ? error.message : String(error);
    const isLocked = detail.includes("locked");
    return {
      ok: false,
      problem: {
        message: isLocked ? `another process uses ${path}` : `cannot open ${path}: ${detail}`,
        remedy: isLocked
          ? "End the other process, or give this one its own data folder."
          : "Give the service a data folder that it may write, on a local disk with free space.",
      },
    };
  }
}
