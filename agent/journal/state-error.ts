// Turns what the file system and SQLite say about the state directory into diagnostics.
// The only place that knows SQLite's result codes.
import type { Diagnostic } from "../../protocol/diagnostic.ts";

/** Codes: E_STATE_LOCKED, E_STATE_READONLY, E_STATE_FULL, E_STATE_CORRUPT, E_STATE_VERSION, E_STATE_IO. */
export function stateError(error: unknown, path: string): Diagnostic {
  const text = error instanceof Error ? error.message : String(error);
  const kind = sqliteKind(error) ?? errnoKind(error) ?? "E_STATE_IO";
  const { sentence, remedy } = explanations[kind];
  return { code: kind, path, message: `${sentence} (${text})`, remedy };
}

/** True for SQLITE_BUSY: somebody else holds the lock. */
export function isBusy(error: unknown): boolean {
  const code = resultCode(error);
  return code !== undefined && (code & 0xff) === 5;
}

/** True when the database is not what SQLite has written: opening it again would not help. */
export function isDamage(error: unknown): boolean {
  return sqliteKind(error) === "E_STATE_CORRUPT";
}

type Kind =
  | "E_STATE_LOCKED"
  | "E_STATE_READONLY"
  | "E_STATE_FULL"
  | "E_STATE_CORRUPT"
  | "E_STATE_IO";

const explanations: Record<Kind, { sentence: string; remedy: string }> = {
  E_STATE_LOCKED: {
    sentence: "the state is in use by another program",
    remedy: "Stop the other agent, or give this one its own EDGEDAG_STATE.",
  },
  E_STATE_READONLY: {
    sentence: "the state directory cannot be written",
    remedy: "Make it writable for this user, or set EDGEDAG_STATE to a folder that is.",
  },
  E_STATE_FULL: {
    sentence: "there is no space left for the state",
    remedy: "Free space on that file system; the agent tries again by itself and keeps its data.",
  },
  E_STATE_CORRUPT: {
    sentence: "the journal is damaged",
    remedy:
      "Check the disk and start the agent again: it moves the damaged journal aside and goes on with what is sound in it.",
  },
  E_STATE_IO: {
    sentence: "the state could not be read or written",
    remedy: "Check the disk and the rights of EDGEDAG_STATE.",
  },
};

// https://www.sqlite.org/rescode.html: the low byte is the primary code.
function sqliteKind(error: unknown): Kind | undefined {
  const code = resultCode(error);
  if (code === undefined) {
    return undefined;
  }
  switch (code & 0xff) {
    case 5:
    case 6:
      return "E_STATE_LOCKED";
    case 3:
    case 8:
    case 14:
    case 23:
      return "E_STATE_READONLY";
    case 13:
      return "E_STATE_FULL";
    case 11:
    case 26:
      return "E_STATE_CORRUPT";
    default:
      return "E_STATE_IO";
  }
}

function errnoKind(error: unknown): Kind | undefined {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  switch (code) {
    case "EACCES":
    case "EPERM":
    case "EROFS":
    case "ENOTDIR":
    case "ENOENT":
    case "EEXIST":
      return "E_STATE_READONLY";
    case "ENOSPC":
    case "EDQUOT":
    case "EFBIG":
      return "E_STATE_FULL";
    default:
      return undefined;
  }
}

function resultCode(error: unknown): number | undefined {
  return error instanceof Error && "errcode" in error && typeof error.errcode === "number"
    ? error.errcode
    : undefined;
}
