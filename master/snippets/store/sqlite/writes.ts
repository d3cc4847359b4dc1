// What changes in snippets.db. The caller holds the transaction and a savepoint around each call; this
// file owns the statements and their conditions.

import type { CancelledBy } from "../../../../protocol/outcome.ts";
import {
  cancelledEnd,
  type EndColumns,
  endColumns,
  type Row,
  type SnippetColumns,
  stateNumbers,
} from "../columns.ts";
import { conflictsOf, type KeyOwner } from "../key-conflicts.ts";
import type { Inserted } from "../store.ts";
import type { Statements } from "./statements.ts";

export type ClaimRow =
  | { kind: "claimed"; row: Row; attempt: number }
  | { kind: "finished" | "unknown" }
  | { kind: "taken"; untilMs: number };

export interface Claimant {
  master: string;
  boot: string;
  now: number;
  /** An earlier claim of the same may have been done without an answer. */
  isInDoubt: boolean;
}

const pruneAtOnce = 100;
const pruneBytes = 16 * 1024 * 1024;

export type Writes = ReturnType<typeof writesOf>;

/** Whether it must be on the disk before it is answered, where losses of power matter. */
export const syncs: { readonly [name in keyof Writes]: boolean } = {
  insert: true,
  finish: true,
  cancel: true,
  // Lost with the power, these come again by themselves.
  claim: false,
  started: false,
  release: false,
  markPublished: false,
  callbackTried: false,
  renewLease: false,
  prune: false,
};

export function writesOf(statements: Statements) {
  const sql = (text: string) => statements.sql(text);

  const keyOwner = (owner: string, key: string): KeyOwner | undefined => {
    const row = sql(`SELECT id, idempotency_digest AS digest FROM snippets
                     WHERE owner = ? AND idempotency_key = ?`).get(owner, key);
    return row === undefined ? undefined : { id: String(row.id), digest: row.digest };
  };

  const insertOne = (row: SnippetColumns, isPublished: boolean): Inserted => {
    const { id, owner, key } = row;
    // The same call again: its first answer was lost.
    if (sql("SELECT 1 FROM snippets WHERE id = ?").get(id) !== undefined)
      return { kind: "new", id };
    const known = key === null ? undefined : keyOwner(owner, key);
    if (known !== undefined) {
      return { kind: known.digest === row.digest ? "known" : "conflict", id: known.id };
    }
    const no = sql("INSERT INTO bodies (body_json) VALUES (?)").run(row.body).lastInsertRowid;
    sql(
      `INSERT INTO snippets (id, no, owner, language, priority, created_at, callback,
         idempotency_key, idempotency_digest, is_published) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ).run(
      id,
      no,
      owner,
      row.language,
      row.priority,
      row.createdAt,
      row.callback,
      key,
      row.digest,
      isPublished ? 1 : 0,
    );
    return { kind: "new", id };
  };

  /** False: there is an end already, or no such snippet. */
  const end = (id: string, attempt: number, columns: EndColumns): boolean => {
    const { startedAt, finishedAt } = columns;
    const finished = sql(
      `UPDATE snippets SET state = 2, finished_at = ?1, end_attempt = ?2, master = NULL, boot = NULL,
         cancel = NULL, callback_at = CASE WHEN callback IS NULL THEN NULL ELSE ?1 END,
         started_at = CASE WHEN attempt = ?2 THEN coalesce(started_at, ?3) ELSE ?3 END
       WHERE id = ?4 AND state < 2 RETURNING no`,
    ).get(finishedAt, attempt, startedAt, id);
    if (finished === undefined) return false;
    const no = Number(finished.no);
    sql(
      `INSERT INTO ends (no, outcome_json, facts_json, node, refused_json, result_json, stdout,
         stderr) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    ).run(
      no,
      columns.outcome,
      columns.facts,
      columns.node,
      columns.refused,
      columns.result,
      columns.stdout,
      columns.stderr,
    );
    for (const [position, file] of columns.files.entries()) {
      sql("INSERT INTO files VALUES (?, ?, ?, ?, ?)").run(
        no,
        position,
        file.name,
        file.sizeBytes,
        file.content,
      );
    }
    return true;
  };

  const cancelled = (row: Row, id: string, by: CancelledBy, now: number): void => {
    end(id, Number(row.attempt), endColumns(cancelledEnd(by, now)));
  };

  return {
    insert: (rows: readonly SnippetColumns[], isPublished: boolean): Inserted[] =>
      conflictsOf(rows, keyOwner) ?? rows.map((row) => insertOne(row, isPublished)),

    markPublished: (ids: readonly string[]): void => {
      for (const id of ids) sql("UPDATE snippets SET is_published = 1 WHERE id = ?").run(id);
    },

    claim: (id: string, by: Claimant): ClaimRow => {
      const row = sql(
        `SELECT id, no, owner, language, priority, created_at AS createdAt, callback, state, attempt,
           cancel, master, boot, until
         FROM snippets LEFT JOIN leases USING (master, boot) WHERE id = ?`,
      ).get(id);
      if (row === undefined) return { kind: "unknown" };
      if (row.state === stateNumbers.finished) return { kind: "finished" };
      if (row.state === stateNumbers.running) {
        const untilMs = typeof row.until === "number" ? row.until : by.now;
        const isOwn = row.master === by.master;
        const isFree = isOwn ? row.boot !== by.boot || by.isInDoubt : untilMs <= by.now;
        if (!isFree) return { kind: "taken", untilMs };
      }
      if (typeof row.cancel === "string") {
        // Somebody wanted it cancelled while it ran, and that attempt came to nothing.
        cancelled(row, id, row.cancel as CancelledBy, by.now);
        return { kind: "finished" };
      }
      const attempt = Number(row.attempt) + 1;
      sql(
        `UPDATE snippets SET state = 1, attempt = ?, master = ?, boot = ?, started_at = NULL
         WHERE id = ?`,
      ).run(attempt, by.master, by.boot, id);
      const body = sql("SELECT body_json FROM bodies WHERE no = ?").get(row.no ?? 0)?.body_json;
      return { kind: "claimed", attempt, row: { ...row, body } };
    },

    started: (id: string, attempt: number, at: number): void => {
      sql("UPDATE snippets SET started_at = ? WHERE id = ? AND attempt = ? AND state = 1").run(
        at,
        id,
        attempt,
      );
    },

    release: (id: string, attempt: number): boolean => {
      const released = sql(
        `UPDATE snippets SET state = 0, master = NULL, boot = NULL, started_at = NULL
         WHERE id = ? AND attempt = ? AND state < 2`,
      ).run(id, attempt);
      return Number(released.changes) === 1;
    },

    finish: (id: string, attempt: number, columns: EndColumns, isInDoubt: boolean): boolean =>
      end(id, attempt, columns) ||
      (isInDoubt &&
        sql("SELECT 1 FROM snippets WHERE id = ? AND end_attempt = ?").get(id, attempt) !==
          undefined),

    cancel: (
      id: string,
      by: CancelledBy,
      now: number,
    ): "cancelled" | "requested" | "over" | "unknown" => {
      const row = sql("SELECT state, attempt FROM snippets WHERE id = ?").get(id);
      if (row === undefined) return "unknown";
      if (row.state === stateNumbers.finished) return "over";
      if (row.state === stateNumbers.queued) {
        cancelled(row, id, by, now);
        return "cancelled";
      }
      // Who asked first is who cancelled it.
      sql("UPDATE snippets SET cancel = coalesce(cancel, ?) WHERE id = ?").run(by, id);
      return "requested";
    },

    callbackTried: (id: string, next: number | null): void => {
      sql(
        `UPDATE snippets SET callback_at = ?, callback_tries = callback_tries + 1
         WHERE id = ? AND callback_at IS NOT NULL`,
      ).run(next, id);
    },

    renewLease: (master: string, boot: string, until: number): void => {
      sql(
        `INSERT INTO leases VALUES (?, ?, ?)
         ON CONFLICT DO UPDATE SET boot = excluded.boot, until = excluded.until`,
      ).run(master, boot, until);
    },

    /** Of one call, so little that the others need not wait for long: every page of an end is read. */
    prune: (finishedBefore: number, limit: number): { removed: number; isAll: boolean } => {
      const rows = sql(
        `SELECT id, no, length(stdout) + length(stderr)
           + coalesce((SELECT sum(length(content)) FROM files WHERE files.no = ends.no), 0) AS bytes
         FROM snippets JOIN ends USING (no) WHERE state = 2 AND finished_at < ?
         ORDER BY finished_at LIMIT ?`,
      ).all(finishedBefore, Math.min(limit, pruneAtOnce));
      let bytes = 0;
      let removed = 0;
      for (const { id, no, bytes: more } of rows) {
        if (bytes >= pruneBytes) return { removed, isAll: false };
        bytes += Number(more);
        removed++;
        for (const table of ["bodies", "ends", "files"]) {
          sql(`DELETE FROM ${table} WHERE no = ?`).run(no ?? 0);
        }
        sql("DELETE FROM snippets WHERE id = ?").run(id ?? "");
      }
      return { removed, isAll: rows.length < pruneAtOnce };
    },
  };
}
