// What an agent keeps outside of its state folder: sockets below the runtime folder and large
// values in shared memory. Both must be found again, or removed, after a crash.
import { hash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readlinkSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Result } from "../protocol/diagnostic.ts";
import { isOwnFolder } from "./own-folder.ts";

const sharedMemory = "/dev/shm";
/** Characters of the longest socket name below the runtime folder. */
const longestSocketName = 24;

/**
 * How the names of an agent's folders outside begin. The next agent on the same state finds the
 * same; a one-off agent's tell its process instead, so that anybody can see when they are nobody's.
 */
export function outsidePrefix(stateDir: string, isOneOff: boolean): string {
  return `edgedag-${outsideTag(stateDir, isOneOff)}-`;
}

/** What tells this agent's things outside from those of others. */
export function outsideTag(stateDir: string, isOneOff: boolean): string {
  return isOneOff
    ? `p${process.pid}.${pidNamespace()}`
    : hash("sha256", resolve(stateDir)).slice(0, 8);
}

/**
 * A new folder for sockets; what an earlier agent of the same state left goes. `isKept`: it goes, but
 * the folder has its old name, which tasks that outlived that agent know.
 */
export function makeRuntimeDir(
  parent: string,
  prefix: string,
  { isKept = false } = {},
): Result<string> {
  // The folder's name and the longest socket's; sun_path holds 107 bytes and a zero.
  const roomBytes = 107 - Buffer.byteLength(`/${prefix}XXXXXX/`) - longestSocketName;
  if (Buffer.byteLength(parent) > roomBytes) {
    return refuse(`${parent} is too long for sockets: at most ${roomBytes} bytes are possible`);
  }
  try {
    const kept = isKept
      ? readdirSync(parent).find(
          (name) => name.startsWith(prefix) && isOwnFolder(join(parent, name)),
        )
      : undefined;
    if (kept === undefined) {
      removeStale(parent, prefix);
      return { ok: true, value: mkdtempSync(join(parent, prefix)) };
    }
    const folder = join(parent, kept);
    removeStale(parent, prefix, new Set([folder]));
    for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true });
    return { ok: true, value: folder };
  } catch (error) {
    return refuse(`no folder can be made in ${parent}: ${String(error)}`);
  }
}

/** Removes shared memory of runs that are over, and of one-off agents that are gone. */
export function removeSharedMemory(prefix: string, openRuns: readonly string[]): void {
  if (!existsSync(sharedMemory)) return;
  const wanted = openRuns.map((run) => join(sharedMemory, `${prefix}${run}`));
  removeStale(sharedMemory, prefix, new Set(wanted));
}

function removeStale(
  parent: string,
  prefix: string,
  wanted: ReadonlySet<string> = new Set(),
): void {
  for (const name of readdirSync(parent)) {
    const isOurs = name.startsWith(prefix) && !wanted.has(join(parent, name));
    // Anybody may have made a folder of such a name, and could lead us elsewhere while we remove it.
    if ((isOurs || isOfDeadProcess(name)) && isOwnFolder(join(parent, name))) {
      rmSync(join(parent, name), { recursive: true, force: true });
    }
  }
}

function isOfDeadProcess(name: string): boolean {
  return isOfDeadOwner(/^edgedag-(p\d+\.\d+)-/.exec(name)?.[1] ?? "");
}

/** Whether `tag` is that of a one-off agent that is gone. */
export function isOfDeadOwner(tag: string): boolean {
  const [, digits, namespace] = /^p(\d+)\.(\d+)$/.exec(tag) ?? [];
  const pid = Number(digits ?? 0);
  // A process of another container that shares the folder cannot be seen from here.
  if (pid === 0 || pid === process.pid || namespace !== pidNamespace()) return false;
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    // EPERM: it lives and belongs to somebody else.
    return error instanceof Error && "code" in error && error.code === "ESRCH";
  }
}

function pidNamespace(): string {
  return /\d+/.exec(readlinkSync("/proc/self/ns/pid"))?.[0] ?? "0";
}

function refuse(message: string): Result<never> {
  const remedy = "Set EDGEDAG_RUNTIME to a short path of a folder that can be written, as /run.";
  const diagnostic = { code: "E_RUNTIME_DIR", path: "EDGEDAG_RUNTIME", message, remedy };
  return { ok: false, diagnostics: [diagnostic] };
}
