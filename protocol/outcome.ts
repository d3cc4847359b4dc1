// How an attempt, a task and a run end: outcomes, failures, whose fault they are, and the facts
// measured beside them. Pure data; everybody reads it, only `agent/exec` and `agent/core` make it.

/** Isolation levels, weakest first; docs/isolation.md says what each denies. */
export const sandboxLevels = ["none", "subprocess", "seccomp", "docker", "gvisor"] as const;
export type SandboxLevel = (typeof sandboxLevels)[number];

/** Whose fault a failure is. Retries, counters and colours follow this, never a message text. */
export type Fault = "task" | "limit" | "platform" | "agent";

/** Why an attempt failed. Each member carries the facts that only it has. */
export type Failure =
  /** The program ended by itself with a code other than 0. */
  | { reason: "exit-code"; code: number }
  /** The program was ended by a signal that the agent did not send. */
  | { reason: "signal"; signal: string }
  /** A function threw, was not found, or returned what is not JSON; or a result file is not JSON. */
  | {
      reason: "bad-result";
      detail: string;
      trace?: string;
      /** Where in the task's code, both from 1: of a syntax error. */
      line?: number;
      column?: number;
    }
  | { reason: "timeout"; limitMs: number }
  | { reason: "cpu-time"; limitMs: number }
  | { reason: "out-of-memory"; limitBytes?: number }
  | { reason: "output-limit"; limitBytes: number }
  | { reason: "pids-limit"; limit: number }
  | { reason: "disk-limit"; limitBytes: number }
  /** The program could not be started. */
  | { reason: "spawn"; errno: string; detail: string }
  | { reason: "sandbox"; level: SandboxLevel; detail: string }
  | { reason: "backend"; backend: string; detail: string }
  /** The agent, the launcher or the worker died while the attempt was in flight. */
  | { reason: "lost"; detail?: string }
  /** A bug of ours, with the story that led to it. */
  | { reason: "internal"; detail: string; story?: string[] };

export type FailureReason = Failure["reason"];

export const faultOf = {
  "exit-code": "task",
  signal: "task",
  "bad-result": "task",
  timeout: "limit",
  "cpu-time": "limit",
  "out-of-memory": "limit",
  "output-limit": "limit",
  "pids-limit": "limit",
  "disk-limit": "limit",
  spawn: "platform",
  sandbox: "platform",
  backend: "platform",
  lost: "platform",
  internal: "agent",
} as const satisfies Record<FailureReason, Fault>;

export type CancelledBy = "user" | "master" | "policy" | "drain";

/** How a task (or one attempt at it) ended. */
export type Outcome =
  | { kind: "succeeded" }
  | { kind: "failed"; failure: Failure }
  /** Never started: the edge from `because` could not be satisfied, or `when` was false. */
  | { kind: "skipped"; because: string }
  | { kind: "cancelled"; by: CancelledBy };

/** How a whole run ended. `failed` lists the ids of the failed tasks. */
export type RunOutcome =
  | { kind: "succeeded" }
  | { kind: "failed"; failed: string[] }
  | { kind: "cancelled"; by: CancelledBy };

/**
 * What was measured of one attempt. A fact that is not known is absent, never null.
 * Times are milliseconds; `startedAt` is Unix time in milliseconds with fractions.
 */
export interface Facts {
  startedAt?: number;
  wallMs?: number;
  cpuUserMs?: number;
  cpuSystemMs?: number;
  /** Of the largest single process. */
  maxRssBytes?: number;
  /** Of the whole tree, at its highest: memory as the kernel or engine accounts it. */
  peakMemoryBytes?: number;
  peakPids?: number;
  /** Of storage, by the whole tree. */
  readBytes?: number;
  writtenBytes?: number;
  exitCode?: number;
  signal?: string;
  stdoutBytes?: number;
  stderrBytes?: number;
  /** Bytes of output that were not kept because of a limit. */
  droppedBytes?: number;
  /** A grandchild still held the pipes, or still lived, when the task's own process ended. */
  leaked?: boolean;
  /** It took SIGKILL. */
  forced?: boolean;
  isolation?: SandboxLevel;
  pid?: number;
  /** The step that the outcome tells of, where it is not the task's own program. */
  phase?: "compile";
}
