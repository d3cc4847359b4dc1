// How something that ran in a box ended, before it is known what that means: the common shape of
// commands, calls and compilers. Pure data; made by the run-*.ts files, judged by `cause.ts`.
import type { Json } from "../../../../protocol/json.ts";
import type { Facts, Failure } from "../../../../protocol/outcome.ts";
import type { LimitName, ProcessEnd, ProcessSpec } from "../../launcher/process.ts";
import type { Box } from "../box.ts";
import type { SandboxSpec } from "../sandbox-spec.ts";

/** By whom something was stopped that did not end by itself. */
export type Stopped = "timeout" | "output" | "killed" | LimitName;

export interface Ran {
  /** Absent: it went well, as far as it knows itself. */
  failure?: Failure;
  stopped?: Stopped;
  /** Of `stopped: "timeout"`. */
  timeoutMs: number;
  /** The launcher that watched over it is gone: with the box, or with the agent's launcher. */
  isLost: boolean;
  facts: Facts;
  result?: Json;
  /** Path, as the inside sees it, of a result that was too large for the channel. Not to be believed. */
  resultFile?: string;
}

/** Something that runs in a box. */
export interface Running {
  readonly ran: Promise<Ran>;
  /** Polite end, then a forced one. */
  stop(graceMs: number): void;
}

export interface RunListener {
  started(info: { at: number; pid?: number }): void;
  output(stream: "stdout" | "stderr", bytes: Buffer): void;
}

/** What all kinds of runs need. */
export interface RunContext {
  box: Box;
  spec: SandboxSpec;
  /** Complete, of a program that is started inside. */
  env: Readonly<Record<string, string>>;
  /** As the inside sees it. */
  stdinPath: string | undefined;
  /** Over `env`, of the task itself. */
  secretEnv?: Readonly<Record<string, string>> | undefined;
  listener: RunListener;
}

/** Limits of single processes; those of the whole box are the box's. */
export function rlimitsOf({ limits }: SandboxSpec): Pick<ProcessSpec, "rlimits"> {
  const rlimits: NonNullable<ProcessSpec["rlimits"]>[number][] = [];
  const { openFiles, fileSizeBytes } = limits;
  if (openFiles !== undefined) rlimits.push({ name: "nofile", soft: openFiles, hard: openFiles });
  if (fileSizeBytes !== undefined) {
    rlimits.push({ name: "fsize", soft: fileSizeBytes, hard: fileSizeBytes });
  }
  return rlimits.length === 0 ? {} : { rlimits };
}

export function ranOfEnd(end: ProcessEnd, timeoutMs: number): Ran {
  if (end.kind === "lost") {
    const detail = "the launcher ended while the task ran";
    return { failure: { reason: "lost", detail }, timeoutMs, isLost: true, facts: {} };
  }
  if (end.kind === "spawn-failed") {
    const { errno, detail } = end;
    return { failure: { reason: "spawn", errno, detail }, timeoutMs, isLost: false, facts: {} };
  }
  const ran: Ran = { timeoutMs, isLost: false, facts: { ...end.facts } };
  if (end.stopped !== undefined) ran.stopped = end.stopped;
  if (end.signal !== undefined) {
    ran.facts.signal = end.signal;
    ran.failure = { reason: "signal", signal: end.signal };
  } else {
    const code = end.exitCode ?? -1;
    ran.facts.exitCode = code;
    if (code !== 0) ran.failure = { reason: "exit-code", code };
  }
  return ran;
}
