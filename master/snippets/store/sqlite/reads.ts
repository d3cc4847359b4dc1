// What is looked up in snippets.db. Gives rows whose columns are named as the fields of `columns.ts`;
// the caller's side makes records of them, so that this thread does not.
import { type Row, stateNumbers } from "../columns.ts";
import type { SnippetQuery } from "../store.ts";
import type { Statements } from "./statements.ts";

const item = "id, language, priority, owner, created_at AS createdAt";

export type Reads = ReturnType<typeof readsOf>;

export function readsOf(statements: Statements) {
  const sql = (text: string) => statements.sql(text);
  return {
    unpublished: (limit: number): Row[] =>
      sql(`SELECT ${item} FROM snippets INDEXED BY snippets_queued
           WHERE state = 0 AND is_published = 0 ORDER BY id LIMIT ?`).all(limit),

    queued: (after: string, limit: number): Row[] =>
      sql(`SELECT ${item} FROM snippets INDEXED BY snippets_queued
           WHERE state = 0 AND id > ? ORDER BY id LIMIT ?`).all(after, limit),

    abandoned: (now: number, limit: number): Row[] =>
      sql(`SELECT ${item} FROM snippets INDEXED BY snippets_running
           WHERE state = 1 AND NOT EXISTS (SELECT 1 FROM leases
             WHERE leases.master = snippets.master AND leases.boot = snippets.boot AND until > ?)
           ORDER BY id LIMIT ?`).all(now, limit),

    cancelAsked: (master: string): Row[] =>
      sql(`SELECT id FROM snippets INDEXED BY snippets_running
           WHERE state = 1 AND master = ? AND cancel IS NOT NULL ORDER BY id`).all(master),

    depths: (): Row[] =>
      sql(`SELECT language, count(*) AS count, min(created_at) AS oldestAt
           FROM snippets INDEXED BY snippets_queued WHERE state = 0 GROUP BY language`).all(),

    dueCallbacks: (now: number, limit: number): Row[] =>
      sql(`SELECT id, callback AS url, callback_tries AS tries FROM snippets
           WHERE callback_at <= ? ORDER BY callback_at LIMIT ?`).all(now, limit),

    get: (id: string): { record: Row; files: Row[] } | undefined => {
      const record = sql(
        `SELECT id, owner, language, priority, created_at AS createdAt, callback, state, attempt,
           started_at AS startedAt, finished_at AS finishedAt, cancel, body_json AS body,
           outcome_json AS outcome, facts_json AS facts, node, refused_json AS refused,
           result_json AS result, stdout, stderr, snippets.no AS no
         FROM snippets JOIN bodies USING (no) LEFT JOIN ends USING (no) WHERE id = ?`,
      ).get(id);
      if (record === undefined) return undefined;
      const files =
        record.state === stateNumbers.finished
          ? sql(`SELECT name, size_bytes AS sizeBytes, content FROM files WHERE no = ?
                 ORDER BY position`).all(record.no ?? 0)
          : [];
      return { record, files };
    },

    list: (query: SnippetQuery): Row[] => {
      const wanted: string[] = [];
      const values: (string | number)[] = [];
      const want = (condition: string, value: string | undefined): void => {
        if (value === undefined) return;
        wanted.push(condition);
        values.push(value);
      };
      want("owner = ?", query.owner);
      want("language = ?", query.language);
      want("id < ?", query.before);
      // Said in the text, so that the indexes of single states can serve.
      if (query.state !== undefined) wanted.push(`state = ${stateNumbers[query.state]}`);
      const where = wanted.length === 0 ? "" : `WHERE ${wanted.join(" AND ")}`;
      return sql(
        `SELECT id, owner, language, priority, created_at AS createdAt, state, attempt,
           started_at AS startedAt, finished_at AS finishedAt, outcome_json AS outcome,
           facts_json AS facts, node
         FROM snippets LEFT JOIN ends USING (no) ${where} ORDER BY id DESC LIMIT ?`,
      ).all(...values, query.limit);
    },
  };
}
