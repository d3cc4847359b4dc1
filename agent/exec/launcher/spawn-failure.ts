// Why a process could not be started, as a sentence for people. Pure.
import { getSystemErrorName } from "node:util";
import type { ProcessEnd, ProcessSpec } from "./process.ts";

type SpawnFailure = Extract<ProcessEnd, { kind: "spawn-failed" }>;

/** `why` is the launcher's own sentence, where it has one. */
export function spawnFailure(
  spec: ProcessSpec,
  { stage, errno, why }: { stage: number; errno: number; why: string },
): SpawnFailure {
  const name = errnoName(errno);
  const text = sentence(spec, stage, name);
  return { kind: "spawn-failed", errno: name, detail: why === "" ? text : `${text}: ${why}` };
}

/** Of a number that a launcher told; also of one that is none. */
export function errnoName(errno: number): string {
  return errno > 0 && errno < 4096 ? getSystemErrorName(-errno) : `E${errno}`;
}

/** The stages are those of the launcher's `AT_` constants. */
function sentence(spec: ProcessSpec, stage: number, errno: string): string {
  const program = spec.argv[0] ?? "";
  switch (stage) {
    case 2:
      return errno === "ENOENT"
        ? `the working folder ${spec.cwd} does not exist`
        : `the working folder ${spec.cwd} cannot be entered (${errno})`;
    case 3:
      return `the program "${program}" was not found in PATH (${spec.env.PATH ?? "not set"})`;
    case 4:
      if (errno === "ENOENT") return `the program ${program} does not exist`;
      if (errno === "EACCES") return `the program ${program} is not executable`;
      if (errno === "ENOEXEC") {
        return `the program ${program} is not in a format that this machine runs (a script needs a #! line)`;
      }
      return `the program ${program} could not be executed (${errno})`;
    case 5:
      return `the program ${program} exists, but its interpreter (#! line or loader) does not`;
    case 6:
      return `the worker channel ${spec.channel ?? ""} could not be connected (${errno})`;
    case 7:
      return `a resource limit could not be set (${errno})`;
    case 8:
      return `the launcher did not understand the request (${errno})`;
    case 9:
      return `the process could not be confined (${errno})`;
    case 10:
      return `the process could not be put into a cgroup of its own (${errno})`;
    case 11:
      return `the file ${spec.stdin ?? ""} could not be opened as its stdin (${errno})`;
    default:
      return `the machine has no resources for another process (${errno})`;
  }
}
