// The lock on a state directory: one agent at a time. It is a tiny SQLite file on which the holder
// keeps a transaction open, so the kernel drops the lock with the process (kill -9, power loss) and
// no pid can be mistaken for another, also not across containers that share the folder.
// Nobody may open <state>/lock by other means in this process: closing any descriptor of a file
// drops its POSIX locks.
import { truncateSync } from "node:fs";
import { hostname } from "node:os";
import { DatabaseSync } from "node:sqlite";
import type { Result } from "../../protocol/diagnostic.ts";
import { lockPath } from "../../protocol/state-paths.ts";
import { isBusy, stateError } from "./state-error.ts";

export class StateLock {
  readonly #database: DatabaseSync;

  private constructor(database: DatabaseSync) {
    this.#database = database;
  }

  /** Fails with E_STATE_LOCKED and says who holds it, as far as that is known. */
  static take(stateDir: string): Result<StateLock> {
    const first = StateLock.#take(stateDir);
    if (first.ok || first.diagnostics[0]?.code !== "E_STATE_CORRUPT") {
      return first;
    }
    // Nothing in it is worth keeping. Emptied in place: a holder's lock is on this very file.
    truncateSync(lockPath(stateDir), 0);
    return StateLock.#take(stateDir);
  }

  static #take(stateDir: string): Result<StateLock> {
    const path = lockPath(stateDir);
    let database: DatabaseSync | undefined;
    try {
      database = new DatabaseSync(path, { timeout: 0 });
      // Durability is of no use to a lock: without it no fsync is paid at start.
      database.exec("PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY");
      database.exec("CREATE TABLE IF NOT EXISTS holder (pid INTEGER, host TEXT, since REAL)");
      database.exec("BEGIN IMMEDIATE; DELETE FROM holder");
      const insert = database.prepare("INSERT INTO holder VALUES (?, ?, ?)");
      insert.run(process.pid, hostname(), Date.now());
      // RESERVED from here on: others can still read who we are.
      database.exec("COMMIT; BEGIN IMMEDIATE");
      return { ok: true, value: new StateLock(database) };
    } catch (error) {
      const holder = database !== undefined && isBusy(error) ? describeHolder(database) : "";
      database?.close();
      const diagnostic = stateError(error, path);
      const message = holder === "" ? diagnostic.message : `${diagnostic.message}: ${holder}`;
      return { ok: false, diagnostics: [{ ...diagnostic, message }] };
    }
  }

  release(): void {
    this.#database.close();
  }
}

function describeHolder(database: DatabaseSync): string {
  try {
    const row = database.prepare("SELECT pid, host, since FROM holder").get();
    return row === undefined
      ? "its holder has just started"
      : `process ${row.pid} on ${row.host} since ${new Date(Number(row.since)).toISOString()}`;
  } catch (error) {
    return `its holder could not be read (${String(error)})`;
  }
}
