// The link thread's view of the journal's database: reads outbox rows through its own connection,
// makes them durable before they are told to anybody, and checkpoints so that the agent's main
// thread never pays an fsync. It never changes a row: the main thread is the only writer.
import { fsyncSync, openSync, statSync } from "node:fs";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { isSound } from "../../protocol/row-sum.ts";

export interface OutboxRow {
  /** Number of the first entry. */
  seq: number;
  last: number;
  data: string;
}

/** Which numbers the journal holds. */
export interface OutboxBounds {
  firstHeldSeq: number;
  nextSeq: number;
  /** What the master had acknowledged when the journal last wrote it down. */
  acked: number;
  /** The journal was made anew of a damaged one: its numbers may have been used before. */
  isAnew: boolean;
}

/** A row is not what the journal has written; the main thread has to put another in its place. */
export class DamagedRow extends Error {}

export class OutboxReader {
  readonly #database: DatabaseSync;
  readonly #walPath: string;
  readonly #rows: StatementSync;
  readonly #bounds: StatementSync;
  #walFd: number | undefined;

  /** Throws when the database cannot be opened: the journal has opened it before. */
  constructor(path: string) {
    this.#walPath = `${path}-wal`;
    // A checkpoint needs a connection that could write; query_only forbids everything else.
    this.#database = new DatabaseSync(path, { timeout: 0 });
    this.#database.exec("PRAGMA query_only = ON; PRAGMA wal_autocheckpoint = 0");
    this.#rows = this.#database.prepare(
      `SELECT seq, last, data, sum FROM outbox
       WHERE seq >= coalesce((SELECT max(seq) FROM outbox WHERE seq <= ?1), 0) AND last >= ?1
       ORDER BY seq`,
    );
    this.#bounds = this.#database.prepare(
      `SELECT (SELECT min(seq) FROM outbox) AS first, (SELECT max(last) FROM outbox) AS last,
              (SELECT value FROM meta WHERE key = 'acked') AS acked,
              (SELECT value FROM meta WHERE key = 'anew') AS anew`,
    );
  }

  bounds(): OutboxBounds {
    const row = this.#bounds.get();
    const acked = Number(row?.acked ?? 0);
    const isAnew = row?.anew != null;
    const nextSeq = Math.max(Number(row?.last ?? 0), acked) + 1;
    return {
      firstHeldSeq: row?.first == null ? nextSeq : Number(row.first),
      nextSeq,
      acked,
      isAnew,
    };
  }

  /**
   * Rows that hold `seq` or come after it, about `limitBytes` of them. They are on the disk when this returns: a number that
   * the master has seen must never be given to another record after a loss of power.
   */
  read(seq: number, limitBytes: number): OutboxRow[] {
    const rows: OutboxRow[] = [];
    let bytes = 0;
    for (const row of this.#rows.iterate(seq)) {
      const data = String(row.data);
      const [first, last] = [Number(row.seq), Number(row.last)];
      if (!isSound(data, last - first, row.sum)) {
        throw new DamagedRow(`records ${first} to ${last} are not what was written`);
      }
      rows.push({ seq: first, last, data });
      bytes += data.length;
      if (bytes >= limitBytes || rows.length === mostRows) {
        break;
      }
    }
    if (rows.length > 0) {
      this.#walFd ??= openSync(this.#walPath, "r");
      fsyncSync(this.#walFd);
    }
    return rows;
  }

  walBytes(): number {
    return statSync(this.#walPath, { throwIfNoEntry: false })?.size ?? 0;
  }

  /**
   * PASSIVE never makes the writer wait. RESTART and TRUNCATE do, for the moment that it takes to
   * copy what came since the last passive one. Returns false when it was not its turn.
   */
  checkpoint(mode: "PASSIVE" | "RESTART" | "TRUNCATE"): boolean {
    return this.#database.prepare(`PRAGMA wal_checkpoint(${mode})`).get()?.busy === 0;
  }

  close(): void {
    // The descriptor of the WAL stays open to the end of the thread on purpose: see above.
    this.#database.close();
  }
}

const mostRows = 1_000;
