// A function in a box: one call of the runner that waits there, or of one that is started now.
import type { Json } from "../../../../protocol/json.ts";
import { escapeRefs } from "../../workers/values.ts";
import type { SandboxRun } from "../sandbox-spec.ts";
import { OneCall } from "./one-call.ts";
import { type RunContext, type Running, rlimitsOf } from "./ran.ts";

type FunctionRun = Extract<SandboxRun, { kind: "function" }>;

/**
 * The runner that fits; starts one where none waits, or where the task has a stdin, which a waiting
 * one cannot get any more. Before the box is armed: starting is ours.
 */
export async function takeRunner(
  { box, stdinPath }: Pick<RunContext, "box" | "stdinPath">,
  run: FunctionRun,
  waiting: OneCall | undefined,
): Promise<OneCall> {
  if (waiting?.runtime === run.runtime && stdinPath === undefined) return waiting;
  waiting?.discard();
  return await OneCall.warm(box, run.runtime, { stdin: stdinPath });
}

export function runFunction(
  { box, spec, env, secretEnv, listener }: RunContext,
  run: FunctionRun,
  runner: OneCall,
): Running {
  const { task, attempt, runId, timeoutMs, graceMs, outputLimitBytes } = spec;
  const source =
    run.file === undefined
      ? { code: run.code ?? "" }
      : { file: `${box.inside.work}/${run.file.replace(/^(?:\.\/+)+/, "")}` };
  return runner.call(
    {
      task,
      attempt,
      run: runId,
      ...source,
      // Empty: the runner looks for `main`, or for the only function that there is.
      function: run.function ?? "",
      ...(run.args === undefined ? {} : { args: escapeAll(run.args) }),
      ...(isObject(spec.inputs) ? { inputs: escapeAll(spec.inputs) } : {}),
      env: secretEnv === undefined ? env : { ...env, ...secretEnv },
      cwd: box.inside.work,
      timeoutMs,
      graceMs,
      outputLimitBytes,
      ...rlimitsOf(spec),
    },
    listener,
  );
}

/** What looks like a reference of ours in a user's data is data. */
function escapeAll(values: { [name: string]: Json }): { [name: string]: Json } {
  const escaped: { [name: string]: Json } = {};
  for (const [name, value] of Object.entries(values)) escaped[name] = escapeRefs(value);
  return escaped;
}

function isObject(value: Json): value is { [name: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
