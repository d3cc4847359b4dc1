// What a task process is, as seen by those who start one: its spec, its story and its end.
// Shared by the client of the launcher and by the plain client; no code, so importing it is free.
import type { Facts } from "../../../protocol/outcome.ts";

export type RlimitName = "as" | "cpu" | "core" | "fsize" | "nofile" | "nproc" | "stack";

/** Of a whole process tree, enforced by the kernel where the launcher has cgroups. */
export interface ResourceLimits {
  memoryBytes?: number;
  /** Time on the processor, user and system together. */
  cpuTimeMs?: number;
  /** Cores at once, with fractions. */
  cpus?: number;
  pids?: number;
}

/** What is taken from the process before its exec. */
export interface Confinement {
  /** Without capabilities and with no_new_privs; as this user where we are root. */
  uid?: number;
  gid?: number;
  /** The launcher's filter of system calls, and names that pass in addition. */
  seccomp?: { allow: readonly string[] };
  /** Landlock: nothing outside of these folders can be written. */
  writable?: readonly string[];
}

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
  /** fd 3 is a socket whose other end comes and goes in frames: `channel` and `send`. */
  relay?: boolean;
  /** The channel becomes fds 0 and 1 instead of 3; only stderr is captured. */
  isChannelStdio?: boolean;
  /** Path of the file that becomes fd 0; absent: /dev/null. */
  stdin?: string;
  /** In a cgroup of its own: exact limits, measured usage, and an end that nothing escapes. */
  cgroup?: boolean;
  limits?: ResourceLimits;
  confine?: Confinement;
  /** It is the first process of a new PID namespace: with it everything in it ends. */
  newPidNamespace?: boolean;
  /** `sample` is told every 100 ms while it runs. */
  sampled?: boolean;
  /** It outlives the agent, for the next one to take over; only where the starter is a holder. */
  held?: { tag: string; note: HoldNote };
  /** 8 bytes: each stream is split where they stand, followed by a u32 LE id. */
  mark?: Uint8Array;
}

/** Two numbers that a holder keeps beside what is not logged yet, and gives to the next agent. */
export type HoldNote = readonly [number, number];

/** Bytes of stdout and of stderr since the start. */
export type StreamBytes = readonly [number, number];

/** What is said of a process that is held; nothing of it does anything for one that is not. */
export interface HeldHandle {
  /** So much of its output is safe; `note` is told to the next agent with the rest. */
  logged(upTo: StreamBytes, note: HoldNote): void;
  /** Its end is safe. */
  forget(): void;
  /** From now on it ends with the agent. */
  letGo(): void;
}

/** A process that a holder has kept while there was no agent. */
export interface HeldProcess {
  id: number;
  pid: number;
  /** Unix milliseconds. */
  startedAt: number;
  tag: string;
  /** What is kept of its output, and the note that came with the first byte of it. */
  from: StreamBytes;
  to: StreamBytes;
  note: HoldNote;
  hasEnded: boolean;
}

export interface ProcessListener {
  /** `startedAt`: Unix milliseconds with a fraction, taken just before exec. */
  started(info: { pid: number; startedAt: number }): void;
  /** `bytes` are valid only during the call: copy to keep. */
  output(stream: "stdout" | "stderr", bytes: Buffer): void;
  mark(stream: "stdout" | "stderr", id: number): void;
  /** Bytes of a relayed channel, valid only during the call; `undefined`: it was closed. */
  channel?(bytes: Buffer | undefined): void;
  sample?(usage: Usage): void;
  /** Exactly once, last: the pipes are drained and the whole tree is gone. */
  ended(end: ProcessEnd): void;
}

export type ProcessEnd =
  /** Either `exitCode` or `signal`. `stopped` says that we ended it, and why. */
  | {
      kind: "exited";
      exitCode?: number;
      signal?: string;
      stopped?: "timeout" | "output" | "killed" | LimitName;
      facts: Facts;
    }
  | { kind: "spawn-failed"; errno: string; detail: string }
  /** Whoever watched over it died. */
  | { kind: "lost" };

/** Of a process that is to follow another one. */
export interface FollowListener extends ProcessListener {
  /** Instead of `ended`, and without `started`: it has not begun, and will not. */
  returned(): void;
}

/** How a process follows another one. */
export interface Following {
  /** Only when that one ended by itself, with code 0. Else whatever becomes of it. */
  isCondition: boolean;
  /** And when there is no file at this path then. */
  absent?: string;
  /** Without a condition: it is given back when the one that runs before it takes longer. */
  patienceMs?: number;
}

/** A limit of `ResourceLimits` that was exceeded. */
export type LimitName = "memory" | "pids" | "cpu-time";

/** Measured of a process tree since its start or since it was armed. Unknown is absent. */
export interface Usage {
  /** Unix milliseconds. */
  at: number;
  cpuUserMs?: number;
  cpuSystemMs?: number;
  memoryBytes?: number;
  peakMemoryBytes?: number;
  pids?: number;
  peakPids?: number;
  /** Bytes that went through read and write system calls, or to and from devices. */
  readBytes?: number;
  writtenBytes?: number;
  /** A limit that was hit, also when the process lives on. */
  exceeded?: LimitName;
}

/** A warmed process gets its task: limits from now on, and usage counted from now on. */
export interface Arming {
  timeoutMs?: number;
  graceMs: number;
  outputLimitBytes?: number;
  limits?: ResourceLimits;
  rlimits?: readonly { name: RlimitName; soft: number; hard: number }[];
}

export interface LauncherProcess {
  /** TERM to the group, then KILL of the whole tree after `graceMs`; 0 kills at once. */
  kill(graceMs: number): void;
  /** Into the relayed channel. */
  send?(bytes: Uint8Array): void;
  /** Resolves when the limits hold; with the name of an error when they do not: then it is killed. */
  arm?(arming: Arming): Promise<string | undefined>;
  /** Asks for the figures of this moment; `undefined` when it has ended or nothing is measured. */
  usage?(): Promise<Usage | undefined>;
  /** Of a process that is held. */
  held?: HeldHandle;
  /**
   * Starts the next process when this one has ended, without asking in between. Absent where it
   * cannot be.
   */
  follow?(spec: ProcessSpec, listener: FollowListener, how: Following): LauncherProcess;
}

/** Of a file system in memory; `uid` and `gid` own its root (0 when absent). */
export interface TmpfsSize {
  bytes: number;
  inodes: number;
  uid?: number;
  gid?: number;
}

/** Each resolves with the name of an error ("EPERM"), or with nothing when it is done. */
export interface TmpfsMounter {
  mountTmpfs(path: string, size: TmpfsSize): Promise<string | undefined>;
  /** Of the owner nothing changes. */
  resizeTmpfs(path: string, size: Pick<TmpfsSize, "bytes" | "inodes">): Promise<string | undefined>;
  unmountTmpfs(path: string): Promise<string | undefined>;
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
