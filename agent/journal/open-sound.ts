// Opens the journal's database, whatever lies there: one that is damaged is set aside, and what is sound
// in it goes on in a new one. Says what was lost.
import type { DatabaseSync } from "node:sqlite";
import type { Diagnostic } from "../../protocol/diagnostic.ts";
import { findDamage } from "./examine.ts";
import { markAnew, type Salvage, salvage, setAside } from "./salvage.ts";
import { type DatabaseOptions, NewerSchema, openDatabase } from "./schema.ts";
import { isDamage, stateError } from "./state-error.ts";
import { readWal } from "./wal-check.ts";

export interface SoundOptions {
  stateDir: string;
  ship: boolean;
  durability: "process" | "power";
  isOneOff?: boolean;
  limitBytes?: number;
}

export interface OpenedDatabase {
  database: DatabaseSync;
  recovery: Diagnostic | undefined;
}

/** Opens the database, or a new one with what is sound in it. Throws what cannot be helped. */
export function openSound(path: string, options: SoundOptions): OpenedDatabase {
  const { stateDir, limitBytes, ship, durability, isOneOff = false } = options;
  const how: DatabaseOptions = {
    checkpointElsewhere: ship,
    syncs: ship || durability === "power" || !isOneOff,
    ...(limitBytes === undefined ? {} : { limitBytes }),
  };
  const wal = readWal(path);
  const lostFrames = wal === undefined ? 0 : (wal.committedFrames ?? 0) - wal.soundFrames;
  // SQLite would cut the log at the damage: what it was is kept first.
  const copy = lostFrames > 0 ? setAside(stateDir, path, "copy") : undefined;
  let database: DatabaseSync | undefined;
  let damage: string | undefined;
  try {
    database = openDatabase(path, how);
    damage = findDamage(database);
  } catch (error) {
    if (!isDamage(error)) {
      database?.close();
      throw error;
    }
    damage = error instanceof Error ? error.message : String(error);
  }
  if (damage === undefined && database !== undefined) {
    if (copy === undefined) return { database, recovery: undefined };
    markAnew(database);
    const message = `the journal's log was damaged: the last ${lostFrames} pages of commits are lost, tasks whose end was in them run again (it was copied to ${copy})`;
    return { database, recovery: { code: "E_STATE_CORRUPT", path, message, remedy: checkDisk } };
  }
  database?.close();
  const folder = setAside(stateDir, path, "move");
  const made = openDatabase(path, how);
  try {
    const told = describeSalvage(salvage(folder, made));
    const message = `the journal was damaged (${damage}): it was moved to ${folder}, and a new one goes on with ${told}`;
    return {
      database: made,
      recovery: { code: "E_STATE_CORRUPT", path, message, remedy: checkDisk },
    };
  } catch (error) {
    made.close();
    throw error;
  }
}

const checkDisk = "Check the disk; the agent goes on by itself.";

function describeSalvage({ keptRuns, lostRuns, keptRecords, lostRecords }: Salvage): string {
  const lost = lostRuns.length === 0 ? "" : ` (lost: ${lostRuns.join(", ")})`;
  return `${keptRuns} open runs${lost} and ${keptRecords} records for the master (lost: ${lostRecords})`;
}

export function openError(error: unknown, path: string): Diagnostic {
  if (error instanceof NewerSchema) {
    return {
      code: "E_STATE_VERSION",
      path,
      message: `the journal was written by a later release (${error.message})`,
      remedy: "Run that release again, or set EDGEDAG_STATE to a new folder.",
    };
  }
  return stateError(error, path);
}
