// What a task process is, as seen by those who start one: its spec, its story and its end.
// Shared by the client of the launcher and by the plain client; no code, so importing it is free.
import type { Facts } from "../../../protocol/outcome.ts";

export type RlimitName = "as" | "cpu" | "core" | "fsize" | "nofile" | "nproc" | "stack";

export interface ProcessSpec {
  /** `argv[0]` is looked up in `env.PATH` when it has no slash. */
  argv: readonly string[];
  /** The complete environment. Its encoded form is cached by identity: never change it afterwards. */
  env: Readonly<Record<string, string>>;
  cwd: string;
  /** From the start to TERM; after `graceMs` more the whole tree is killed. */
  timeoutMs?: number;
  graceMs: number;
  /** stdout and stderr together; beyond it the process is stopped and output is dropped. */
  outputLimitBytes?: number;
  /** Bytes, seconds (`cpu`) or counts, as setrlimit(2) has them; Infinity is no limit. */
  rlimits?: readonly { name: RlimitName; soft: number; hard: number }[];
  /** Path of a Unix socket that is connected before exec and becomes fd 3. */
  channel?: string;
  /** 8 bytes: each stream is split where they stand, followed by a u32 LE id. */
  mark?: Uint8Array;
}

export interface ProcessListener {
  /** `startedAt`: Unix milliseconds with a fraction, taken just before exec. */
  started(info: { pid: number; startedAt: number }): void;
  /** `bytes` are valid only during the call: copy to keep. */
  output(stream: "stdout" | "stderr", bytes: Buffer): void;
  mark(stream: "stdout" | "stderr", id: number): void;
  /** Exactly once, last: the pipes are drained and the whole tree is gone. */
  ended(end: ProcessEnd): void;
}

export type ProcessEnd =
  /** Either `exitCode` or `signal`. `stopped` says that we ended it, and why. */
  | {
      kind: "exited";
      exitCode?: number;
      signal?: string;
      stopped?: "timeout" | "output" | "killed";
      facts: Facts;
    }
  | { kind: "spawn-failed"; errno: string; detail: string }
  /** Whoever watched over it died. */
  | { kind: "lost" };

export interface LauncherProcess {
  /** TERM to the group, then KILL of the whole tree after `graceMs`; 0 kills at once. */
  kill(graceMs: number): void;
}

/** What the launcher's client and the plain client have in common. */
export interface ProcessStarter {
  /** Never throws for what the world does: failures arrive as `ended`, never before it returns. */
  spawn(spec: ProcessSpec, listener: ProcessListener): LauncherProcess;
  /** Sends what was collected in this turn of the event loop now. */
  flush(): void;
  /** Kills everything and waits until it is gone. */
  close(): Promise<void>;
}
