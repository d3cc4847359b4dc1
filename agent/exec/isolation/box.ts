// A sandbox as those see it who run something in it: where its folders are, how a process is
// started inside, what it has used, and how it is thrown away. One file per level makes them.
import type { SandboxLevel } from "../../../protocol/outcome.ts";
import type {
  Arming,
  LauncherProcess,
  LimitName,
  ProcessListener,
  ProcessSpec,
  Usage,
} from "../launcher/process.ts";

export type BoxLevel = SandboxLevel;

/** A folder of the host that is to be seen inside. */
export interface Mount {
  source: string;
  target: string;
  isWritable: boolean;
}

/** What decides whether a waiting box fits a task. Two boxes of equal kind are interchangeable. */
export interface BoxKind {
  level: BoxLevel;
  /** A language of the registry ("python", "node", "c", ...) or "shell": which image and tools. */
  language: string;
  network: boolean;
  mounts: readonly Mount[];
  /** Names of system calls that are allowed in addition. */
  syscalls: readonly string[];
  /** Made for one task: none is kept waiting for another. */
  isOnce?: true;
}

export interface BoxLimits {
  memoryBytes: number;
  cpuTimeMs?: number;
  cpus?: number;
  pids: number;
  diskBytes: number;
  openFiles?: number;
  fileSizeBytes?: number;
}

/** Folders of a box on the host: a file system of their own, of limited size, where that can be. */
export interface BoxFolder {
  /** Working folder of the task. */
  readonly work: string;
  /** Beside it: stdin, inputs, the result file, large values. Writable by the task too. */
  readonly io: string;
  /** The user to whom both belong, and as whom the task runs; absent: the agent's own. */
  readonly uid: number | undefined;
  /** Resizes it, where it has a size. */
  setLimit(diskBytes: number): Promise<void>;
  /** Whether it is full (bytes or inodes): then a failure of the task is a disk-limit. */
  isFull(): Promise<boolean>;
  /** Bytes that are in use now. */
  usedBytes(): Promise<number>;
  /** Only when every process of the box is dead. Gone, or empty for the next one. */
  dispose(): Promise<void>;
}

/** Why a box is no more. `exceeded`: a limit of the whole box was hit. */
export interface BoxEnd {
  exceeded?: LimitName;
  /** The agent's own launcher died, and the box with it: nobody inside is at fault. */
  isLauncherLost?: boolean;
  /** A sentence; for people. */
  detail: string;
}

export interface Box {
  readonly kind: BoxKind;
  readonly folder: BoxFolder;
  /** The folders as processes inside see them. */
  readonly inside: { work: string; io: string };
  /** Starts a runner of ours inside: what the pool warms. Environment without the task's own. */
  worker(runtime: "python" | "node"): { argv: string[]; env: Record<string, string> };
  /** Environment that a program inside needs from the box (PATH, HOME, LANG ...). */
  readonly env: Readonly<Record<string, string>>;
  /**
   * Starts a process inside. `cwd` and paths in `spec` are those of the inside. The box sees to
   * user, confinement and namespaces; the caller to argv, env, time, output, rlimits and marks.
   */
  spawn(spec: ProcessSpec, listener: ProcessListener): LauncherProcess;
  /** The task comes: limits and counting begin now. Resolves when they hold. */
  arm(limits: BoxLimits, arming: Pick<Arming, "graceMs">): Promise<void>;
  /** Since `arm`, of everything in the box, as the host measured it. */
  usage(): Promise<Usage | undefined>;
  /** Told every 100 ms from `arm` on. */
  onSample: ((usage: Usage) => void) | undefined;
  /** Called once, when it ends without having been destroyed. */
  onEnd: ((end: BoxEnd) => void) | undefined;
  /** Kills everything inside and removes what it had, its folder not. Resolves when all is gone. */
  destroy(): Promise<void>;
}

/** Thrown by `make`: the host cannot have this box. `remedy`: what an operator can do. */
export class BoxError extends Error {
  readonly remedy: string;

  constructor(message: string, remedy: string) {
    super(message);
    this.name = "BoxError";
    this.remedy = remedy;
  }
}

/** One per level. */
export interface BoxMaker {
  readonly level: BoxLevel;
  /** Ready to take processes. Throws BoxError. */
  make(kind: BoxKind, folder: BoxFolder, limits: BoxLimits): Promise<Box>;
  /** Removes what an earlier agent of the same state left. Before the first `make`. */
  cleanUp(): Promise<void>;
  close(): Promise<void>;
}
