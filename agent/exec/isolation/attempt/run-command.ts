// A program in a box, from its start to its end: the simplest kind of run. It looks at nothing that
// the program leaves behind.
import type { LauncherProcess, ProcessSpec } from "../../launcher/process.ts";
import { type RunContext, type Running, ranOfEnd, rlimitsOf } from "./ran.ts";

export interface CommandOptions {
  /** Absent: the task's own. */
  timeoutMs?: number;
  /** Everything that it writes goes there. */
  onlyStream?: "stderr";
  /** Bytes of the output limit that were used up before. */
  usedOutputBytes?: number;
}

export function runCommand(
  { box, spec, env, secretEnv, stdinPath, listener }: RunContext,
  argv: readonly string[],
  options: CommandOptions = {},
): Running {
  const { promise: ran, resolve } = Promise.withResolvers<Awaited<Running["ran"]>>();
  const timeoutMs = options.timeoutMs ?? spec.timeoutMs;
  const processSpec: ProcessSpec = {
    argv,
    env: secretEnv === undefined ? env : { ...env, ...secretEnv },
    cwd: box.inside.work,
    timeoutMs,
    graceMs: spec.graceMs,
    outputLimitBytes: Math.max(1, spec.outputLimitBytes - (options.usedOutputBytes ?? 0)),
    ...(stdinPath === undefined ? {} : { stdin: stdinPath }),
    ...rlimitsOf(spec),
  };
  const process: LauncherProcess = box.spawn(processSpec, {
    started: ({ pid, startedAt }) => listener.started({ at: startedAt, pid }),
    output: (stream, bytes) => listener.output(options.onlyStream ?? stream, bytes),
    mark: () => {},
    ended: (end) => resolve(ranOfEnd(end, timeoutMs)),
  });
  return { ran, stop: (graceMs) => process.kill(graceMs) };
}
