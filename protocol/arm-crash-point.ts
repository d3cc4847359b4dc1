// Arms one crash point in this thread: at its n-th passage the process writes down that it was there
// and kills itself with SIGKILL. Loaded only where EDGEDAG_CHAOS_POINT is set, and does nothing unless
// a living `edgedag chaos` is this process's own parent and has left its permission in the folder that
// EDGEDAG_CHAOS_DIR names: a stray variable kills no device.
import { appendFileSync, lstatSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { isCrashPoint, onCrashPoint } from "./crash-points.ts";

type Env = Readonly<Record<string, string | undefined>>;

/** The file in the chaos folder that holds the pid of the `edgedag chaos` that made it. */
export const permissionFile = "permission";
/** Lines of all that happened, in the order in which it did: see cli/chaos/evidence.ts. */
export const evidenceFile = "evidence";

/** Returns why nothing was armed. */
export function armCrashPoint(env: Env): string | undefined {
  const [, name = "", digits = ""] =
    /^([\w.-]+):([1-9]\d*)$/.exec(env.EDGEDAG_CHAOS_POINT ?? "") ?? [];
  if (!isCrashPoint(name)) return "EDGEDAG_CHAOS_POINT is ignored: it names no point";
  const folder = env.EDGEDAG_CHAOS_DIR ?? "";
  const refusal = whyNot(folder);
  if (refusal !== undefined) return `EDGEDAG_CHAOS_POINT is ignored: ${refusal}`;
  let left = Number(digits);
  onCrashPoint((point) => {
    if (point !== name) return;
    left -= 1;
    if (left !== 0) return;
    // Chaos may be over, or gone, in the meantime.
    if (whyNot(folder) !== undefined) return;
    appendFileSync(join(folder, evidenceFile), `point ${process.pid} ${name}:${digits}\n`);
    process.kill(process.pid, "SIGKILL");
    // The signal may be delivered through another thread first; nothing more may happen here.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  });
  return undefined;
}

/** Why the folder gives this process no permission to kill itself. */
function whyNot(folder: string): string | undefined {
  if (!folder.startsWith("/")) return "EDGEDAG_CHAOS_DIR names no folder";
  const path = join(folder, permissionFile);
  try {
    const { uid, mode } = lstatSync(path);
    if (uid !== process.geteuid?.()) return `${path} belongs to somebody else`;
    if ((mode & 0o7777) !== 0o600) return `${path} can be written by others`;
    if (readFileSync(path, "utf8") !== `${process.ppid}\n`) return `${path} is not its parent's`;
    return undefined;
  } catch (error) {
    return `there is no permission: ${error instanceof Error ? error.message : String(error)}`;
  }
}
