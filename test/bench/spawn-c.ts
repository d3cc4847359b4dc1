// Compiles and runs spawn-c.c, the floor for starting processes.
import { execFile, execFileSync } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

const exec = promisify(execFile);

/** Gives the path of the program. */
export function compileBaseline(folder: string): string {
  const path = join(folder, "spawn-c");
  execFileSync("cc", ["-O2", "-o", path, join(import.meta.dirname, "spawn-c.c")]);
  return path;
}

/** Milliseconds a task. */
export async function spawnInC(
  path: string,
  { count, inFlight }: { count: number; inFlight: number },
): Promise<number> {
  const env = { PATH: "/usr/bin:/bin" };
  const { stdout } = await exec(path, [String(count), String(inFlight), "/bin/true"], { env });
  return Number(JSON.parse(stdout).msPerTask);
}
