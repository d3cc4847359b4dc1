// The schema in PostgreSQL, as a list of steps. A step that was released is never edited: a change is a
// further step. Times are Unix milliseconds, those of leases on the database's own clock; columns named
// *_json hold JSON text, not jsonb, which takes neither \u0000 nor half of a surrogate pair.

export const migrations: readonly string[] = [
  `
  -- Small rows, since they change three times. no stands for the snippet in the tables of large ones.
  -- state: 0 queued, 1 running, 2 finished.
  CREATE TABLE edgedag_snippets (
    no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text COLLATE "C" NOT NULL UNIQUE,
    owner text NOT NULL,
    language text NOT NULL,
    priority integer NOT NULL,
    created_at double precision NOT NULL,
    state integer NOT NULL DEFAULT 0,
    is_published boolean NOT NULL,
    attempt integer NOT NULL DEFAULT 0,
    master text,
    boot text,
    started_at double precision,
    finished_at double precision,
    end_attempt integer,
    cancel text,
    callback text,
    callback_at double precision,
    callback_tries integer NOT NULL DEFAULT 0,
    idempotency_key text,
    idempotency_digest text
  ) WITH (fillfactor = 80);
  CREATE INDEX edgedag_snippets_queued ON edgedag_snippets (id) INCLUDE (language, created_at)
    WHERE state = 0;
  CREATE INDEX edgedag_snippets_running ON edgedag_snippets (id) WHERE state = 1;
  CREATE INDEX edgedag_snippets_finished ON edgedag_snippets (finished_at) WHERE state = 2;
  CREATE INDEX edgedag_snippets_by_owner ON edgedag_snippets (owner, id);
  CREATE INDEX edgedag_snippets_callbacks ON edgedag_snippets (callback_at)
    WHERE callback_at IS NOT NULL;
  CREATE UNIQUE INDEX edgedag_snippets_by_key ON edgedag_snippets (owner, idempotency_key)
    WHERE idempotency_key IS NOT NULL;

  CREATE TABLE edgedag_bodies (no bigint PRIMARY KEY, body_json text NOT NULL);

  CREATE TABLE edgedag_ends (
    no bigint PRIMARY KEY,
    outcome_json text NOT NULL,
    facts_json text NOT NULL,
    node text,
    refused_json text NOT NULL,
    result_json text,
    stdout bytea NOT NULL,
    stderr bytea NOT NULL
  );

  CREATE TABLE edgedag_files (
    no bigint NOT NULL,
    position integer NOT NULL,
    name text NOT NULL,
    size_bytes double precision NOT NULL,
    content bytea NOT NULL,
    PRIMARY KEY (no, position)
  );

  CREATE TABLE edgedag_leases (
    master text PRIMARY KEY,
    boot text NOT NULL,
    until double precision NOT NULL
  );
  `,
];
