// From how a run in a box ended to its outcome: which limit was exceeded, with its figure, before
// what the program itself made of that. Pure: everything that it looks at is handed in.
import type { Failure, Outcome } from "../../../../protocol/outcome.ts";
import type { LimitName } from "../../launcher/process.ts";
import type { BoxEnd } from "../box.ts";
import type { SandboxSpec } from "../sandbox-spec.ts";
import type { Ran, Stopped } from "./ran.ts";

export interface Story {
  spec: SandboxSpec;
  ran: Ran;
  /** Told by the box, of everything in it. */
  exceeded: LimitName | undefined;
  /** The box is over, without having been destroyed. */
  boxEnd: BoxEnd | undefined;
  /** The folder had no room left. */
  isFull: boolean;
  /** Somebody asked for its end. */
  isStopped: boolean;
}

/** A shell's own, when the program that it ran was ended by SIGXFSZ. */
const shellExitOfFileSize = 128 + 25;

export function outcomeOf(story: Story): Outcome {
  const failure = limitFailure(story);
  if (failure !== undefined) return { kind: "failed", failure };
  const { ran, isStopped } = story;
  if (ran.failure === undefined && !wasEnded(ran)) return { kind: "succeeded" };
  if (isStopped) return { kind: "cancelled", by: "user" };
  return { kind: "failed", failure: ownFailure(story) };
}

/** A task that went over a limit has failed, whatever it says itself. */
function limitFailure({ spec, ran, exceeded, boxEnd, isFull }: Story): Failure | undefined {
  const first = ran.stopped === "killed" ? undefined : ran.stopped;
  const limit = first ?? exceeded ?? boxEnd?.exceeded;
  if (limit !== undefined) return failureOfLimit(limit, spec, ran.timeoutMs);
  if (ran.failure === undefined) return undefined;
  const { fileSizeBytes, diskBytes } = spec.limits;
  const { signal, exitCode } = ran.facts;
  const isFileTooLarge = signal === "SIGXFSZ" || exitCode === shellExitOfFileSize;
  if (isFileTooLarge && fileSizeBytes !== undefined) {
    return { reason: "disk-limit", limitBytes: fileSizeBytes };
  }
  return isFull ? { reason: "disk-limit", limitBytes: diskBytes } : undefined;
}

function failureOfLimit(
  limit: Exclude<Stopped, "killed">,
  { limits, outputLimitBytes }: SandboxSpec,
  timeoutMs: number,
): Failure {
  switch (limit) {
    case "timeout":
      return { reason: "timeout", limitMs: timeoutMs };
    case "cpu-time":
      return { reason: "cpu-time", limitMs: limits.cpuTimeMs ?? 0 };
    case "memory":
      return { reason: "out-of-memory", limitBytes: limits.memoryBytes };
    case "output":
      return { reason: "output-limit", limitBytes: outputLimitBytes };
    case "pids":
      return { reason: "pids-limit", limit: limits.pids };
  }
}

/** It was killed, and had not succeeded before. */
function wasEnded(ran: Ran): boolean {
  return ran.stopped === "killed" && ran.facts.exitCode !== 0;
}

function ownFailure({ spec, ran, boxEnd }: Story): Failure {
  if (ran.isLost && boxEnd !== undefined && boxEnd.isLauncherLost !== true) {
    return { reason: "sandbox", level: spec.kind.level, detail: boxEnd.detail };
  }
  return ran.failure ?? { reason: "signal", signal: ran.facts.signal ?? "SIGKILL" };
}
