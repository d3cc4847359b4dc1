// Runs a document with `edgedag run --json` in a box and reads the summary it prints.
import type { Json } from "../../protocol/json.ts";
import type { RunSummary } from "../../protocol/link.ts";
import type { Outcome, RunOutcome } from "../../protocol/outcome.ts";
import type { Box, CliOptions } from "./box.ts";
import type { CliEnd } from "./cli.ts";

export interface JsonSummary {
  run: string;
  outcome: RunOutcome;
  tasks: { [task: string]: { outcome: Outcome; attempts: number; wallMs?: number; result?: Json } };
  summary: RunSummary;
  workDir: string;
  logDir: string;
  artifacts: { task: string; name: string; path: string; sizeBytes: number }[];
}

export async function runJson(
  box: Box,
  document: string,
  { args = [], ...options }: CliOptions & { args?: readonly string[] } = {},
): Promise<CliEnd & { summary: JsonSummary }> {
  const dag = await box.write("dag/dag.yaml", document);
  const ended = await box.run(["run", dag, "--state", box.state, "--json", ...args], options);
  if (ended.stdout === "") throw new Error(`no summary: ${JSON.stringify(ended)}`);
  return { ...ended, summary: JSON.parse(ended.stdout) as JsonSummary };
}

/** Why a task failed; undefined when it did not. */
export function failureOf(summary: JsonSummary, task: string) {
  const outcome = summary.tasks[task]?.outcome;
  return outcome?.kind === "failed" ? outcome.failure : undefined;
}
