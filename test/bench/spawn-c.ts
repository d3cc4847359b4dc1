// Compiles and runs spawn-c.c, the floor for starting processes.
import { execFile, execFileSync } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

const exec = promisify(execFile);

/** Gives the path of the program. */
export function compileBaseline(folder: string): string {
  return compile(folder, "spawn-c");
}

/** A program of this folder, as it is built into `folder`. */
export function compile(folder: string, name: string): string {
  const path = join(folder, name);
  execFileSync("cc", ["-O2", "-o", path, join(import.meta.dirname, `${name}.c`)]);
  return path;
}

/** Milliseconds a task. `argv`: /bin/true unless told. */
export async function spawnInC(
  path: string,
  of: { count: number; inFlight: number; argv?: readonly string[] },
): Promise<number> {
  const { count, inFlight, argv = ["/bin/true"] } = of;
  const env = { PATH: "/usr/bin:/bin" };
  const { stdout } = await exec(path, [String(count), String(inFlight), ...argv], { env });
  return Number(JSON.parse(stdout).msPerTask);
}
