// The statements of the store in PostgreSQL. Each is atomic by itself and carries its own conditions:
// several masters work on one database, and of two that want the same, one must find that it cannot.
import type { CancelledBy } from "../../../../protocol/outcome.ts";
import { type EndColumns, type SnippetColumns, stateNumbers } from "../columns.ts";
import type { SnippetQuery } from "../store.ts";
import type { Statement } from "./connections.ts";

/** Clocks of masters differ: leases are kept and judged on the database's. */
const now = "(extract(epoch FROM clock_timestamp()) * 1000)::double precision";
const item = `id, language, priority, owner, created_at AS "createdAt"`;

export function insert(rows: readonly SnippetColumns[], isPublished: boolean): Statement {
  const column = (name: keyof SnippetColumns) => rows.map((row) => row[name]);
  return {
    name: "insert",
    text: `
      WITH given AS (
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::integer[],
          $5::double precision[], $6::text[], $7::text[], $8::text[], $9::text[])
          WITH ORDINALITY AS given (id, owner, language, priority, created_at, callback, key, digest,
            body, position)
      ), added AS (
        INSERT INTO edgedag_snippets (id, owner, language, priority, created_at, callback,
          idempotency_key, idempotency_digest, is_published)
        SELECT id, owner, language, priority, created_at, callback, key, digest, $10
        FROM given ORDER BY position
        ON CONFLICT DO NOTHING RETURNING no, id
      ), bodies AS (
        INSERT INTO edgedag_bodies SELECT no, body FROM added JOIN given USING (id)
      )
      SELECT id FROM added`,
    values: [
      column("id"),
      column("owner"),
      column("language"),
      column("priority"),
      column("createdAt"),
      column("callback"),
      column("key"),
      column("digest"),
      column("body"),
      isPublished,
    ],
    bytes: rows.reduce((sum, { body }) => sum + body.length, 0),
  };
}

/** Those that `insert` found there already, by id or by key. */
export function known(rows: readonly SnippetColumns[]): Statement {
  const keyed = rows.filter(({ key }) => key !== null);
  return {
    name: "known",
    text: `SELECT id, owner, idempotency_key AS key, idempotency_digest AS digest
      FROM edgedag_snippets WHERE id = ANY ($1) OR (owner, idempotency_key) IN
        (SELECT * FROM unnest($2::text[], $3::text[]))`,
    values: [
      rows.map(({ id }) => id),
      keyed.map(({ owner }) => owner),
      keyed.map(({ key }) => key),
    ],
  };
}

export function markPublished(ids: readonly string[]): Statement {
  return {
    name: "mark-published",
    text: "UPDATE edgedag_snippets SET is_published = true WHERE id = ANY ($1)",
    values: [ids],
  };
}

export function unpublished(limit: number): Statement {
  return {
    name: "unpublished",
    text: `SELECT ${item} FROM edgedag_snippets WHERE state = 0 AND NOT is_published
      ORDER BY id LIMIT $1`,
    values: [limit],
  };
}

export function queued(after: string, limit: number): Statement {
  return {
    name: "queued",
    text: `SELECT ${item} FROM edgedag_snippets WHERE state = 0 AND id > $1 ORDER BY id LIMIT $2`,
    values: [after, limit],
  };
}

/**
 * One row, or none when it is not known. `verdict` is judged from one state of the database, and the
 * claim is made only when nothing has changed since: `claimed` is null then, and it is to be judged again.
 */
export function claim(
  id: string,
  by: { master: string; boot: string; isInDoubt: boolean },
): Statement {
  return {
    name: "claim",
    text: `
      WITH seen AS (
        SELECT s.*, coalesce(l.until - ${now}, 0) AS left_ms
        FROM edgedag_snippets s LEFT JOIN edgedag_leases l USING (master, boot) WHERE id = $1
      ), judged AS (
        SELECT *, CASE
          WHEN state = 2 THEN 'finished'
          WHEN state = 1 AND master = $2 AND boot = $3 AND NOT $4 THEN 'taken'
          WHEN state = 1 AND master <> $2 AND left_ms > 0 THEN 'taken'
          WHEN cancel IS NOT NULL THEN 'cancelled'
          ELSE 'free' END AS verdict
        FROM seen
      ), claimed AS (
        UPDATE edgedag_snippets s
        SET state = 1, attempt = s.attempt + 1, master = $2, boot = $3, started_at = NULL
        FROM judged WHERE s.no = judged.no AND verdict = 'free'
          AND s.state = judged.state AND s.attempt = judged.attempt AND s.cancel IS NULL
        RETURNING s.no, s.attempt
      )
      SELECT ${item}, callback, verdict, left_ms AS "leftMs", state, judged.attempt AS attempt, cancel,
        claimed.attempt AS claimed, body_json AS body
      FROM judged LEFT JOIN claimed USING (no) LEFT JOIN edgedag_bodies b ON b.no = claimed.no`,
    values: [id, by.master, by.boot, by.isInDoubt],
  };
}

export function started(id: string, attempt: number, at: number): Statement {
  return {
    name: "started",
    text: "UPDATE edgedag_snippets SET started_at = $3 WHERE id = $1 AND attempt = $2 AND state = 1",
    values: [id, attempt, at],
  };
}

export function release(id: string, attempt: number): Statement {
  return {
    name: "release",
    text: `UPDATE edgedag_snippets SET state = 0, master = NULL, boot = NULL, started_at = NULL
      WHERE id = $1 AND attempt = $2 AND state < 2 RETURNING id`,
    values: [id, attempt],
  };
}

/** One row when it counts, else none. `only`: when it still is as it was seen. */
export function finish(
  id: string,
  attempt: number,
  columns: EndColumns,
  only?: { state: number; attempt: number },
): Statement {
  const { outcome, facts, node, refused, result, stdout, stderr, files } = columns;
  const values: unknown[] = [id, attempt, columns.finishedAt, columns.startedAt];
  values.push(only?.state ?? null, only?.attempt ?? null);
  values.push(outcome, facts, node, refused, result, asBuffer(stdout), asBuffer(stderr));
  let bytes = stdout.length + stderr.length + (result?.length ?? 0);
  const places = files.map(({ name, sizeBytes, content }, position) => {
    bytes += content.length;
    const at = values.push(position, name, sizeBytes, asBuffer(content)) - 3;
    return `($${at}::integer, $${at + 1}::text, $${at + 2}::double precision, $${at + 3}::bytea)`;
  });
  const keepFiles =
    places.length === 0
      ? ""
      : `, files AS (INSERT INTO edgedag_files SELECT done.no, file.* FROM done
           CROSS JOIN (VALUES ${places.join(", ")}) AS file)`;
  return {
    ...(places.length === 0 ? { name: "finish" } : {}),
    text: `
      WITH done AS (
        UPDATE edgedag_snippets SET state = 2, finished_at = $3, end_attempt = $2, master = NULL,
          boot = NULL, cancel = NULL,
          callback_at = CASE WHEN callback IS NULL THEN NULL ELSE $3::double precision END,
          started_at = CASE WHEN attempt = $2 THEN coalesce(started_at, $4) ELSE $4 END
        WHERE id = $1 AND state < 2 AND state = coalesce($5::integer, state)
          AND attempt = coalesce($6::integer, attempt)
        RETURNING no
      ), ended AS (
        INSERT INTO edgedag_ends SELECT no, $7, $8, $9, $10, $11, $12, $13 FROM done
      )${keepFiles}
      SELECT no FROM done`,
    values,
    bytes,
  };
}

export function endedBy(id: string, attempt: number): Statement {
  return {
    name: "ended-by",
    text: "SELECT no FROM edgedag_snippets WHERE id = $1 AND end_attempt = $2",
    values: [id, attempt],
  };
}

/** `columns`: its end, where it is queued. */
export function cancel(id: string, by: CancelledBy, columns: EndColumns): Statement {
  return {
    name: "cancel",
    text: `
      WITH changed AS (
        UPDATE edgedag_snippets SET
          state = CASE state WHEN 0 THEN 2 ELSE state END,
          finished_at = CASE state WHEN 0 THEN $3::double precision END,
          end_attempt = CASE state WHEN 0 THEN attempt END,
          callback_at = CASE WHEN state = 0 AND callback IS NOT NULL THEN $3::double precision END,
          cancel = CASE state WHEN 0 THEN NULL ELSE coalesce(cancel, $2) END
        WHERE id = $1 AND state < 2 RETURNING no, state
      ), ended AS (
        INSERT INTO edgedag_ends SELECT no, $4, $5, NULL, $6, NULL, '', '' FROM changed
        WHERE state = 2
      )
      SELECT (SELECT state FROM changed) AS changed,
        EXISTS (SELECT 1 FROM edgedag_snippets WHERE id = $1) AS known`,
    values: [id, by, columns.finishedAt, columns.outcome, columns.facts, columns.refused],
  };
}

export function cancelAsked(master: string): Statement {
  return {
    name: "cancel-asked",
    text: `SELECT id FROM edgedag_snippets WHERE state = 1 AND master = $1 AND cancel IS NOT NULL
      ORDER BY id`,
    values: [master],
  };
}

/** A row for each file, at least one: all of it is one state of the database. */
export function get(id: string): Statement {
  return {
    name: "get",
    text: `
      SELECT id, owner, language, priority, created_at AS "createdAt", callback, state, attempt,
        started_at AS "startedAt", finished_at AS "finishedAt", cancel, body_json AS body,
        outcome_json AS outcome, facts_json AS facts, node, refused_json AS refused,
        result_json AS result,
        CASE WHEN coalesce(position, 0) = 0 THEN stdout END AS stdout,
        CASE WHEN coalesce(position, 0) = 0 THEN stderr END AS stderr,
        position, name, size_bytes AS "sizeBytes", content
      FROM edgedag_snippets s JOIN edgedag_bodies USING (no) LEFT JOIN edgedag_ends USING (no)
        LEFT JOIN edgedag_files USING (no)
      WHERE id = $1 ORDER BY position`,
    values: [id],
  };
}

export function list(query: SnippetQuery): Statement {
  const values: unknown[] = [];
  const wanted: string[] = [];
  const want = (condition: string, value: string | undefined): void => {
    if (value !== undefined) wanted.push(`${condition} $${values.push(value)}`);
  };
  want("owner =", query.owner);
  want("language =", query.language);
  want("id <", query.before);
  // Said in the text, so that the indexes of single states can serve.
  if (query.state !== undefined) wanted.push(`state = ${stateNumbers[query.state]}`);
  const where = wanted.length === 0 ? "" : `WHERE ${wanted.join(" AND ")}`;
  return {
    text: `SELECT ${item}, state, attempt, started_at AS "startedAt", finished_at AS "finishedAt",
        outcome_json AS outcome, facts_json AS facts, node
      FROM edgedag_snippets LEFT JOIN edgedag_ends USING (no) ${where}
      ORDER BY id DESC LIMIT $${values.push(query.limit)}`,
    values,
  };
}

export const depths: Statement = {
  name: "depths",
  text: `SELECT language, count(*)::double precision AS count, min(created_at) AS "oldestAt"
    FROM edgedag_snippets WHERE state = 0 GROUP BY language`,
};

export function dueCallbacks(at: number, limit: number): Statement {
  return {
    name: "due-callbacks",
    text: `SELECT id, callback AS url, callback_tries AS tries FROM edgedag_snippets
      WHERE callback_at <= $1 ORDER BY callback_at LIMIT $2`,
    values: [at, limit],
  };
}

export function callbackTried(id: string, next: number | undefined): Statement {
  return {
    name: "callback-tried",
    text: `UPDATE edgedag_snippets SET callback_at = $2, callback_tries = callback_tries + 1
      WHERE id = $1 AND callback_at IS NOT NULL`,
    values: [id, next ?? null],
  };
}

export function renewLease(master: string, boot: string, forMs: number): Statement {
  return {
    name: "renew-lease",
    text: `INSERT INTO edgedag_leases VALUES ($1, $2, ${now} + $3)
      ON CONFLICT (master) DO UPDATE SET boot = excluded.boot, until = excluded.until`,
    values: [master, boot, forMs],
  };
}

export function abandoned(inMs: number, limit: number): Statement {
  return {
    name: "abandoned",
    text: `SELECT ${item} FROM edgedag_snippets s WHERE state = 1 AND NOT EXISTS (
        SELECT 1 FROM edgedag_leases l
        WHERE l.master = s.master AND l.boot = s.boot AND l.until > ${now} + $1)
      ORDER BY id LIMIT $2`,
    values: [inMs, limit],
  };
}

export function prune(finishedBefore: number, limit: number): Statement {
  return {
    name: "prune",
    text: `
      WITH old AS (
        DELETE FROM edgedag_snippets WHERE no IN (
          SELECT no FROM edgedag_snippets WHERE state = 2 AND finished_at < $1
          ORDER BY finished_at LIMIT $2 FOR UPDATE SKIP LOCKED)
        RETURNING no
      ), bodies AS (DELETE FROM edgedag_bodies USING old WHERE edgedag_bodies.no = old.no
      ), ends AS (DELETE FROM edgedag_ends USING old WHERE edgedag_ends.no = old.no
      ), files AS (DELETE FROM edgedag_files USING old WHERE edgedag_files.no = old.no)
      SELECT count(*)::double precision AS count FROM old`,
    values: [finishedBefore, limit],
  };
}

/** The driver knows bytes by this class only. */
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
