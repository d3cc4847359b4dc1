// The DAG document in its normalized form: graphology's own export format with typed attributes.
// Durations are milliseconds, sizes are bytes, defaults are resolved into every task.
// The authoring form (YAML) is turned into this by `protocol/authoring.ts`.
import type { Json } from "./json.ts";
import type { FailureReason, Fault, SandboxLevel } from "./outcome.ts";

export const dagVersion = 1;

export type EdgeCondition = "success" | "failure" | "any";

/** What a task runs. Strings may hold `{{ }}` templates where `Template` is said. */
export type Template = string;
export type TaskRun =
  | { kind: "command"; argv: Template[] }
  | { kind: "shell"; script: Template }
  /** `file` is relative to the artifact's root. */
  | { kind: "python" | "node"; file: string; function: string }
  | { kind: "python" | "node"; code: string; function: string }
  /** A program in a language of the agent's registry: compiled where that is needed, then run. */
  | { kind: "code"; language: string; file: string; args: Template[] }
  | { kind: "code"; language: string; code: string; args: Template[] };

export interface RetryPolicy {
  /** Further attempts after the first for faults `task` and `limit`. */
  limit: number;
  /** Further attempts after one that was lost or failed by fault of platform or agent. */
  lost: number;
  backoffMs: number;
  factor: number;
  maxBackoffMs: number;
  /** Share of the delay that is random, 0 to 1. */
  jitter: number;
  /** Only these faults or reasons are retried under `limit`; absent: `task` and `limit`. */
  on?: (Fault | FailureReason)[];
}

/** A folder or file of the host that the task sees. Both paths are absolute. */
export interface SandboxMount {
  source: string;
  target: string;
  isWritable: boolean;
}

/** What a sandbox opens on top of what its level gives. The agent's policy must allow all of it. */
export interface SandboxOptions {
  network?: true;
  mounts?: SandboxMount[];
  /** Names of system calls. */
  syscalls?: string[];
}

/** A secret of the node that a task is given. */
export interface SecretUse {
  /** Its name on the node. */
  secret: string;
  /** The variable then holds the path of a file with the value. */
  isFile?: true;
}

export interface TaskAttributes {
  run: TaskRun;
  /** Arguments of a function: a mapping whose strings may be templates. Absent: none are passed. */
  args?: { [name: string]: Json };
  env?: { [name: string]: Template };
  /** Variables of the task that come from secrets of the node; nothing here is a template. */
  secrets?: { [variable: string]: SecretUse };
  /** What the program reads from its standard input; absent: nothing. */
  stdin?: Template;
  /** Files that the task finds in its working folder: path to content. */
  inputs?: { [path: string]: Template };
  /** Artifact patterns, relative to the run's working folder. */
  outputs?: string[];
  /** All must be truthy, else the task is skipped. */
  when?: Template[];
  /** Fan-out: a template that gives a list (or a literal list); `item` and `index` are then known. */
  map?: Template | Json[];
  /** Most items of the fan-out that run at once. */
  mapConcurrency?: number;
  waitFor?: { event: string; timeoutMs?: number };
  timeoutMs?: number;
  /** From TERM to KILL. */
  graceMs: number;
  retries: RetryPolicy;
  priority: number;
  pool?: string;
  resources?: { cpu?: number; memoryBytes?: number; gpu?: number };
  limits?: {
    memoryBytes?: number;
    cpuMs?: number;
    outputBytes?: number;
    openFiles?: number;
    fileSizeBytes?: number;
    /** Cores that the whole task may use at once. */
    cpus?: number;
    pids?: number;
    /** Of the working folder. */
    diskBytes?: number;
    /** How many artifacts are kept at most, and their bytes together. */
    artifacts?: number;
    artifactBytes?: number;
  };
  isolation: SandboxLevel;
  sandbox?: SandboxOptions;
  allowFailure?: boolean;
  /** Set on exit handlers: they start when every other task has finished. */
  exit?: EdgeCondition;
  description?: string;
}

export interface DagAttributes {
  edgedag: typeof dagVersion;
  dag: string;
  description?: string;
  params?: { [name: string]: Json };
  /** Names of pools and how many tasks may hold each at once. */
  pools?: { [name: string]: number };
  /** Most tasks of this DAG that run at once; absent: what the agent allows. */
  concurrency?: number;
  timeoutMs?: number;
  /** Further files that tasks need: glob patterns relative to the document. */
  files?: string[];
}

/** graphology's SerializedGraph with our attributes. Edge keys are not written. */
export interface DagDocument {
  options: { type: "directed"; multi: false; allowSelfLoops: false };
  attributes: DagAttributes;
  nodes: { key: string; attributes: TaskAttributes }[];
  edges: { source: string; target: string; attributes: { on: EdgeCondition } }[];
}

/** Names of languages and their aliases. Whether an agent has the language is its own to say. */
export const languagePattern = /^[A-Za-z][A-Za-z0-9+#._-]{0,49}$/;
export const syscallPattern = /^[a-z_][a-z0-9_]{0,63}$/;
/** Names of secrets: of files and of variables alike. */
export const secretPattern = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
export const taskIdPattern = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;
