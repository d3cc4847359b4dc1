// What an error of PostgreSQL, or of the way to it, means: the database cannot serve now, and what an
// operator can do then; whether the statement may have been done; or a bug of ours.
import { InDoubt } from "../doubts.ts";
import { StoreDown } from "../store.ts";

/** By SQLSTATE, its first two or all five characters. */
const remedies: { [state: string]: string } = {
  "28": "Give DATABASE_URL the right user and password.",
  "3D": "Create the database, or name another one in DATABASE_URL.",
  "53": "Give PostgreSQL more of what it says it lacks (disk, memory, connections).",
  "53100": "Free space on PostgreSQL's disk; nothing has to be started again.",
  "25006": "Point DATABASE_URL to a server that takes writes: this one is read-only.",
  "42501": "Let the user create and use tables: GRANT CREATE, USAGE ON SCHEMA public TO it.",
  "42P01":
    "Restore the tables named edgedag_*, or drop all of them: the next start makes them anew.",
  "42703":
    "Restore the tables named edgedag_*, or drop all of them: the next start makes them anew.",
};
const unreachable =
  "Start PostgreSQL, and look at host and port of DATABASE_URL; nothing here has to be started again.";
const slow = "Look at PostgreSQL's load and locks; nothing here has to be started again.";

/** `where`: the server, without user and password. `isSent`: the statement was on its way. */
export function errorOf(error: unknown, where: string, isSent: boolean): unknown {
  const state = stateOf(error);
  const detail = error instanceof Error ? error.message : String(error);
  const message = `PostgreSQL at ${where}: ${detail}`;
  // The end of a session may be told after its statement was done.
  if (state === undefined || state.startsWith("57P") || state.startsWith("08")) {
    return isSent ? new InDoubt(message, unreachable) : new StoreDown(message, unreachable);
  }
  const remedy = remedies[state] ?? remedies[state.slice(0, 2)];
  if (remedy !== undefined) return new StoreDown(message, remedy);
  // Values that no column takes, and statements that are wrong: bugs.
  if (["22", "23", "42"].includes(state.slice(0, 2))) return error;
  return new StoreDown(message, slow);
}

/** Nothing was done, and the same may go well at once: deadlocks and the like. */
export function isWorthAgain(error: unknown): boolean {
  return stateOf(error)?.startsWith("40") === true;
}

/** A session goes on after an error that the server told of, unless it ended the session. */
export function endsSession(error: unknown): boolean {
  const state = stateOf(error);
  return state === undefined || state.startsWith("57") || state.startsWith("08");
}

/** A SQLSTATE has five characters; Node.js's own codes do not look like one. */
function stateOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  const { code } = error;
  return typeof code === "string" && /^[0-9A-Z]{5}$/.test(code) && "severity" in error
    ? code
    : undefined;
}
