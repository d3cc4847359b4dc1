// What this node can do, probed rather than guessed: it goes into `hello`.
import { execFile } from "node:child_process";
import { availableParallelism, release, totalmem, type } from "node:os";
import { promisify } from "node:util";
import type { Capabilities } from "../protocol/link.ts";
import type { LogLevel } from "../protocol/log.ts";
import type { LazyIsolation } from "./lazy-isolation.ts";

/** What the host or the container has. Without a bound libuv reports 2^64, or 0. */
export function hostMemoryBytes(): number {
  const limit = process.constrainedMemory();
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}

const run = promisify(execFile);
const probeLimitMs = 10_000;

/** The version that `python3 --version` prints, or `undefined` where it does not run. */
export async function pythonVersion(
  python: string,
  env: NodeJS.ProcessEnv,
): Promise<string | undefined> {
  try {
    const { stdout } = await run(python, ["--version"], { env, timeout: probeLimitMs });
    return /^Python (\S+)/.exec(stdout)?.[1];
  } catch {
    // Not there, or not a Python: either way python tasks cannot run, which the absence says.
    return undefined;
  }
}

export interface ProbeOptions {
  python: string;
  env: Readonly<Record<string, string>>;
  hasLauncher: boolean;
  gpus: number;
  /** Absent: there is none without a launcher. */
  isolation: LazyIsolation | undefined;
  say(level: LogLevel, text: string): void;
}

export async function probeCapabilities(options: ProbeOptions): Promise<Capabilities> {
  const [python, sandboxes] = await Promise.all([
    pythonVersion(options.python, options.env),
    probeSandboxes(options),
  ]);
  return {
    architecture: process.arch,
    os: `${type()} ${release()}`,
    cores: availableParallelism(),
    memoryBytes: hostMemoryBytes(),
    gpus: options.gpus,
    levels: sandboxes.levels,
    languages: {
      ...sandboxes.languages,
      ...(python === undefined ? {} : { python }),
      node: process.versions.node,
      shell: "sh",
    },
    launcher: options.hasLauncher,
  };
}

async function probeSandboxes({
  isolation,
  say,
}: ProbeOptions): Promise<Pick<Capabilities, "levels" | "languages">> {
  const opened = await isolation?.open();
  if (opened?.ok !== true) {
    for (const { message, remedy } of opened?.diagnostics ?? [])
      say("warn", `${message}. ${remedy}`);
    return { levels: ["none"], languages: {} };
  }
  const reports = await opened.value.checkAll();
  for (const { level, holds, detail } of reports) {
    if (!holds) say("info", `isolation level ${level} is not held here: ${detail}`);
  }
  const languages: { [name: string]: string } = {};
  for (const [name, { version }] of opened.value.languages) languages[name] = version;
  return { levels: opened.value.held(), languages };
}
