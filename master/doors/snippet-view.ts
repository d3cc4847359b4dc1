// A snippet as the queue's and the library's door show it: JSON with names in snake_case, times in
// Unix milliseconds, sizes in bytes. What is not known is absent.
import { describeFailure } from "../../protocol/describe.ts";
import { type Failure, type FailureReason, faultOf } from "../../protocol/outcome.ts";
import type { ErrorClass } from "../api/route.ts";
import type { SnippetEnd, SnippetRecord } from "../snippets/snippet.ts";
import type { SnippetSummary } from "../snippets/store/store.ts";

/** Of the classes that clients know, the one for each reason. */
export const classOf = {
  "exit-code": "Execution",
  signal: "Execution",
  "bad-result": "Execution",
  timeout: "Timeout",
  "cpu-time": "Timeout",
  "out-of-memory": "Resource",
  "output-limit": "Resource",
  "pids-limit": "Resource",
  "disk-limit": "Resource",
  spawn: "Sandbox",
  sandbox: "Sandbox",
  backend: "Execution",
  lost: "Execution",
  internal: "Execution",
} as const satisfies Record<FailureReason, ErrorClass>;

export interface SnippetView {
  id: string;
  state: "queued" | "running" | "succeeded" | "failed" | "cancelled";
  language: string;
  owner?: string;
  priority: number;
  attempt: number;
  created_at: number;
  started_at?: number;
  finished_at?: number;
  queue_ms?: number;
  exit_code?: number;
  signal?: string;
  stdout?: string;
  stderr?: string;
  result?: unknown;
  files?: { name: string; size: number }[];
  refused_files?: { path: string; why: string }[];
  error?: {
    class: ErrorClass;
    reason: FailureReason;
    fault: string;
    message: string;
    trace?: string;
  };
  usage?: { [name: string]: number };
  isolation?: string;
  node?: string;
  cancel_requested?: true;
}

export function viewOf({ snippet, state, attempt, startedAt, end, cancel }: SnippetRecord) {
  const { id, language, owner, priority, createdAt } = snippet;
  const summary = { id, owner, language, priority, state, attempt, createdAt };
  const view: SnippetView = summaryView({
    ...summary,
    ...(startedAt === undefined ? {} : { startedAt }),
    ...(end === undefined ? {} : endSummary(end)),
  });
  if (cancel !== undefined && end === undefined) view.cancel_requested = true;
  if (end === undefined) return view;
  view.stdout = textOf(end.stdout);
  view.stderr = textOf(end.stderr);
  if (end.outcome.kind === "succeeded") view.result = end.result ?? null;
  view.files = end.files.map(({ name, sizeBytes }) => ({ name, size: sizeBytes }));
  if (end.refused.length > 0) view.refused_files = end.refused;
  return view;
}

function endSummary({ finishedAt, outcome, facts, node }: SnippetEnd) {
  return { finishedAt, outcome, facts, ...(node === undefined ? {} : { node }) };
}

/** What a list shows: without output, result and files. */
export function summaryView(summary: SnippetSummary): SnippetView {
  const { id, owner, language, priority, state, attempt, createdAt } = summary;
  const { startedAt, finishedAt, outcome, facts = {}, node } = summary;
  const view: SnippetView = {
    id,
    state: stateOf(state, outcome),
    language,
    priority,
    attempt,
    created_at: createdAt,
  };
  if (owner !== "") view.owner = owner;
  if (startedAt !== undefined) {
    view.started_at = Math.round(startedAt);
    view.queue_ms = Math.max(0, Math.round((startedAt - createdAt) * 1000) / 1000);
  }
  if (finishedAt !== undefined) view.finished_at = Math.round(finishedAt);
  if (outcome?.kind === "failed") view.error = errorOf(outcome.failure);
  const exitCode = exitCodeOf(outcome, facts.exitCode);
  if (exitCode !== undefined) view.exit_code = exitCode;
  if (facts.signal !== undefined) view.signal = facts.signal;
  if (facts.isolation !== undefined) view.isolation = facts.isolation;
  if (node !== undefined) view.node = node;
  const usage = usageOf(facts);
  if (Object.keys(usage).length > 0) view.usage = usage;
  return view;
}

function stateOf(
  state: SnippetSummary["state"],
  outcome: SnippetSummary["outcome"],
): SnippetView["state"] {
  if (state !== "finished") return state;
  if (outcome?.kind === "succeeded") return "succeeded";
  return outcome?.kind === "cancelled" ? "cancelled" : "failed";
}

/** Of a function that returned: 0; of one that threw: 1, as its interpreter would have it. */
export function exitCodeOf(
  outcome: SnippetSummary["outcome"],
  exitCode: number | undefined,
): number | undefined {
  if (exitCode !== undefined) return exitCode;
  if (outcome?.kind === "succeeded") return 0;
  if (outcome?.kind !== "failed") return undefined;
  const { failure } = outcome;
  if (failure.reason === "exit-code") return failure.code;
  return failure.reason === "bad-result" ? 1 : undefined;
}

export function errorOf(failure: Failure): NonNullable<SnippetView["error"]> {
  const { reason } = failure;
  return {
    class: classOf[reason],
    reason,
    fault: faultOf[reason],
    message: describeFailure(failure),
    ...("trace" in failure && failure.trace !== undefined ? { trace: failure.trace } : {}),
  };
}

/** Snake case, because these are fields of the API. */
export function usageOf(facts: NonNullable<SnippetSummary["facts"]>): { [name: string]: number } {
  const { wallMs, cpuUserMs, cpuSystemMs, peakMemoryBytes, maxRssBytes, peakPids } = facts;
  const { readBytes, writtenBytes, stdoutBytes, stderrBytes, droppedBytes } = facts;
  const all = {
    wall_ms: wallMs,
    cpu_user_ms: cpuUserMs,
    cpu_system_ms: cpuSystemMs,
    peak_memory_bytes: peakMemoryBytes ?? maxRssBytes,
    peak_pids: peakPids,
    read_bytes: readBytes,
    written_bytes: writtenBytes,
    stdout_bytes: stdoutBytes,
    stderr_bytes: stderrBytes,
    dropped_bytes: droppedBytes,
  };
  const known: { [name: string]: number } = {};
  for (const [name, value] of Object.entries(all)) if (value !== undefined) known[name] = value;
  return known;
}

export function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
}
