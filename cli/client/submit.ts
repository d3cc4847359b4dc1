// `edgedag submit DAG --node ID | --any`: gives a DAG to the master's gateway, and waits on request.
import { setTimeout as delay } from "node:timers/promises";
import type { DagArtifact } from "../../protocol/artifact.ts";
import { exitCodes } from "../../protocol/exit-codes.ts";
import type { Json } from "../../protocol/json.ts";
import type { Io } from "../io.ts";
import { type ClientArgs, get, post, printFailure } from "./api.ts";
import { runPath, type ShownRun, standing } from "./shown.ts";
import { plain } from "./table.ts";

const firstPollMs = 100;
const slowestPollMs = 2_000;

export interface SubmitArgs extends ClientArgs {
  artifact: DagArtifact;
  /** Exactly one of `node` and `any`. */
  node?: string;
  any?: boolean;
  params?: { [name: string]: Json };
  labels?: { [name: string]: string };
  /** Wait for the end of the run; the exit code then tells its outcome. */
  wait?: boolean;
}

export async function submit(args: SubmitArgs, io: Io): Promise<number> {
  const { artifact, node, any, params, labels } = args;
  if ((node === undefined) === (any !== true)) {
    io.stderr.write("edgedag: say either --node ID or --any\n    edgedag nodes lists the nodes.\n");
    return exitCodes.usage;
  }
  const answer = await post<{ run: string }>(args, "/api/runs", {
    artifact,
    ...(node === undefined ? { any: true } : { node }),
    ...(params === undefined ? {} : { params }),
    ...(labels === undefined ? {} : { labels }),
  });
  if (!answer.ok) return printFailure(io, answer);
  const { run } = answer.value;
  if (args.wait !== true) {
    io.stdout.write(args.json ? `${JSON.stringify(answer.value)}\n` : `${run}\n`);
    return exitCodes.ok;
  }
  if (!args.json) io.stdout.write(`${run}\n`);
  return waitFor(args, run, io);
}

async function waitFor(args: ClientArgs, id: string, io: Io): Promise<number> {
  let pollMs = firstPollMs;
  let said = "";
  while (true) {
    const answer = await get<ShownRun>(args, runPath(id));
    if (!answer.ok) return printFailure(io, answer);
    const run = answer.value;
    const { progress } = run;
    const why = run.waitsBecause === undefined ? "" : `: ${run.waitsBecause}`;
    const say = `${standing(run)}, ${progress.finished} of ${progress.total} tasks${why}`;
    if (say !== said) io.stderr.write(`${say}\n`);
    said = say;
    const code = exitCodeOf(run);
    if (run.state === "refused") {
      for (const { node, code, detail } of run.refusals) {
        io.stderr.write(`edgedag: refused by ${node}: ${code} ${plain(detail)}\n`);
      }
    }
    if (code !== undefined) {
      if (args.json) io.stdout.write(`${JSON.stringify(run)}\n`);
      return code;
    }
    await delay(pollMs);
    pollMs = Math.min(pollMs * 1.5, slowestPollMs);
  }
}

/** Undefined while the run goes on. */
function exitCodeOf(run: ShownRun): number | undefined {
  switch (run.outcome?.kind) {
    case "succeeded":
      return exitCodes.ok;
    case "failed":
      return exitCodes.runFailed;
    case "cancelled":
      return exitCodes.cancelled;
    case undefined:
      if (run.state === "refused") return exitCodes.badDocument;
      return run.state === "lost" ? exitCodes.unfinished : undefined;
  }
}
