// Brings the tables up to date, under a lock that only one master at a time can have.
import { StoreDown } from "../store.ts";
import type { Connections } from "./connections.ts";
import { migrations } from "./migrations.ts";

/** Any number that no other program takes: "edgedag" in letters of five bits. */
const lock = 5_499_811_079;

/** Rejects with StoreDown; then nothing was changed. */
export async function migrate(connections: Connections): Promise<void> {
  await connections.transaction(async (query) => {
    await query({ text: "SELECT pg_advisory_xact_lock($1)", values: [lock] });
    // Asked first: a user that may not create tables can still use those that are there.
    const [table] = await query({ text: "SELECT to_regclass('edgedag_migrations') AS name" });
    if (table?.name === null) {
      await query({
        text: `CREATE TABLE edgedag_migrations (
          version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())`,
      });
    }
    const [row] = await query({
      text: "SELECT coalesce(max(version), 0) AS version FROM edgedag_migrations",
    });
    const version = Number(row?.version);
    if (version > migrations.length) {
      throw new StoreDown(
        `the database has schema ${version}, this master knows ${migrations.length}`,
        "Start the newer release that wrote it, or give this master another database.",
      );
    }
    for (const [index, text] of migrations.entries()) {
      if (index < version) continue;
      await query({ text });
      await query({ text: "INSERT INTO edgedag_migrations VALUES ($1)", values: [index + 1] });
    }
  });
}
