// `edgedag runs` and `edgedag runs RUN`: lists runs, shows one with its tasks, cancels one.
import { exitCodes } from "../../protocol/exit-codes.ts";
import type { Io } from "../io.ts";
import { type ClientArgs, get, post, printFailure } from "./api.ts";
import { outcomeText, runPath, type ShownRun, standing } from "./shown.ts";
import { ago, duration, table } from "./table.ts";

export interface RunsArgs extends ClientArgs {
  state?: string;
  node?: string;
  limit?: number;
}

export async function runs(args: RunsArgs, io: Io): Promise<number> {
  const query = new URLSearchParams();
  if (args.state !== undefined) query.set("state", args.state);
  if (args.node !== undefined) query.set("node", args.node);
  if (args.limit !== undefined) query.set("limit", String(args.limit));
  const answer = await get<{ runs: ShownRun[] }>(args, `/api/runs?${query}`);
  if (!answer.ok) return printFailure(io, answer);
  if (args.json) {
    io.stdout.write(`${JSON.stringify(answer.value.runs)}\n`);
    return exitCodes.ok;
  }
  const now = Date.now();
  const rows = answer.value.runs.map((run) => [
    run.id,
    run.dag,
    run.node ?? "any",
    standing(run),
    `${run.progress.finished}/${run.progress.total}`,
    ago(run.createdAt, now),
    duration(run.summary?.wallMs),
  ]);
  const head = ["RUN", "DAG", "NODE", "STATE", "TASKS", "CREATED", "TOOK"];
  io.stdout.write(rows.length === 0 ? "no runs\n" : table(head, rows));
  return exitCodes.ok;
}

export async function showRun(args: ClientArgs & { run: string }, io: Io): Promise<number> {
  const answer = await get<ShownRun>(args, runPath(args.run));
  if (!answer.ok) return printFailure(io, answer);
  const run = answer.value;
  if (args.json) {
    io.stdout.write(`${JSON.stringify(run)}\n`);
    return exitCodes.ok;
  }
  const { progress } = run;
  const lines = [
    `run    ${run.id}`,
    `dag    ${run.dag}`,
    `node   ${run.node ?? "any"}${run.nodeState === undefined ? "" : ` (${run.nodeState})`}`,
    `state  ${standing(run)}, ${progress.finished} of ${progress.total} tasks finished`,
    ...(run.waitsBecause === undefined ? [] : [`waits  ${run.waitsBecause}`]),
    ...run.refusals.map(({ node, code, detail }) => `refused by ${node}: ${code} ${detail}`),
  ];
  io.stdout.write(`${lines.join("\n")}\n\n`);
  const rows = (run.tasks ?? []).map((task) => [
    task.task,
    task.outcome === undefined ? task.state : outcomeText(task.outcome),
    String(task.attempts.length),
    duration(task.facts?.wallMs),
    task.progress === undefined || task.state === "finished"
      ? ""
      : `${Math.round(task.progress.fraction * 100)}% ${task.progress.text ?? ""}`,
  ]);
  io.stdout.write(table(["TASK", "STATE", "ATTEMPTS", "TOOK", "PROGRESS"], rows));
  return exitCodes.ok;
}

export async function cancel(args: ClientArgs & { run: string }, io: Io): Promise<number> {
  const answer = await post<{ result: string }>(args, runPath(args.run, "/cancel"));
  if (!answer.ok) return printFailure(io, answer);
  const { result } = answer.value;
  io.stdout.write(
    args.json
      ? `${JSON.stringify(answer.value)}\n`
      : result === "cancelled"
        ? `run ${args.run} is cancelled; it had not begun\n`
        : `run ${args.run} will be cancelled by its node\n`,
  );
  return exitCodes.ok;
}
