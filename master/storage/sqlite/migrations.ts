// The schema of the master's SQLite file, as a list of steps. A step that was released is never edited:
// a change is a further step. Times are Unix milliseconds; columns named *_json hold JSON text.

export const migrations: readonly string[] = [
  `
  CREATE TABLE nodes (
    id TEXT PRIMARY KEY,
    first_seen_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    boot TEXT NOT NULL,
    agent_version TEXT NOT NULL,
    capabilities_json TEXT NOT NULL,
    labels_json TEXT NOT NULL,
    wants_runs INTEGER NOT NULL,
    acked INTEGER NOT NULL DEFAULT 0,
    missing_records INTEGER NOT NULL DEFAULT 0
  ) WITHOUT ROWID;

  CREATE TABLE node_events (
    id INTEGER PRIMARY KEY,
    node TEXT NOT NULL,
    time INTEGER NOT NULL,
    event TEXT NOT NULL,
    detail TEXT NOT NULL
  );
  CREATE INDEX node_events_by_node ON node_events (node, id);

  CREATE TABLE artifacts (
    digest TEXT PRIMARY KEY,
    artifact_json TEXT NOT NULL
  );

  -- no is short and stands for the run in the large tables.
  CREATE TABLE runs (
    no INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    dag TEXT NOT NULL,
    digest TEXT NOT NULL,
    state TEXT NOT NULL,
    source TEXT NOT NULL,
    node TEXT,
    is_any INTEGER NOT NULL,
    labels_json TEXT NOT NULL,
    params_json TEXT,
    tasks INTEGER NOT NULL DEFAULT 0,
    finished_tasks INTEGER NOT NULL DEFAULT 0,
    failed_tasks INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    offered_at INTEGER,
    accepted_at INTEGER,
    started_at INTEGER,
    finished_at INTEGER,
    outcome_json TEXT,
    summary_json TEXT,
    cancel TEXT,
    refusals_json TEXT NOT NULL DEFAULT '[]'
  );
  CREATE INDEX runs_by_state ON runs (state, no);
  CREATE INDEX runs_by_node ON runs (node, state);

  -- attempt 0 is the outcome of a task that had no attempt of its own.
  CREATE TABLE attempts (
    run_no INTEGER NOT NULL,
    task TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    is_finished INTEGER NOT NULL,
    is_final INTEGER NOT NULL,
    time REAL NOT NULL,
    outcome_json TEXT,
    facts_json TEXT,
    result_json TEXT,
    progress REAL,
    progress_text TEXT,
    PRIMARY KEY (run_no, task, attempt)
  ) WITHOUT ROWID;

  CREATE TABLE log_chunks (
    run_no INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    text TEXT NOT NULL
  );
  CREATE UNIQUE INDEX log_chunks_by_seq ON log_chunks (run_no, last_seq, first_seq);

  CREATE TABLE objects (
    id INTEGER PRIMARY KEY,
    run_no INTEGER NOT NULL,
    kind TEXT NOT NULL,
    task TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    name TEXT NOT NULL,
    parts INTEGER NOT NULL,
    parts_stored INTEGER NOT NULL DEFAULT 0,
    size_bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'arriving',
    UNIQUE (run_no, kind, task, attempt, name)
  );
  CREATE INDEX objects_whole ON objects (state) WHERE state = 'whole';

  CREATE TABLE object_parts (
    object_id INTEGER NOT NULL,
    part INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (object_id, part)
  );

  CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
  INSERT INTO counters VALUES ('records', 0);
  `,
  `
  -- Public keys of nodes. next: was announced by the valid one and not used yet.
  CREATE TABLE node_keys (
    public_key TEXT PRIMARY KEY,
    node TEXT NOT NULL,
    state TEXT NOT NULL,
    created_at INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE INDEX node_keys_by_node ON node_keys (node);

  -- The secret of a token is kept as its SHA-256 digest alone.
  CREATE TABLE enroll_tokens (
    id TEXT PRIMARY KEY,
    digest BLOB NOT NULL,
    node TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER
  ) WITHOUT ROWID;

  CREATE TABLE revoked_nodes (
    node TEXT PRIMARY KEY,
    revoked_at INTEGER NOT NULL
  ) WITHOUT ROWID;
  `,
];
