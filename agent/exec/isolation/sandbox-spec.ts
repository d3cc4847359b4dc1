// What is to be run in a sandbox, and how that ended: the one contract of all levels above `none`,
// for DAG tasks and for submitted code alike.
import type { Json } from "../../../protocol/json.ts";
import type { Usage } from "../launcher/process.ts";
import type { BoxKind, BoxLimits } from "./box.ts";

/** A file that the task finds in its working folder. `path`: relative, without `..`. */
export interface InputFile {
  path: string;
  /** `copyOf`: a regular file of the agent's, read when the box is there. */
  content: Uint8Array | string | { copyOf: string };
  isExecutable?: boolean;
}

export type SandboxRun =
  | { kind: "command"; argv: readonly string[] }
  /** A function of a file (relative to the working folder) or of code. */
  | {
      kind: "function";
      runtime: "python" | "node";
      file?: string;
      code?: string;
      /** Absent: `main`, or the only function that there is. */
      function?: string;
      args?: { [name: string]: Json };
    }
  /** A program in a language of the registry: compiled where that is needed, then run. */
  | { kind: "code"; language: string; file?: string; code?: string; args: readonly string[] };

export interface OutputRules {
  /** Glob patterns relative to the working folder. */
  patterns: readonly string[];
  maxCount: number;
  maxBytes: number;
}

export interface SandboxSpec {
  kind: BoxKind;
  run: SandboxRun;
  task: string;
  attempt: number;
  runId: string;
  /** The task's variables, over those of the box. */
  env: Readonly<Record<string, string>>;
  /** What the SDK finds: params, needs, item. */
  inputs: Json;
  /** For the task's own program, not for its compiler. A variable of a file names its path inside. */
  secrets?: {
    env: Readonly<Record<string, string>>;
    files: readonly { variable: string; content: Uint8Array }[];
  };
  stdin?: Uint8Array | string;
  files: readonly InputFile[];
  /** Empty ones that it finds in its working folder. */
  folders?: readonly string[];
  limits: BoxLimits;
  /** stdout and stderr together. */
  outputLimitBytes: number;
  timeoutMs: number;
  graceMs: number;
  /** Most time of the compile step of `code`. */
  compileTimeoutMs?: number;
  outputs: OutputRules;
  /** A folder of the agent's, outside of every box: large results and artifacts are moved here. */
  keepIn: string;
}

/** A file that the task left: a regular file, copied out after everything inside was dead. */
export interface KeptOutput {
  /** Relative to the working folder. */
  path: string;
  /** Where the copy lies. */
  keptAt: string;
  sizeBytes: number;
}

/** What came out besides outcome and facts. `refused`: why some outputs were not kept. */
export interface SandboxOutputs {
  artifacts: KeptOutput[];
  refused: { path: string; why: string }[];
}

/** The last samples of a running task, one each 100 ms, at most 1,000. */
export type Samples = readonly Usage[];
