// What a run looks like at the master, asked for through its HTTP API only, and brought into a form
// in which two runs of one DAG can be compared.
import type { ResultView } from "../../master/results/results.ts";
import type { TaskView } from "../../master/runs/runs.ts";
import type { LogLine } from "../../protocol/log.ts";
import type { RunOutcome } from "../../protocol/outcome.ts";
import { call, get, type MasterAddress } from "../client/api.ts";

export interface ArtifactSeen {
  task: string;
  name: string;
  attempt: number;
  sizeBytes: number;
  sha256: string;
  state: string;
}

export interface RunSeen {
  id: string;
  outcome: RunOutcome | undefined;
  tasks: TaskView[];
  /** JSON text of each task's or item's result; the digest of a large one. */
  results: Map<string, string>;
  artifacts: ArtifactSeen[];
  lines: LogLine[];
  /** `TASK#ATTEMPT STREAM` to its bytes. */
  streams: Map<string, string>;
}

/** Throws with the master's words when it does not answer. */
export async function observe(to: MasterAddress, id: string): Promise<RunSeen> {
  const run = await ask<{ outcome?: RunOutcome; tasks: TaskView[] }>(to, `/api/runs/${id}`);
  const { results } = await ask<{ results: ResultView[] }>(to, `/api/runs/${id}/results`);
  const { artifacts } = await ask<{ artifacts: ArtifactSeen[] }>(to, `/api/runs/${id}/artifacts`);
  const log = await call(to, `/api/runs/${id}/log`);
  if (!log.ok) throw new Error(log.message);
  const lines = (await log.value.text())
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as LogLine); // as the master's OpenAPI document says
  return {
    id,
    outcome: run.outcome,
    tasks: run.tasks,
    results: textsOf(results),
    artifacts,
    lines,
    streams: streamsOf(lines),
  };
}

export async function ask<T>(to: MasterAddress, path: string): Promise<T> {
  const answer = await get<T>(to, path);
  if (!answer.ok) throw new Error(`${path}: ${answer.message}`);
  return answer.value;
}

function textsOf(results: readonly ResultView[], into = new Map<string, string>()) {
  for (const { task, value, large, items } of results) {
    if (items !== undefined) textsOf(items, into);
    else into.set(task, large === undefined ? (JSON.stringify(value) ?? "none") : large.sha256);
  }
  return into;
}

function streamsOf(lines: readonly LogLine[]): Map<string, string> {
  const pieces = new Map<string, string[]>();
  for (const { task, attempt, stream, text, base64, cut, open, fields } of lines) {
    if (task === undefined || stream === undefined) continue;
    const key = `${task}#${attempt} ${stream}`;
    const known = pieces.get(key) ?? [];
    pieces.set(key, known);
    known.push(
      base64 === undefined ? (text ?? "") : Buffer.from(base64, "base64").toString("latin1"),
    );
    if (fields !== undefined) known.push(` ${JSON.stringify(fields)}`);
    if (cut === undefined && open === undefined) known.push("\n");
  }
  return new Map([...pieces].map(([key, texts]) => [key, texts.join("")]));
}
