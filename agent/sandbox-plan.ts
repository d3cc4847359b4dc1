// From a task of the document, with its templates evaluated, to what a sandbox is to run. The one
// place that decides which limits hold where the document says nothing.
import { join } from "node:path";
import type { TaskAttributes } from "../protocol/dag.ts";
import type { Json } from "../protocol/json.ts";
import type { BoxKind, BoxLimits, Mount } from "./exec/isolation/box.ts";
import type { InputFile, SandboxRun, SandboxSpec } from "./exec/isolation/sandbox-spec.ts";

/** What holds for tasks in a sandbox whose document says nothing else. */
export interface SandboxDefaults {
  timeoutMs: number;
  memoryBytes: number;
  pids: number;
  diskBytes: number;
  cpus: number | undefined;
  outputLimitBytes: number;
}

/** The parts of a task that templates decide. */
export interface Evaluated {
  /** Of a command or a shell script; arguments of a `code` task. */
  argv: readonly string[];
  args: { [name: string]: Json } | undefined;
  env: Readonly<Record<string, string>>;
  stdin: string | undefined;
  files: readonly InputFile[];
  inputs: Json;
  /** With their real paths. */
  mounts: readonly Mount[];
  secrets?: SandboxSpec["secrets"];
}

/** What all sandboxes of a run share. */
export interface SandboxSettings {
  defaults: SandboxDefaults;
  /** Variables that every task of the node gets. */
  env: Readonly<Record<string, string>>;
  /** The DAG's own files. */
  files: readonly InputFile[];
  /** What the policy allows now, with links followed. */
  resolveMounts(
    mounts: readonly Mount[],
  ): { ok: true; value: Mount[] } | { ok: false; detail: string };
}

export interface SandboxContext {
  run: string;
  /** Key of the instance. */
  key: string;
  attempt: number;
  dagName: string;
  /** Variables that every task of the node gets. */
  sharedEnv: Readonly<Record<string, string>>;
  /** The run's folder for what sandboxes leave. */
  keptFolder: string;
  defaults: SandboxDefaults;
}

const defaultArtifacts = 1000;
const defaultArtifactBytes = 2 ** 30;
/** A compiler may take this long, unless the task's own time is shorter still. */
const compileTimeoutMs = 120_000;

/** Tasks that only a sandbox can run, or that ask for one. */
export function needsSandbox(task: TaskAttributes): boolean {
  return task.isolation !== "none" || task.run.kind === "code";
}

export function kindOf(task: TaskAttributes): BoxKind {
  const { isolation, sandbox = {}, run } = task;
  return {
    level: isolation,
    language: run.kind === "code" ? run.language : run.kind === "command" ? "shell" : run.kind,
    network: sandbox.network ?? false,
    mounts: sandbox.mounts ?? [],
    syscalls: sandbox.syscalls ?? [],
  };
}

export function planSandbox(
  task: TaskAttributes,
  evaluated: Evaluated,
  { run, key, attempt, dagName, sharedEnv, keptFolder, defaults }: SandboxContext,
): SandboxSpec {
  const { limits = {} } = task;
  return {
    kind: { ...kindOf(task), mounts: evaluated.mounts },
    run: runOf(task, evaluated),
    task: key,
    attempt,
    runId: run,
    env: { ...sharedEnv, EDGEDAG_DAG_NAME: dagName, ...evaluated.env },
    inputs: evaluated.inputs,
    ...(evaluated.secrets === undefined ? {} : { secrets: evaluated.secrets }),
    ...(evaluated.stdin === undefined ? {} : { stdin: evaluated.stdin }),
    files: evaluated.files,
    limits: limitsOf(limits, defaults),
    outputLimitBytes: limits.outputBytes ?? defaults.outputLimitBytes,
    timeoutMs: task.timeoutMs ?? defaults.timeoutMs,
    graceMs: task.graceMs,
    compileTimeoutMs,
    outputs: {
      patterns: task.outputs ?? [],
      maxCount: limits.artifacts ?? defaultArtifacts,
      maxBytes: limits.artifactBytes ?? defaultArtifactBytes,
    },
    keepIn: join(keptFolder, `${key}#${attempt}`),
  };
}

function runOf({ run }: TaskAttributes, { argv, args }: Evaluated): SandboxRun {
  switch (run.kind) {
    case "command":
    case "shell":
      return { kind: "command", argv };
    case "python":
    case "node":
      return {
        kind: "function",
        runtime: run.kind,
        ...("file" in run ? { file: run.file } : { code: run.code }),
        function: run.function,
        ...(args === undefined ? {} : { args }),
      };
    case "code":
      return {
        kind: "code",
        language: run.language,
        ...("file" in run ? { file: run.file } : { code: run.code }),
        args: argv,
      };
  }
}

function limitsOf(limits: NonNullable<TaskAttributes["limits"]>, defaults: SandboxDefaults) {
  const { cpus = defaults.cpus } = limits;
  const all: BoxLimits = {
    memoryBytes: limits.memoryBytes ?? defaults.memoryBytes,
    pids: limits.pids ?? defaults.pids,
    diskBytes: limits.diskBytes ?? defaults.diskBytes,
  };
  if (limits.cpuMs !== undefined) all.cpuTimeMs = limits.cpuMs;
  if (cpus !== undefined) all.cpus = cpus;
  if (limits.openFiles !== undefined) all.openFiles = limits.openFiles;
  if (limits.fileSizeBytes !== undefined) all.fileSizeBytes = limits.fileSizeBytes;
  return all;
}
