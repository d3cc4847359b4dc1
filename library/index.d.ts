// Types of the package: the SDK of tasks, and the executor.
export * from "../sdk/node/index.js";
export * from "./errors.js";

export type IsolationLevel = "none" | "subprocess" | "seccomp" | "docker" | "gvisor";

/** How an executor is configured; what holds where nothing is said stands at each. */
export interface ExecutorConfig {
  /** Tasks that run at once: 10. */
  maxConcurrentTasks?: number;
  /** Longest time of a task that asks for none, milliseconds: 30,000. */
  timeoutMs?: number;
  /** Most memory of a task that asks for none, bytes: 512 MiB. */
  memoryBytes?: number;
  /** Most processor time of a task that asks for none, milliseconds: 30,000. */
  cpuMs?: number;
  /** Most bytes of output of a task that asks for none: 1 MiB. */
  outputBytes?: number;
  /** Results that are kept: 1,000; older ones are forgotten. */
  resultCacheSize?: number;
  /** Sandboxes that wait ready for a task: 4. */
  workerPoolSize?: number;
  /** Tasks that may wait; one more is refused: 100. */
  queueSize?: number;
  /** Whether statistics are kept: yes. */
  monitoring?: boolean;
  /** Levels that will do, the preferred one first: subprocess, and none where it does not hold. */
  isolation?: readonly IsolationLevel[];
  /** Programs that commands must not begin with, beside those that usually are not allowed. */
  deniedCommands?: readonly string[];
  /** Folder of what runs need; made, and removed at the end. */
  folder?: string;
  /** What the executor has to say of itself; nothing is printed otherwise. */
  log?(level: string, text: string): void;
}

export interface TaskSpec {
  /** A program; its name is looked up on the PATH of the sandbox. */
  command: string;
  args?: readonly string[];
  env?: Readonly<Record<string, string>>;
  stdin?: string;
  /** Path to text, or to `{ base64 }`. */
  files?: Readonly<Record<string, string | { base64: string; executable?: boolean }>>;
  /** Patterns of files that are to be kept. */
  outputs?: readonly string[];
  /** Durations are seconds or text like 5s, sizes bytes or text like 64Mi. */
  limits?: {
    timeout?: number | string;
    memory?: number | string;
    cpu_time?: number | string;
    cpus?: number;
    output?: number | string;
    pids?: number;
    disk?: number | string;
    open_files?: number;
    artifacts?: number;
    artifact_size?: number | string;
  };
  isolation?: IsolationLevel;
  /** 0 to 9; 5 unless said. */
  priority?: number;
}

export interface TaskHandle {
  readonly id: string;
}

/** Times are Unix milliseconds, sizes bytes. What is not known is absent. */
export interface TaskResult {
  id: string;
  state: "succeeded" | "failed" | "cancelled";
  language: string;
  priority: number;
  attempt: number;
  created_at: number;
  started_at?: number;
  finished_at?: number;
  queue_ms?: number;
  exit_code?: number;
  signal?: string;
  stdout?: string;
  stderr?: string;
  result?: unknown;
  files: { name: string; content: Uint8Array }[];
  refused_files?: { path: string; why: string }[];
  error?: {
    class:
      | "Validation"
      | "Security"
      | "Resource"
      | "Execution"
      | "Timeout"
      | "Sandbox"
      | "Monitoring"
      | "Configuration";
    reason: string;
    /** Whose: task, limit, platform or agent. */
    fault: string;
    message: string;
    trace?: string;
  };
  usage?: { [name: string]: number };
  /** The level that held. */
  isolation?: string;
}

export interface Percentiles {
  p50: number;
  p95: number;
  p99: number;
  count: number;
}

export interface Used {
  finished: number;
  failed: number;
  wall_ms: number;
  cpu_ms: number;
  output_bytes: number;
  peak_memory_bytes: number;
}

export interface Executor extends AsyncDisposable {
  /** Rejects with ValidationError, SecurityError or ResourceError; nothing was taken in then. */
  submit(task: TaskSpec): Promise<TaskHandle>;
  /** All or none of them. */
  submitMany(tasks: readonly TaskSpec[]): Promise<TaskHandle[]>;
  /**
   * How the task ended, whatever that was. Rejects with TimeoutError when it has not ended within
   * `timeoutMs`, and with ExecutionError when it is not known (any more).
   */
  getResult(handle: TaskHandle, timeoutMs?: number): Promise<TaskResult>;
  /** Those that have ended by now or within the time, and the others; 0 answers at once. */
  wait(
    handles: readonly TaskHandle[],
    timeoutMs: number,
    options?: { count?: number },
  ): Promise<{ done: TaskResult[]; pending: TaskHandle[] }>;
  /** False: it had ended already, or is not known. */
  cancel(handle: TaskHandle): Promise<boolean>;
  availableResources(): {
    slots: number;
    free_slots: number;
    cpus: number;
    memory_bytes: number;
    free_memory_bytes: number;
    nodes: { id: string; levels: IsolationLevel[]; languages: string[] }[];
  };
  /** Throws MonitoringError where monitoring is off. */
  statistics(): {
    /** accepted, succeeded, failed, cancelled. */
    tasks: { [state: string]: number };
    /** By reason. */
    failures: { [reason: string]: number };
    latency_ms: Percentiles | undefined;
    queue_ms: Percentiles | undefined;
    used: Used;
    queue: { queued: number; running: number };
  };
  /** What was used in each of the last 60 minutes. Throws MonitoringError where monitoring is off. */
  usageHistory(): ({ time: number } & Used)[];
  /** Takes nothing more, lets what runs end for at most so long, and ends everything. */
  shutdown(options?: { drainMs?: number }): Promise<void>;
}

/**
 * An executor in this process: `shutdown` (or `await using`) ends it. Rejects with
 * ConfigurationError, or with SandboxError where none of the levels holds on this machine.
 */
export function createExecutor(config?: ExecutorConfig): Promise<Executor>;
