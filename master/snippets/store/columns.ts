// How snippets and their ends lie in tables, the same for every database: what is asked for is a column,
// what only is read back is JSON text, output and files stay bytes. The one place of casts: the text was
// written here, from values that were checked when they came in.
import type { CancelledBy } from "../../../protocol/outcome.ts";
import type { Snippet, SnippetEnd, SnippetFile, SnippetRecord, SnippetState } from "../snippet.ts";
import type { NewSnippet, QueueItem, SnippetSummary } from "./store.ts";

/** As `state` is stored. */
export const stateNumbers = { queued: 0, running: 1, finished: 2 } as const;

/** A row as a database gives it, its columns named as the fields here. */
export type Row = Record<string, unknown>;

export interface SnippetColumns {
  id: string;
  owner: string;
  language: string;
  priority: number;
  createdAt: number;
  callback: string | null;
  key: string | null;
  digest: string | null;
  /** JSON of what is never asked for and never changes. */
  body: string;
}

export interface EndColumns {
  outcome: string;
  facts: string;
  refused: string;
  node: string | null;
  result: string | null;
  stdout: Uint8Array;
  stderr: Uint8Array;
  files: readonly SnippetFile[];
  /** As the facts have it; null: they have none. */
  startedAt: number | null;
  finishedAt: number;
}

export function snippetColumns({ snippet, idempotency }: NewSnippet): SnippetColumns {
  const { id, owner, language, priority, createdAt, callback, task, files, levels } = snippet;
  return {
    id,
    owner,
    language,
    priority,
    createdAt,
    callback: callback ?? null,
    key: idempotency?.key ?? null,
    digest: idempotency?.digest ?? null,
    body: JSON.stringify({ task, files, levels }),
  };
}

export function endColumns(end: SnippetEnd): EndColumns {
  return {
    outcome: JSON.stringify(end.outcome),
    facts: JSON.stringify(end.facts),
    refused: JSON.stringify(end.refused),
    node: end.node ?? null,
    result: end.result === undefined ? null : JSON.stringify(end.result),
    stdout: end.stdout,
    stderr: end.stderr,
    files: end.files,
    startedAt: end.facts.startedAt ?? null,
    finishedAt: end.finishedAt,
  };
}

/** Of a snippet that was cancelled before anything ran. */
export function cancelledEnd(by: CancelledBy, finishedAt: number): SnippetEnd {
  return {
    outcome: { kind: "cancelled", by },
    facts: {},
    stdout: new Uint8Array(),
    stderr: new Uint8Array(),
    files: [],
    refused: [],
    finishedAt,
  };
}

export function itemOf(row: Row): QueueItem {
  return {
    id: text(row.id),
    language: text(row.language),
    priority: number(row.priority),
    owner: text(row.owner),
    createdAt: number(row.createdAt),
  };
}

export function snippetOf(row: Row): Snippet {
  const body = parsed<Pick<Snippet, "task" | "files" | "levels">>(row.body);
  return {
    ...itemOf(row),
    task: body.task,
    files: body.files,
    levels: body.levels,
    ...(typeof row.callback === "string" ? { callback: row.callback } : {}),
  };
}

export function recordOf(row: Row, files: readonly Row[]): SnippetRecord {
  return {
    snippet: snippetOf(row),
    state: stateOf(row),
    attempt: number(row.attempt),
    ...(typeof row.startedAt === "number" ? { startedAt: row.startedAt } : {}),
    ...(typeof row.outcome === "string" ? { end: endOf(row, files) } : {}),
    ...(typeof row.cancel === "string" ? { cancel: row.cancel as CancelledBy } : {}),
  };
}

export function summaryOf(row: Row): SnippetSummary {
  return {
    ...itemOf(row),
    state: stateOf(row),
    attempt: number(row.attempt),
    ...(typeof row.startedAt === "number" ? { startedAt: row.startedAt } : {}),
    ...(typeof row.finishedAt === "number" ? { finishedAt: row.finishedAt } : {}),
    ...(typeof row.outcome === "string"
      ? { outcome: parsed<SnippetEnd["outcome"]>(row.outcome) }
      : {}),
    ...(typeof row.facts === "string" ? { facts: parsed<SnippetEnd["facts"]>(row.facts) } : {}),
    ...(typeof row.node === "string" ? { node: row.node } : {}),
  };
}

function endOf(row: Row, files: readonly Row[]): SnippetEnd {
  return {
    outcome: parsed<SnippetEnd["outcome"]>(row.outcome),
    facts: parsed<SnippetEnd["facts"]>(row.facts),
    stdout: bytes(row.stdout),
    stderr: bytes(row.stderr),
    ...(typeof row.result === "string"
      ? { result: parsed<NonNullable<SnippetEnd["result"]>>(row.result) }
      : {}),
    files: files.map((file) => ({
      name: text(file.name),
      sizeBytes: number(file.sizeBytes),
      content: bytes(file.content),
    })),
    refused: parsed<SnippetEnd["refused"]>(row.refused),
    ...(typeof row.node === "string" ? { node: row.node } : {}),
    finishedAt: number(row.finishedAt),
  };
}

function stateOf(row: Row): SnippetState {
  if (row.state === stateNumbers.queued) return "queued";
  return row.state === stateNumbers.running ? "running" : "finished";
}

const text = (value: unknown): string => (typeof value === "string" ? value : "");
const number = (value: unknown): number => (typeof value === "number" ? value : 0);
const bytes = (value: unknown): Uint8Array =>
  value instanceof Uint8Array ? value : new Uint8Array();

function parsed<T>(value: unknown): T {
  return JSON.parse(text(value)) as T;
}
