// The master's storage in one SQLite file. Calls are synchronous inside and small; the interface is
// asynchronous for the sake of other databases. Owns transactions; decides nothing.

import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { DagArtifact } from "../../../protocol/artifact.ts";
import { crashPoint } from "../../../protocol/crash-points.ts";
import type {
  AttemptRow,
  FrameResult,
  LogChunk,
  MasterStorage,
  NewRun,
  NodeEvent,
  NodeRow,
  ObjectRow,
  RecordFrame,
  RunChange,
  RunQuery,
  RunRow,
  RunState,
} from "../storage.ts";
import { FrameApplier } from "./apply-frames.ts";
import { GroupedWrites } from "./grouped-writes.ts";
import { attemptOf, chunkOf, nodeEventOf, nodeOf, objectOf, runOf } from "./rows.ts";
import { inTransaction } from "./transaction.ts";

const eventsKeptPerNode = 1000;

export class SqliteStorage implements MasterStorage {
  readonly #database: DatabaseSync;
  readonly #applier: FrameApplier;
  readonly #prepared = new Map<string, StatementSync>();

  constructor(database: DatabaseSync) {
    this.#database = database;
    this.#applier = new FrameApplier(database);
  }

  async applyFrames(frames: readonly RecordFrame[]): Promise<FrameResult[]> {
    return this.#transaction(() => {
      const results = frames.map((frame) => this.#applier.apply(frame));
      crashPoint("master.frame-written");
      return results;
    });
  }

  async nodes(): Promise<NodeRow[]> {
    return this.#sql("SELECT * FROM nodes ORDER BY id").all().map(nodeOf);
  }

  saveNode(node: NodeRow): Promise<void> {
    return this.#grouped.add(() => {
      this.#sql(
        `INSERT INTO nodes (id, first_seen_at, last_seen_at, boot, agent_version, capabilities_json,
         labels_json, wants_runs, acked, missing_records)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET last_seen_at = excluded.last_seen_at, boot = excluded.boot,
         agent_version = excluded.agent_version, capabilities_json = excluded.capabilities_json,
         labels_json = excluded.labels_json, wants_runs = excluded.wants_runs`,
      ).run(
        node.id,
        node.firstSeenAt,
        node.lastSeenAt,
        node.boot,
        node.agentVersion,
        JSON.stringify(node.capabilities),
        JSON.stringify(node.labels),
        node.wantsRuns ? 1 : 0,
        node.acked,
        node.missingRecords,
      );
    });
  }

  async setAcked(node: string, acked: number, missingRecords: number): Promise<void> {
    this.#sql("UPDATE nodes SET acked = ?, missing_records = ? WHERE id = ?").run(
      acked,
      missingRecords,
      node,
    );
  }

  async touchNodes(seen: readonly { node: string; lastSeenAt: number }[]): Promise<void> {
    this.#transaction(() => {
      const touch = this.#sql("UPDATE nodes SET last_seen_at = ? WHERE id = ?");
      for (const { node, lastSeenAt } of seen) touch.run(lastSeenAt, node);
    });
  }

  addNodeEvent(node: string, event: NodeEvent): Promise<void> {
    return this.#grouped.add(() => {
      this.#sql("INSERT INTO node_events (node, time, event, detail) VALUES (?, ?, ?, ?)").run(
        node,
        event.time,
        event.event,
        event.detail,
      );
      this.#sql(
        `DELETE FROM node_events WHERE node = ?1 AND id <=
         (SELECT id FROM node_events WHERE node = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)`,
      ).run(node, eventsKeptPerNode);
    });
  }

  async nodeEvents(node: string, limit: number): Promise<NodeEvent[]> {
    return this.#sql("SELECT * FROM node_events WHERE node = ? ORDER BY id DESC LIMIT ?")
      .all(node, limit)
      .map(nodeEventOf);
  }

  async createRun(run: NewRun): Promise<void> {
    this.#transaction(() => {
      this.#sql("INSERT OR IGNORE INTO artifacts VALUES (?, ?)").run(
        run.digest,
        JSON.stringify(run.artifact),
      );
      this.#sql(
        `INSERT INTO runs (id, dag, digest, state, source, node, is_any, labels_json, params_json,
           tasks, created_at)
         VALUES (?, ?, ?, 'queued', 'gateway', ?, ?, ?, ?, ?, ?)`,
      ).run(
        run.id,
        run.dag,
        run.digest,
        run.node ?? null,
        run.node === undefined ? 1 : 0,
        JSON.stringify(run.labels),
        run.params === undefined ? null : JSON.stringify(run.params),
        run.tasks,
        run.createdAt,
      );
    });
  }

  async run(id: string): Promise<RunRow | undefined> {
    const row = this.#sql("SELECT * FROM runs WHERE id = ?").get(id);
    return row === undefined ? undefined : runOf(row);
  }

  async runs(query: RunQuery): Promise<RunRow[]> {
    return this.#sql(
      `SELECT * FROM runs WHERE (?1 IS NULL OR state = ?1) AND (?2 IS NULL OR node = ?2)
       AND (?3 IS NULL OR dag = ?3) AND (?4 IS NULL OR created_at < ?4)
       ORDER BY no DESC LIMIT ?5`,
    )
      .all(
        query.state ?? null,
        query.node ?? null,
        query.dag ?? null,
        query.before ?? null,
        query.limit,
      )
      .map(runOf);
  }

  async runsOfNode(node: string, states: readonly RunState[]): Promise<RunRow[]> {
    return this.#sql(
      `SELECT * FROM runs WHERE node = ?
       AND state IN (SELECT value FROM json_each(?)) ORDER BY no`,
    )
      .all(node, JSON.stringify(states))
      .map(runOf);
  }

  async queuedRuns(node: string, limit: number): Promise<RunRow[]> {
    return this.#sql(
      "SELECT * FROM runs WHERE state = 'queued' AND (node = ? OR node IS NULL) ORDER BY no LIMIT ?",
    )
      .all(node, limit)
      .map(runOf);
  }

  async openRuns(): Promise<Map<string, number>> {
    const rows = this.#sql(
      `SELECT node, count(*) AS runs FROM runs WHERE state IN ('offered', 'accepted', 'running')
       AND node IS NOT NULL GROUP BY node`,
    ).all();
    return new Map(rows.map((row) => [String(row.node), Number(row.runs)]));
  }

  async moveRun(id: string, from: readonly RunState[], change: RunChange): Promise<boolean> {
    const moved = this.#sql(
      `UPDATE runs SET state = coalesce(?, state),
         node = CASE ? WHEN 'keep' THEN node ELSE ? END,
         offered_at = coalesce(?, offered_at), accepted_at = coalesce(?, accepted_at),
         finished_at = coalesce(?, finished_at), outcome_json = coalesce(?, outcome_json),
         cancel = coalesce(?, cancel), refusals_json = coalesce(?, refusals_json)
       WHERE id = ? AND state IN (SELECT value FROM json_each(?))`,
    ).run(
      change.state ?? null,
      change.node === undefined ? "keep" : "set",
      change.node ?? null,
      change.offeredAt ?? null,
      change.acceptedAt ?? null,
      change.finishedAt ?? null,
      change.outcome === undefined ? null : JSON.stringify(change.outcome),
      change.cancel ?? null,
      change.refusals === undefined ? null : JSON.stringify(change.refusals),
      id,
      JSON.stringify(from),
    );
    return Number(moved.changes) === 1;
  }

  async artifact(digest: string): Promise<DagArtifact | undefined> {
    const row = this.#sql("SELECT artifact_json FROM artifacts WHERE digest = ?").get(digest);
    // Checked by the gateway before it was stored.
    return typeof row?.artifact_json === "string"
      ? (JSON.parse(row.artifact_json) as DagArtifact)
      : undefined;
  }

  async runsByState(): Promise<{ [state: string]: number }> {
    const rows = this.#sql("SELECT state, count(*) AS runs FROM runs GROUP BY state").all();
    return Object.fromEntries(rows.map((row) => [String(row.state), Number(row.runs)]));
  }

  async attempts(run: string, task?: string): Promise<AttemptRow[]> {
    return this.#sql(
      `SELECT task, attempt, is_finished, is_final, time, outcome_json, facts_json, progress,
         progress_text, result_json IS NOT NULL AS has_result
       FROM attempts WHERE run_no = (SELECT no FROM runs WHERE id = ?1)
       AND (?2 IS NULL OR task = ?2) ORDER BY task, attempt`,
    )
      .all(run, task ?? null)
      .map(attemptOf);
  }

  async resultText(run: string, task: string, attempt: number): Promise<string | undefined> {
    const row = this.#sql(
      `SELECT result_json FROM attempts
       WHERE run_no = (SELECT no FROM runs WHERE id = ?) AND task = ? AND attempt = ?`,
    ).get(run, task, attempt);
    return typeof row?.result_json === "string" ? row.result_json : undefined;
  }

  async logChunks(run: string, after: number, limit: number): Promise<LogChunk[]> {
    return this.#sql(
      `SELECT first_seq, last_seq, text FROM log_chunks
       WHERE run_no = (SELECT no FROM runs WHERE id = ?) AND last_seq > ?
       ORDER BY last_seq LIMIT ?`,
    )
      .all(run, after, limit)
      .map(chunkOf);
  }

  async objects(run: string, kind?: ObjectRow["kind"]): Promise<ObjectRow[]> {
    return this.#sql(
      `SELECT * FROM objects WHERE run_no = (SELECT no FROM runs WHERE id = ?1)
       AND (?2 IS NULL OR kind = ?2) ORDER BY task, attempt, name`,
    )
      .all(run, kind ?? null)
      .map(objectOf);
  }

  async unverifiedObjects(): Promise<ObjectRow[]> {
    return this.#sql("SELECT * FROM objects WHERE state = 'whole' ORDER BY id").all().map(objectOf);
  }

  async setObjectState(id: number, state: ObjectRow["state"]): Promise<void> {
    this.#sql("UPDATE objects SET state = ? WHERE id = ?").run(state, id);
  }

  async *objectParts(id: number): AsyncGenerator<Uint8Array> {
    // One part at a time: an object may be larger than what should be held in memory.
    let after = -1;
    while (true) {
      const row = this.#sql(
        "SELECT part, data FROM object_parts WHERE object_id = ? AND part > ? ORDER BY part LIMIT 1",
      ).get(id, after);
      if (row === undefined || !(row.data instanceof Uint8Array)) return;
      after = Number(row.part);
      yield row.data;
    }
  }

  async recordsStored(): Promise<number> {
    const row = this.#sql("SELECT value FROM counters WHERE name = 'records'").get();
    return typeof row?.value === "number" ? row.value : 0;
  }

  async close(): Promise<void> {
    this.#grouped.flush();
    this.#database.close();
  }

  readonly #grouped = new GroupedWrites((work) => this.#transaction(work));

  #sql(text: string): StatementSync {
    const known = this.#prepared.get(text);
    if (known !== undefined) return known;
    const statement = this.#database.prepare(text);
    this.#prepared.set(text, statement);
    return statement;
  }

  #transaction<T>(work: () => T): T {
    return inTransaction(this.#database, work);
  }
}
