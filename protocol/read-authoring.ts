// Reads the authoring form into the serialized one, by hand and without zod: units to numbers,
// short forms to long ones, defaults into every task. A part that is not surely valid reads as
// undefined and is explained by `explain-authoring.ts`; ranges are checked once, on the result.
import { isCondition, isMapping, isTaskAttributes, type Mapping } from "./check-graph.ts";
import type { DagAttributes, EdgeCondition, TaskAttributes } from "./dag.ts";
import { dagVersion } from "./dag.ts";
import { retryDefaults, taskDefaults } from "./defaults.ts";
import { parseFunctionRef } from "./function-ref.ts";
import { parseDuration, parseSize } from "./units.ts";

export const runKinds = ["command", "shell", "python", "node", "code"] as const;
const optionFields: ReadonlySet<string> = new Set([
  ...["args", "env", "outputs", "when", "map", "map_concurrency", "wait_for", "timeout", "grace"],
  ...["retries", "priority", "pool", "resources", "limits", "isolation", "allow_failure"],
  ...["description", "stdin", "inputs", "sandbox"],
]);
// Not in `defaults`: a secret is given to the tasks that name it, one by one.
const taskFields: ReadonlySet<string> = new Set([...optionFields, ...runKinds, "needs", "secrets"]);
const exitFields: ReadonlySet<string> = new Set([...taskFields, "on"]);
const headFields: ReadonlySet<string> = new Set([
  ...["edgedag", "dag", "description", "params", "pools", "concurrency", "timeout", "files"],
  ...["env", "defaults", "tasks", "exit"],
]);

export interface Need {
  task: string;
  on: EdgeCondition;
}
export interface TaskReading {
  attributes: TaskAttributes;
  needs: Need[];
}
/** What tasks share: already known to be valid. */
export interface Shared {
  env: Mapping;
  defaults: Mapping;
}

/** Stands for a value that cannot be read: no check accepts it. */
const unreadable = Symbol("unreadable");

export function hasOnlyFields(
  value: Mapping,
  kind: "task" | "exit" | "defaults" | "head",
): boolean {
  const known = { task: taskFields, exit: exitFields, defaults: optionFields, head: headFields };
  for (const key in value) if (!known[kind].has(key)) return false;
  return true;
}

/** The DAG's own attributes, not yet checked; `tasks`, `exit`, `env` and `defaults` are not in it. */
export function readHead(head: Mapping): { [name in keyof DagAttributes]?: unknown } {
  return withoutUndefined({
    edgedag: head.edgedag === undefined ? dagVersion : head.edgedag,
    dag: head.dag,
    description: head.description,
    params: head.params,
    pools: head.pools,
    concurrency: head.concurrency,
    timeoutMs: readDuration(head.timeout),
    files: head.files,
  });
}

/** Undefined: not surely valid. `exit` is undefined for ordinary tasks. */
export function readTask(
  raw: unknown,
  shared: Shared,
  exit: "exit" | undefined,
): TaskReading | undefined {
  if (!isMapping(raw) || !hasOnlyFields(raw, exit === undefined ? "task" : "exit"))
    return undefined;
  const needs = readNeeds(raw.needs);
  if (needs === undefined) return undefined;
  const { defaults } = shared;
  const pick = (name: string) => (raw[name] === undefined ? defaults[name] : raw[name]);
  const attributes = withoutUndefined({
    run: readRun(raw),
    args: pick("args"),
    env: readEnv([shared.env, defaults.env, raw.env]),
    secrets: readSecrets(raw.secrets),
    stdin: pick("stdin"),
    inputs: pick("inputs"),
    outputs: pick("outputs"),
    when: readWhen(pick("when")),
    map: pick("map"),
    mapConcurrency: pick("map_concurrency"),
    waitFor: readWaitFor(pick("wait_for")),
    timeoutMs: readDuration(pick("timeout")),
    graceMs: readDuration(pick("grace")) ?? taskDefaults.graceMs,
    retries: readRetries(defaults.retries, raw.retries),
    priority: valueOrDefault(pick("priority"), taskDefaults.priority),
    pool: pick("pool"),
    resources: readResources(merged(defaults.resources, raw.resources)),
    limits: readLimits(merged(defaults.limits, raw.limits)),
    isolation: valueOrDefault(pick("isolation"), taskDefaults.isolation),
    sandbox: readSandbox(merged(defaults.sandbox, raw.sandbox)),
    allowFailure: pick("allow_failure"),
    exit: exit === undefined ? undefined : valueOrDefault(raw.on, "any"),
    description: pick("description"),
  });
  return isTaskAttributes(attributes) ? { attributes, needs } : undefined;
}

/** Needs as far as they can be read; used to report broken edges of a task that is itself broken. */
export function readNeeds(value: unknown): Need[] | undefined {
  if (value === undefined) return [];
  if (typeof value === "string") return [{ task: value, on: "success" }];
  if (!Array.isArray(value)) return undefined;
  const needs: Need[] = [];
  for (const entry of value) {
    if (typeof entry === "string") needs.push({ task: entry, on: "success" });
    else {
      if (!isMapping(entry) || typeof entry.task !== "string") return undefined;
      for (const key in entry) if (key !== "task" && key !== "on") return undefined;
      const on = valueOrDefault(entry.on, "success");
      if (!isCondition(on)) return undefined;
      needs.push({ task: entry.task, on });
    }
  }
  return needs;
}

function readRun(raw: Mapping): unknown {
  const kinds = runKinds.filter((kind) => raw[kind] !== undefined);
  const [kind] = kinds;
  if (kinds.length !== 1 || kind === undefined) return unreadable;
  const value = raw[kind];
  if (kind === "command") {
    return { kind, argv: Array.isArray(value) ? value.map(readScalar) : unreadable };
  }
  if (kind === "shell") return { kind, script: value };
  if (typeof value === "string" && kind !== "code") {
    const reference = parseFunctionRef(value);
    return reference === undefined ? unreadable : { kind, ...reference };
  }
  if (!isMapping(value) || value.kind !== undefined) return unreadable;
  if (kind === "code") {
    const { args = [] } = value;
    return { kind, ...value, args: Array.isArray(args) ? args.map(readScalar) : unreadable };
  }
  return { kind, function: "main", ...value };
}

/** Numbers and booleans are written without quotes in YAML and meant as text. */
function readScalar(value: unknown): unknown {
  return typeof value === "boolean" || Number.isFinite(value) ? String(value) : value;
}

function readEnv(layers: unknown[]): unknown {
  const env: [string, unknown][] = [];
  for (const layer of layers) {
    if (layer === undefined) continue;
    if (!isMapping(layer)) return unreadable;
    for (const [name, value] of Object.entries(layer)) env.push([name, readScalar(value)]);
  }
  return env.length === 0 ? undefined : Object.fromEntries(env);
}

/** `[A]`, `{ A: name }` or `{ A: { secret, file } }`. */
function readSecrets(value: unknown): unknown {
  if (value === undefined) return undefined;
  if (Array.isArray(value)) {
    // A name that stands there twice is for people to see.
    if (new Set(value).size < value.length) return unreadable;
    return Object.fromEntries(
      value.map((name) => [typeof name === "string" ? name : "", { secret: name }]),
    );
  }
  if (!isMapping(value)) return unreadable;
  const uses = Object.entries(value).map(([variable, use]) => [
    variable,
    readSecret(use, variable),
  ]);
  return Object.fromEntries(uses);
}

function readSecret(value: unknown, variable: string): unknown {
  if (typeof value === "string") return { secret: value };
  const read = renamed(value, { secret: "secret", file: "isFile" });
  if (!isMapping(read)) return unreadable;
  const { secret = variable, isFile } = read;
  if (isFile !== undefined && typeof isFile !== "boolean") return unreadable;
  return isFile === true ? { secret, isFile } : { secret };
}

function readWhen(value: unknown): unknown {
  if (value === undefined) return undefined;
  const list: unknown[] = Array.isArray(value) ? value : [value];
  return list.map((entry) => (typeof entry === "boolean" ? String(entry) : entry));
}

function readWaitFor(value: unknown): unknown {
  if (typeof value === "string") return { event: value };
  return renamed(value, { event: "event", timeout: "timeoutMs" });
}

function readRetries(inherited: unknown, own: unknown): unknown {
  const long = (value: unknown) => (typeof value === "number" ? { limit: value } : value);
  const read = renamed(merged(long(inherited), long(own)), {
    limit: "limit",
    lost: "lost",
    backoff: "backoffMs",
    factor: "factor",
    max_backoff: "maxBackoffMs",
    jitter: "jitter",
    on: "on",
  });
  return isMapping(read) || read === undefined ? { ...retryDefaults, ...read } : unreadable;
}

function readResources(value: unknown): unknown {
  return renamed(value, { cpu: "cpu", memory: "memoryBytes", gpu: "gpu" });
}

function readLimits(value: unknown): unknown {
  return renamed(value, {
    memory: "memoryBytes",
    cpu_time: "cpuMs",
    output: "outputBytes",
    open_files: "openFiles",
    file_size: "fileSizeBytes",
    cpus: "cpus",
    pids: "pids",
    disk: "diskBytes",
    artifacts: "artifacts",
    artifact_size: "artifactBytes",
  });
}

function readSandbox(value: unknown): unknown {
  const read = renamed(value, { network: "network", mounts: "mounts", syscalls: "syscalls" });
  if (!isMapping(read)) return read;
  const { network, mounts, ...others } = read;
  return withoutUndefined({
    // Written to close what the defaults open, and then there is nothing to say.
    network: network === false ? undefined : network,
    mounts: Array.isArray(mounts) ? mounts.map(readMount) : mounts,
    ...others,
  });
}

function readMount(value: unknown): unknown {
  const read = renamed(value, { source: "source", target: "target", writable: "isWritable" });
  return isMapping(read) ? { isWritable: false, ...read } : unreadable;
}

/** New names; values are read by the unit in the new name. Unknown names make it unreadable. */
function renamed(value: unknown, names: { readonly [name: string]: string }): unknown {
  if (value === undefined) return undefined;
  if (!isMapping(value)) return unreadable;
  const entries: [string, unknown][] = [];
  for (const [name, field] of Object.entries(value)) {
    const target = Object.hasOwn(names, name) ? names[name] : undefined;
    if (target === undefined) return unreadable;
    if (field === undefined) continue;
    if (target.endsWith("Ms")) entries.push([target, readDuration(field)]);
    else if (target.endsWith("Bytes")) entries.push([target, parseSize(field) ?? unreadable]);
    else entries.push([target, field]);
  }
  return Object.fromEntries(entries);
}

function merged(inherited: unknown, own: unknown): unknown {
  if (own === undefined) return inherited;
  return isMapping(inherited) && isMapping(own) ? { ...inherited, ...own } : own;
}

function readDuration(value: unknown): unknown {
  return value === undefined ? undefined : (parseDuration(value) ?? unreadable);
}

function valueOrDefault(value: unknown, otherwise: unknown): unknown {
  return value === undefined ? otherwise : value;
}

function withoutUndefined<T extends object>(fields: T): T {
  const kept = Object.entries(fields).filter(([, value]) => value !== undefined);
  // The same type with fewer optional fields.
  return Object.fromEntries(kept) as T;
}
