// From what a request says to the one task that a node will run: limits within the operator's
// bounds, levels that will do. Shared by all doors.
import type { ArtifactFile } from "../../protocol/artifact.ts";
import type { TaskAttributes, TaskRun } from "../../protocol/dag.ts";
import type { Json } from "../../protocol/json.ts";
import { type SandboxLevel, sandboxLevels } from "../../protocol/outcome.ts";
import { priorities, type Snippet } from "../snippets/snippet.ts";
import { newSnippetId } from "../snippets/snippet-id.ts";
import type { Input } from "./input.ts";
import { isAtLeast, type SnippetRules } from "./rules.ts";

export interface SnippetParts {
  owner: string;
  /** Name of its queue. */
  language: string;
  run: TaskRun;
  args?: { [name: string]: Json };
  env?: { [name: string]: string };
  stdin?: string;
  files?: ArtifactFile[];
  outputs?: string[];
  /** Empty ones that it finds in its working folder. */
  folders?: string[];
  limits?: SnippetLimits;
  levels?: readonly SandboxLevel[];
  priority?: number;
  callback?: string;
  /** Further tries where a node was lost. */
  lostRetries?: number;
}

export interface SnippetLimits {
  timeoutMs?: number;
  memoryBytes?: number;
  outputBytes?: number;
  cpuMs?: number;
  cpus?: number;
  pids?: number;
  diskBytes?: number;
  openFiles?: number;
  artifacts?: number;
  artifactBytes?: number;
}

const graceMs = 500;
const defaultLostRetries = 3;
const defaultArtifacts = 20;
const defaultArtifactBytes = 16 * 2 ** 20;

export function makeSnippet(parts: SnippetParts, rules: SnippetRules, now: number): Snippet {
  const { owner, language, run, limits = {}, levels = rules.levels } = parts;
  const { timeoutMs = rules.timeoutMs.fallback, ...others } = limits;
  const task: TaskAttributes = {
    run,
    timeoutMs,
    graceMs,
    retries: {
      limit: 0,
      lost: parts.lostRetries ?? defaultLostRetries,
      backoffMs: 0,
      factor: 1,
      maxBackoffMs: 0,
      jitter: 0,
    },
    priority: parts.priority ?? priorities.normal,
    limits: {
      memoryBytes: rules.memoryBytes.fallback,
      outputBytes: rules.outputBytes.fallback,
      ...(rules.cpuMs === undefined ? {} : { cpuMs: rules.cpuMs }),
      artifacts: defaultArtifacts,
      artifactBytes: defaultArtifactBytes,
      ...others,
    },
    isolation: levels[0] ?? "gvisor",
  };
  if (parts.args !== undefined) task.args = parts.args;
  if (parts.env !== undefined) task.env = parts.env;
  if (parts.stdin !== undefined) task.stdin = parts.stdin;
  if (parts.outputs !== undefined && parts.outputs.length > 0) task.outputs = parts.outputs;
  return {
    id: newSnippetId(now),
    owner,
    language,
    priority: parts.priority ?? priorities.normal,
    task,
    files: parts.files ?? [],
    ...(parts.folders === undefined ? {} : { folders: parts.folders }),
    levels: [...levels],
    ...(parts.callback === undefined ? {} : { callback: parts.callback }),
    createdAt: now,
  };
}

const limitNames = [
  "timeout",
  "memory",
  "output",
  "cpu_time",
  "cpus",
  "pids",
  "disk",
  "open_files",
  "artifacts",
  "artifact_size",
] as const;
const day = 86_400_000;
const tebibyte = 2 ** 40;

/** Notes what is wrong; `timeout` and the others in the units of the DAG document. */
export function readLimits(input: Input, field: string, rules: SnippetRules): SnippetLimits {
  const given = input.object(field);
  if (given === undefined) return {};
  given.only(limitNames);
  const read: { [K in keyof SnippetLimits]: number | undefined } = {
    timeoutMs: given.duration("timeout", rules.timeoutMs.most),
    memoryBytes: given.size("memory", 2 ** 20, rules.memoryBytes.most),
    outputBytes: given.size("output", 1, rules.outputBytes.most),
    cpuMs: given.duration("cpu_time", day),
    cpus: given.number("cpus", 0.01, 1024),
    pids: given.whole("pids", 1, 100_000),
    diskBytes: given.size("disk", 2 ** 16, tebibyte),
    openFiles: given.whole("open_files", 8, 1_000_000),
    artifacts: given.whole("artifacts", 0, 1000),
    artifactBytes: given.size("artifact_size", 1, 64 * 2 ** 20),
  };
  // Each is there or is absent, never undefined.
  return Object.fromEntries(
    Object.entries(read).filter(([, value]) => value !== undefined),
  ) as SnippetLimits;
}

/** The levels that will do: those of the operator, or the one that is asked for. */
export function readLevels(input: Input, field: string, rules: SnippetRules): SandboxLevel[] {
  const given = input.text(field, 20);
  if (given === undefined) return [...rules.levels];
  const level = sandboxLevels.find((known) => known === given);
  if (level === undefined) {
    input.bad(
      field,
      `is none of ${sandboxLevels.join(", ")}`,
      "Leave it out for the best there is.",
    );
    return [];
  }
  const least = rules.levels.reduce((a, b) => (isAtLeast(a, b) ? b : a), "gvisor" as SandboxLevel);
  if (isAtLeast(level, least)) return [level];
  input.bad(
    field,
    `is below ${least}, the least that is allowed here`,
    `Ask for ${least} or higher, or leave it out.`,
    "E_SNIPPET_ISOLATION",
  );
  return [];
}
