// Which errors of SQLite say that the database cannot serve now, and what an operator can do then.
// Any other error is a bug of ours.

export interface Problem {
  message: string;
  remedy: string;
}

const space = "Free space on the disk of the data folder; nothing has to be started again.";
const access =
  "Give the service a data folder that it may write, on a local disk; nothing has to be started again.";
const broken =
  "Restore snippets.db from a backup, or move it away (with its -wal file) to begin with an empty one.";

/** By SQLite's primary result codes. */
const remedies: { [code: number]: string } = {
  5: "End the other process that uses snippets.db.",
  6: "End the other process that uses snippets.db.",
  7: "Give the service more memory.",
  8: access,
  10: "Look at the disk of the data folder: it fails to read or to write.",
  11: broken,
  13: space,
  14: access,
  15: access,
  23: access,
  26: broken,
};

export function problemOf(error: unknown): Problem | undefined {
  if (!(error instanceof Error) || !("errcode" in error)) return undefined;
  const remedy = remedies[Number(error.errcode) & 0xff];
  if (remedy === undefined) return undefined;
  return { message: `the snippets' database refuses: ${error.message}`, remedy };
}
