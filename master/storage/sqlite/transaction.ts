// One transaction on a database of SQLite, however what happens in it ends.
import type { DatabaseSync } from "node:sqlite";

/** Throws what `work` throws, and what SQLite throws. */
export function inTransaction<T>(database: DatabaseSync, work: () => T): T {
  database.exec("BEGIN IMMEDIATE");
  try {
    const value = work();
    database.exec("COMMIT");
    return value;
  } catch (error) {
    // A full disk may have rolled back already; the first error is the one that matters.
    if (database.isTransaction) database.exec("ROLLBACK");
    throw error;
  }
}
