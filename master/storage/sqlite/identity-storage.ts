// Identities of nodes in the master's SQLite file. Every method is one transaction.

import type { DatabaseSync, SQLOutputValue } from "node:sqlite";
import type { EnrollToken, IdentityStorage, NodeKey } from "../../access/identity-storage.ts";
import { inTransaction } from "./transaction.ts";

type Row = { [column: string]: SQLOutputValue };

export class SqliteIdentityStorage implements IdentityStorage {
  readonly #database: DatabaseSync;

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  async key(key: string): Promise<NodeKey | undefined> {
    const row = this.#sql("SELECT * FROM node_keys WHERE public_key = ?").get(key);
    return row === undefined ? undefined : keyOf(row);
  }

  async keysOf(node: string): Promise<NodeKey[]> {
    return this.#sql("SELECT * FROM node_keys WHERE node = ? ORDER BY created_at, public_key")
      .all(node)
      .map(keyOf);
  }

  async addToken(token: EnrollToken, forgetBefore: number): Promise<void> {
    this.#transaction(() => {
      this.#sql("DELETE FROM enroll_tokens WHERE expires_at < ?").run(forgetBefore);
      this.#sql(
        "INSERT INTO enroll_tokens (id, digest, node, created_at, expires_at) VALUES (?, ?, ?, ?, ?)",
      ).run(token.id, token.digest, token.node, token.createdAt, token.expiresAt);
    });
  }

  async token(id: string): Promise<EnrollToken | undefined> {
    const row = this.#sql("SELECT * FROM enroll_tokens WHERE id = ?").get(id);
    return row === undefined ? undefined : tokenOf(row);
  }

  async enroll(token: string, key: NodeKey, now: number): Promise<boolean> {
    return this.#transaction(() => {
      if (this.#isKnown(key.key)) return false;
      const spent = this.#sql(
        "UPDATE enroll_tokens SET used_at = ? WHERE id = ? AND node = ? AND used_at IS NULL",
      ).run(now, token, key.node);
      if (Number(spent.changes) !== 1) return false;
      this.#sql("UPDATE node_keys SET state = 'revoked' WHERE node = ?").run(key.node);
      this.#sql("DELETE FROM revoked_nodes WHERE node = ?").run(key.node);
      this.#insert({ ...key, state: "valid" });
      return true;
    });
  }

  async announce(key: NodeKey): Promise<boolean> {
    return this.#transaction(() => {
      const known = this.#sql("SELECT node, state FROM node_keys WHERE public_key = ?").get(
        key.key,
      );
      if (known !== undefined) return known.node === key.node && known.state === "next";
      this.#sql("DELETE FROM node_keys WHERE node = ? AND state = 'next'").run(key.node);
      this.#insert({ ...key, state: "next" });
      return true;
    });
  }

  async promote(key: NodeKey): Promise<void> {
    this.#transaction(() => {
      this.#sql(
        "DELETE FROM node_keys WHERE node = ? AND public_key <> ? AND state <> 'revoked'",
      ).run(key.node, key.key);
      this.#sql("UPDATE node_keys SET state = 'valid' WHERE public_key = ? AND state = 'next'").run(
        key.key,
      );
    });
  }

  async revoke(node: string, now: number): Promise<void> {
    this.#transaction(() => {
      this.#sql("UPDATE node_keys SET state = 'revoked' WHERE node = ?").run(node);
      this.#sql("DELETE FROM enroll_tokens WHERE node = ? AND used_at IS NULL").run(node);
      this.#sql("INSERT OR IGNORE INTO revoked_nodes (node, revoked_at) VALUES (?, ?)").run(
        node,
        now,
      );
    });
  }

  async revokedNodes(): Promise<{ node: string; revokedAt: number }[]> {
    return this.#sql("SELECT * FROM revoked_nodes")
      .all()
      .map((row) => ({ node: String(row.node), revokedAt: Number(row.revoked_at) }));
  }

  #isKnown(key: string): boolean {
    return this.#sql("SELECT 1 FROM node_keys WHERE public_key = ?").get(key) !== undefined;
  }

  #insert({ key, node, state, createdAt }: NodeKey): void {
    this.#sql(
      "INSERT INTO node_keys (public_key, node, state, created_at) VALUES (?, ?, ?, ?)",
    ).run(key, node, state, createdAt);
  }

  /** Prepared anew each time: all of it is rare. */
  #sql(text: string) {
    return this.#database.prepare(text);
  }

  #transaction<T>(work: () => T): T {
    return inTransaction(this.#database, work);
  }
}

function keyOf(row: Row): NodeKey {
  const state = row.state === "valid" || row.state === "next" ? row.state : "revoked";
  return {
    key: String(row.public_key),
    node: String(row.node),
    state,
    createdAt: Number(row.created_at),
  };
}

function tokenOf(row: Row): EnrollToken {
  return {
    id: String(row.id),
    digest: row.digest instanceof Uint8Array ? row.digest : new Uint8Array(),
    node: String(row.node),
    createdAt: Number(row.created_at),
    expiresAt: Number(row.expires_at),
    ...(row.used_at === null ? {} : { usedAt: Number(row.used_at) }),
  };
}
