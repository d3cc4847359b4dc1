// What this node can do, probed rather than guessed: it goes into `hello`.
import { execFile } from "node:child_process";
import { availableParallelism, release, totalmem, type } from "node:os";
import { promisify } from "node:util";
import type { Capabilities } from "../protocol/link.ts";
import type { SandboxLevel } from "../protocol/outcome.ts";

/** Isolation levels that this agent carries out. */
export const heldLevels: readonly SandboxLevel[] = ["none"];

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

export async function probeCapabilities(options: {
  python: string;
  env: NodeJS.ProcessEnv;
  hasLauncher: boolean;
}): Promise<Capabilities> {
  const python = await pythonVersion(options.python, options.env);
  return {
    architecture: process.arch,
    os: `${type()} ${release()}`,
    cores: availableParallelism(),
    memoryBytes: hostMemoryBytes(),
    levels: [...heldLevels],
    languages: {
      ...(python === undefined ? {} : { python }),
      node: process.versions.node,
      shell: "sh",
    },
    launcher: options.hasLauncher,
  };
}
