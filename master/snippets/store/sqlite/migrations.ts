// The schema of snippets.db, as a list of steps. A step that was released is never edited: a change is
// a further step. Times are Unix milliseconds; columns named *_json hold JSON text. What nodes tell is
// REAL: an integer beyond 2^53 could be stored, but not be read back.

export const migrations: readonly string[] = [
  `
  -- Small rows, since they change three times. no stands for the snippet in the tables of large ones.
  -- state: 0 queued, 1 running, 2 finished.
  CREATE TABLE snippets (
    id TEXT PRIMARY KEY,
    no INTEGER NOT NULL,
    owner TEXT NOT NULL,
    language TEXT NOT NULL,
    priority INTEGER NOT NULL,
    created_at REAL NOT NULL,
    state INTEGER NOT NULL DEFAULT 0,
    is_published INTEGER NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    master TEXT,
    boot TEXT,
    started_at REAL,
    finished_at REAL,
    end_attempt INTEGER,
    cancel TEXT,
    callback TEXT,
    callback_at REAL,
    callback_tries INTEGER NOT NULL DEFAULT 0,
    idempotency_key TEXT,
    idempotency_digest TEXT
  ) WITHOUT ROWID;
  CREATE INDEX snippets_queued ON snippets (id, language, created_at, priority, owner, is_published)
    WHERE state = 0;
  CREATE INDEX snippets_running ON snippets (id) WHERE state = 1;
  CREATE INDEX snippets_finished ON snippets (finished_at) WHERE state = 2;
  CREATE INDEX snippets_by_owner ON snippets (owner, id, language);
  CREATE INDEX snippets_callbacks ON snippets (callback_at) WHERE callback_at IS NOT NULL;
  CREATE UNIQUE INDEX snippets_by_key ON snippets (owner, idempotency_key)
    WHERE idempotency_key IS NOT NULL;

  CREATE TABLE bodies (no INTEGER PRIMARY KEY, body_json TEXT NOT NULL);

  -- What a list shows comes first: the rest lies on pages of its own.
  CREATE TABLE ends (
    no INTEGER PRIMARY KEY,
    outcome_json TEXT NOT NULL,
    facts_json TEXT NOT NULL,
    node TEXT,
    refused_json TEXT NOT NULL,
    result_json TEXT,
    stdout BLOB NOT NULL,
    stderr BLOB NOT NULL
  );

  CREATE TABLE files (
    no INTEGER NOT NULL,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    size_bytes REAL NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (no, position)
  );

  CREATE TABLE leases (
    master TEXT PRIMARY KEY,
    boot TEXT NOT NULL,
    until REAL NOT NULL
  ) WITHOUT ROWID;
  `,
];
