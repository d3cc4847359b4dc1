// The tables of signatures: which one each run was taken with, which of those for one run were used,
// and what time they prove. Runs inside the journal's transactions and never opens one.
import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Envelope } from "../../protocol/signing/dsse.ts";

export interface UseOfSignature {
  run: string;
  id: string;
  once: boolean;
  envelope: Envelope;
  /** Unix milliseconds. */
  provenAt?: number;
}

export class SignatureTable {
  readonly #statements: Statements;
  #pending: UseOfSignature[] = [];
  #provenAt: number;
  /** Signatures for one run that were made earlier count as used: the record of uses was damaged. */
  readonly #onceAfter: number;

  constructor(database: DatabaseSync) {
    this.#statements = prepare(database);
    const proven = database.prepare("SELECT value FROM meta WHERE key = 'proven_at'").get();
    this.#provenAt = Number(proven?.value ?? 0);
    const after = database.prepare("SELECT value FROM meta WHERE key = 'once_after'").get();
    this.#onceAfter = Number(after?.value ?? 0);
  }

  get pending(): number {
    return this.#pending.length;
  }

  /** The latest time that is known to have passed; 0: none. */
  get provenAt(): number {
    return this.#provenAt;
  }

  use(use: UseOfSignature): void {
    this.#pending.push(use);
  }

  /** Undoes a `use` that could not be written. */
  withdraw(run: string): void {
    this.#pending = this.#pending.filter((use) => use.run !== run);
  }

  usedBy({ id, signedAt }: { id: string; signedAt: number }): string | undefined {
    const pending = this.#pending.find((use) => use.once && use.id === id);
    const row = pending ?? this.#statements.used.get(id);
    if (row !== undefined) return String(row.run);
    return signedAt < this.#onceAfter ? "one that a damaged journal no longer tells of" : undefined;
  }

  envelopeOf(run: string): Envelope | undefined {
    const pending = this.#pending.find((use) => use.run === run);
    if (pending !== undefined) return pending.envelope;
    const row = this.#statements.envelope.get(run);
    // Written by `writePending`; whoever asks looks at it as at a stranger's.
    return row === undefined ? undefined : (JSON.parse(String(row.envelope)) as Envelope);
  }

  writePending(): void {
    for (const { run, id, once, envelope, provenAt = 0 } of this.#pending) {
      this.#statements.insert.run(run, JSON.stringify(envelope));
      if (once) this.#statements.insertUsed.run(id, run);
      if (provenAt > this.#provenAt) this.#statements.proven.run(provenAt);
    }
  }

  /** The transaction that held `writePending` is through. */
  pendingWritten(): void {
    for (const { provenAt = 0 } of this.#pending) {
      this.#provenAt = Math.max(this.#provenAt, provenAt);
    }
    this.#pending = [];
  }

  /** Inside a transaction. That a signature was used is never forgotten. */
  forget(run: string): void {
    this.#statements.forget.run(run);
  }
}

type Statements = ReturnType<typeof prepare>;

function prepare(database: DatabaseSync) {
  const sql = (text: string): StatementSync => database.prepare(text);
  return {
    insert: sql("INSERT OR REPLACE INTO run_signatures VALUES (?, ?)"),
    insertUsed: sql("INSERT OR IGNORE INTO used_signatures VALUES (?, ?)"),
    used: sql("SELECT run FROM used_signatures WHERE id = ?"),
    envelope: sql("SELECT envelope FROM run_signatures WHERE run = ?"),
    forget: sql("DELETE FROM run_signatures WHERE run = ?"),
    proven: sql(
      `INSERT INTO meta VALUES ('proven_at', ?1)
       ON CONFLICT DO UPDATE SET value = max(value, excluded.value)`,
    ),
  };
}
