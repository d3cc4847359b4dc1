// The parts of the master's answers that the commands show; the OpenAPI document has all of it.
import type { NodeView } from "../../master/nodes/nodes.ts";
import type { ResultView } from "../../master/results/results.ts";
import type { TaskView } from "../../master/runs/runs.ts";
import type { ObjectRow, RunRow } from "../../master/storage/storage.ts";
import { faultOf, type Outcome, type RunOutcome } from "../../protocol/outcome.ts";

export type ShownNode = NodeView;
export type ShownTask = TaskView;
export type ShownResult = ResultView;
export type ShownArtifact = Pick<
  ObjectRow,
  "task" | "attempt" | "name" | "sizeBytes" | "sha256" | "state"
>;
export interface ShownRun extends Omit<RunRow, "tasks" | "finishedTasks" | "failedTasks"> {
  progress: { finished: number; failed: number; total: number; running: number };
  nodeState?: "alive" | "late" | "lost";
  waitsBecause?: string;
  tasks?: ShownTask[];
}

export function runPath(run: string, rest = ""): string {
  return `/api/runs/${encodeURIComponent(run)}${rest}`;
}

/** How it stands in a word or two: the outcome once there is one. */
export function standing(run: ShownRun): string {
  const { outcome } = run;
  if (outcome !== undefined) return runOutcomeText(outcome);
  const isStale = run.state === "running" && run.nodeState === "lost";
  return isStale ? "running (node lost)" : run.state;
}

function runOutcomeText(outcome: RunOutcome): string {
  return outcome.kind === "cancelled" ? `cancelled by ${outcome.by}` : outcome.kind;
}

export function outcomeText(outcome: Outcome | undefined): string {
  switch (outcome?.kind) {
    case undefined:
      return "";
    case "succeeded":
      return "succeeded";
    case "failed": {
      const { failure } = outcome;
      return `failed: ${failure.reason} (${faultOf[failure.reason]})`;
    }
    case "skipped":
      return `skipped: ${outcome.because}`;
    case "cancelled":
      return `cancelled by ${outcome.by}`;
  }
}
