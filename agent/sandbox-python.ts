// Which Python sandboxes use: one that their users can reach, which an interpreter below somebody's
// home, or the shim of a version manager there, is not.
import { execFile } from "node:child_process";
import { constants, statSync } from "node:fs";
import { dirname } from "node:path";
import { promisify } from "node:util";

export interface SandboxPython {
  /** The interpreter itself, no shim. */
  path: string;
  /** Where its library lies. */
  prefix: string;
}

const run = promisify(execFile);
const probeLimitMs = 10_000;
const system: SandboxPython = { path: "/usr/bin/python3", prefix: "/usr" };

/** Of these programs the first that everybody can reach, else the first that runs at all. */
export async function findSandboxPython(
  programs: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<SandboxPython> {
  let first: SandboxPython | undefined;
  for (const program of new Set([...programs, system.path])) {
    const found = await ask(program, env);
    if (found === undefined) continue;
    if (isReachable(found.path) && isReachable(found.prefix)) return found;
    first ??= found;
  }
  // Without any the start of a Python task says what is missing.
  return first ?? system;
}

async function ask(program: string, env: NodeJS.ProcessEnv): Promise<SandboxPython | undefined> {
  const code = "import sys; print(sys.executable); print(sys.base_prefix)";
  try {
    const { stdout } = await run(program, ["-c", code], { env, timeout: probeLimitMs });
    const [path = "", prefix = ""] = stdout.trim().split("\n");
    return path.startsWith("/") ? { path, prefix } : undefined;
  } catch {
    return undefined; // not there, or no Python: the next one may be
  }
}

/** Whether users other than the owner can come to it. */
export function isReachable(path: string): boolean {
  for (let part = path; part !== dirname(part); part = dirname(part)) {
    const mode = statSync(part, { throwIfNoEntry: false })?.mode;
    if (mode === undefined || (mode & constants.S_IXOTH) === 0) return false;
  }
  return true;
}
