// Runs one program to its end for the end-to-end tests: output captured, bounded in time, and with
// an environment of its own, because tap's NODE_OPTIONS would slow and change every child.
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");
export const edgedag = `${root}/bin/edgedag`;

export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface CommandOptions {
  cwd?: string;
  env?: { [name: string]: string };
  /** A net, not a measure: the program is killed and the test sees the signal. */
  timeoutMs?: number;
}

/** Never throws for what the program does; only when it cannot be started. */
export function run(
  program: string,
  args: readonly string[],
  { cwd = root, env = {}, timeoutMs = 90_000 }: CommandOptions = {},
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd,
      env: { ...baseEnvironment(), ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const chunks = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
    child.stdout.on("data", (chunk: Buffer) => chunks.stdout.push(chunk));
    child.stderr.on("data", (chunk: Buffer) => chunks.stderr.push(chunk));
    const net = setTimeout(() => child.kill("SIGKILL"), timeoutMs);
    child.on("error", (error) => {
      clearTimeout(net);
      reject(error);
    });
    child.on("close", (code, signal) => {
      clearTimeout(net);
      resolve({
        code,
        signal,
        stdout: Buffer.concat(chunks.stdout).toString("utf8"),
        stderr: Buffer.concat(chunks.stderr).toString("utf8"),
      });
    });
  });
}

function baseEnvironment(): { [name: string]: string } {
  const names = ["PATH", "HOME", "LANG", "TMPDIR", "USER"];
  return Object.fromEntries(names.map((name) => [name, process.env[name] ?? ""]));
}
