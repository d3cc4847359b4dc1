// Turns rows of SQLite into the storage's types. The columns were written by this master from values
// that were checked when they arrived, so JSON text is read back as what it was: the one place of casts.
import type {
  AttemptRow,
  LogChunk,
  NodeEvent,
  NodeRow,
  ObjectRow,
  RunRow,
  RunState,
} from "../storage.ts";

/** A row as `node:sqlite` gives it. */
export type Row = Record<string, unknown>;

const text = (value: unknown): string => (typeof value === "string" ? value : "");
const number = (value: unknown): number => (typeof value === "number" ? value : 0);

function parsed<T>(value: unknown): T {
  return JSON.parse(text(value)) as T;
}

export function nodeOf(row: Row): NodeRow {
  return {
    id: text(row.id),
    firstSeenAt: number(row.first_seen_at),
    lastSeenAt: number(row.last_seen_at),
    boot: text(row.boot),
    agentVersion: text(row.agent_version),
    capabilities: parsed<NodeRow["capabilities"]>(row.capabilities_json),
    labels: parsed<NodeRow["labels"]>(row.labels_json),
    wantsRuns: row.wants_runs === 1,
    acked: number(row.acked),
    missingRecords: number(row.missing_records),
  };
}

export function nodeEventOf(row: Row): NodeEvent {
  return { time: number(row.time), event: text(row.event), detail: text(row.detail) };
}

export function runOf(row: Row): RunRow {
  const run: RunRow = {
    id: text(row.id),
    dag: text(row.dag),
    digest: text(row.digest),
    state: text(row.state) as RunState,
    source: row.source === "gateway" ? "gateway" : "node",
    any: row.is_any === 1,
    labels: parsed<RunRow["labels"]>(row.labels_json),
    tasks: number(row.tasks),
    finishedTasks: number(row.finished_tasks),
    failedTasks: number(row.failed_tasks),
    createdAt: number(row.created_at),
    refusals: parsed<RunRow["refusals"]>(row.refusals_json),
  };
  if (typeof row.node === "string") run.node = row.node;
  if (typeof row.params_json === "string") run.params = JSON.parse(row.params_json);
  if (typeof row.offered_at === "number") run.offeredAt = row.offered_at;
  if (typeof row.accepted_at === "number") run.acceptedAt = row.accepted_at;
  if (typeof row.started_at === "number") run.startedAt = row.started_at;
  if (typeof row.finished_at === "number") run.finishedAt = row.finished_at;
  if (typeof row.outcome_json === "string") run.outcome = JSON.parse(row.outcome_json);
  if (typeof row.summary_json === "string") run.summary = JSON.parse(row.summary_json);
  if (typeof row.cancel === "string") run.cancel = row.cancel as NonNullable<RunRow["cancel"]>;
  return run;
}

export function attemptOf(row: Row): AttemptRow {
  const attempt: AttemptRow = {
    task: text(row.task),
    attempt: number(row.attempt),
    state: row.is_finished === 1 ? "finished" : "running",
    isFinal: row.is_final === 1,
    time: number(row.time),
    hasResult: row.has_result === 1,
  };
  if (typeof row.outcome_json === "string") attempt.outcome = JSON.parse(row.outcome_json);
  if (typeof row.facts_json === "string") attempt.facts = JSON.parse(row.facts_json);
  if (typeof row.progress === "number") {
    attempt.progress = { fraction: row.progress };
    if (typeof row.progress_text === "string") attempt.progress.text = row.progress_text;
  }
  return attempt;
}

export function chunkOf(row: Row): LogChunk {
  return { firstSeq: number(row.first_seq), lastSeq: number(row.last_seq), text: text(row.text) };
}

export function objectOf(row: Row): ObjectRow {
  return {
    id: number(row.id),
    kind: row.kind === "result" ? "result" : "artifact",
    task: text(row.task),
    attempt: number(row.attempt),
    name: text(row.name),
    parts: number(row.parts),
    partsStored: number(row.parts_stored),
    sizeBytes: number(row.size_bytes),
    sha256: text(row.sha256),
    state: text(row.state) as ObjectRow["state"],
  };
}
