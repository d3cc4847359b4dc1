// Hand-written checks of the serialized form, fast and without zod: true only for what is surely
// valid by `schema-graph.ts` and complete, so that a packed artifact loads in milliseconds. They
// never explain: for input that they do not accept, `explain-graph.ts` asks zod. A property test
// holds both to the same answer.
import {
  type DagAttributes,
  type DagDocument,
  dagVersion,
  type EdgeCondition,
  languagePattern,
  type RetryPolicy,
  secretPattern,
  syscallPattern,
  type TaskAttributes,
  type TaskRun,
  taskIdPattern,
} from "./dag.ts";
import { functionPattern } from "./function-ref.ts";
import { mountPathProblem, mountTargetProblem } from "./mount-path.ts";
import { faultOf, sandboxLevels } from "./outcome.ts";
import { inRange } from "./ranges.ts";
import { artifactPathProblem, pathProblem } from "./safe-path.ts";
import { maxDurationMs, maxSizeBytes } from "./units.ts";

export type Mapping = { readonly [key: string]: unknown };

/** Levels of nesting that a value of users (arguments, parameters) surely may have. */
const sureDepth = 48;
const retryWords: ReadonlySet<unknown> = new Set([
  ...Object.keys(faultOf),
  ...Object.values(faultOf),
]);
const levels: ReadonlySet<unknown> = new Set(sandboxLevels);
const variablePattern = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** A plain mapping, as a parser of JSON makes it. */
export function isMapping(value: unknown): value is Mapping {
  if (value === null || typeof value !== "object") return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

export function isId(value: unknown): boolean {
  return typeof value === "string" && value.length <= 200 && taskIdPattern.test(value);
}

export function isTaskAttributes(value: unknown): value is TaskAttributes {
  if (!isMapping(value)) return false;
  let needed = 0;
  for (const key in value) {
    const field = value[key];
    switch (key) {
      case "run":
        needed++;
        if (!isRun(field)) return false;
        break;
      case "graceMs":
        needed++;
        if (!isDuration(field, 0)) return false;
        break;
      case "retries":
        needed++;
        if (!isRetryPolicy(field)) return false;
        break;
      case "priority":
        needed++;
        if (!inRange(field, "priority")) return false;
        break;
      case "isolation":
        needed++;
        if (!levels.has(field)) return false;
        break;
      default:
        if (!isOptionalField(key, field)) return false;
    }
  }
  return needed === 5;
}

function isOptionalField(key: string, field: unknown): boolean {
  switch (key) {
    case "args":
      return isMapping(field) && isJson(field, sureDepth);
    case "env":
      return isMappingOf(field, isText, variablePattern);
    case "secrets":
      return isMappingOf(field, isSecretUse, variablePattern);
    case "stdin":
      return typeof field === "string";
    case "inputs":
      return isMapping(field) && Object.keys(field).every((path) => isInput(path, field[path]));
    case "outputs":
      return isListOf(field, isPath);
    case "when":
      return isListOf(field, isString);
    case "map":
      return typeof field === "string" || (Array.isArray(field) && isJson(field, sureDepth));
    case "mapConcurrency":
      return inRange(field, "concurrency");
    case "waitFor":
      return hasOnly(field, waitFor) && isText(field.event) && field.event !== "";
    case "timeoutMs":
      return isDuration(field, 1);
    case "pool":
      return isId(field);
    case "resources":
      return hasOnly(field, resources);
    case "limits":
      return hasOnly(field, limits);
    case "sandbox":
      return hasOnly(field, sandbox);
    case "allowFailure":
      return typeof field === "boolean";
    case "exit":
      return isCondition(field);
    case "description":
      return typeof field === "string";
    default:
      return false;
  }
}

const waitFor = { event: isText, timeoutMs: isTimeout };
const resources = {
  cpu: (v: unknown) => inRange(v, "cpu"),
  memoryBytes: isSize,
  gpu: (v: unknown) => inRange(v, "gpu"),
};
const limits = {
  memoryBytes: isSize,
  cpuMs: isTimeout,
  outputBytes: isSize,
  openFiles: (v: unknown) => inRange(v, "openFiles"),
  fileSizeBytes: isSize,
  cpus: (v: unknown) => inRange(v, "cpus"),
  pids: (v: unknown) => inRange(v, "pids"),
  diskBytes: isSize,
  artifacts: (v: unknown) => inRange(v, "artifacts"),
  artifactBytes: isSize,
};
const secretUse = {
  secret: (v: unknown) => typeof v === "string" && secretPattern.test(v),
  isFile: (v: unknown) => v === true,
};
function isSecretUse(value: unknown): boolean {
  return hasOnly(value, secretUse) && value.secret !== undefined;
}
const mount = {
  source: (v: unknown) => typeof v === "string" && mountPathProblem(v) === undefined,
  target: (v: unknown) => typeof v === "string" && mountTargetProblem(v) === undefined,
  isWritable: (v: unknown) => typeof v === "boolean",
};
const sandbox = {
  network: (v: unknown) => v === true,
  mounts: (v: unknown) =>
    isListOf(v, (entry) => hasOnly(entry, mount) && Object.keys(entry).length === 3),
  syscalls: (v: unknown) =>
    isListOf(v, (name) => typeof name === "string" && syscallPattern.test(name)),
};

function isInput(path: string, content: unknown): boolean {
  return (
    path !== "__proto__" && artifactPathProblem(path) === undefined && typeof content === "string"
  );
}

const code = {
  kind: isString,
  language: (v: unknown) => typeof v === "string" && languagePattern.test(v),
  file: isPath,
  code: isString,
  args: (v: unknown) => isListOf(v, isText),
};

function isRun(value: unknown): value is TaskRun {
  if (!isMapping(value)) return false;
  switch (value.kind) {
    case "command":
      return (
        hasOnly(value, { kind: isString, argv: (argv) => isListOf(argv, isText) }) &&
        Array.isArray(value.argv) &&
        value.argv.length > 0
      );
    case "shell":
      return hasOnly(value, { kind: isString, script: isText }) && isNonEmptyText(value.script);
    case "python":
    case "node":
      return (
        hasOnly(value, { kind: isString, file: isPath, code: isString, function: isString }) &&
        (value.file === undefined) !== (value.code === undefined) &&
        typeof value.function === "string" &&
        functionPattern.test(value.function)
      );
    case "code":
      return (
        hasOnly(value, code) &&
        (value.file === undefined) !== (value.code === undefined) &&
        value.language !== undefined &&
        value.args !== undefined
      );
    default:
      return false;
  }
}

function isRetryPolicy(value: unknown): value is RetryPolicy {
  if (!isMapping(value)) return false;
  let needed = 0;
  for (const key in value) {
    const field = value[key];
    let isFine = false;
    if (key === "limit" || key === "lost") isFine = inRange(field, "attempts");
    else if (key === "backoffMs" || key === "maxBackoffMs") isFine = isDuration(field, 0);
    else if (key === "factor" || key === "jitter") isFine = inRange(field, key);
    else if (key === "on") {
      if (!isListOf(field, (word): word is unknown => retryWords.has(word))) return false;
      continue;
    }
    if (!isFine) return false;
    needed++;
  }
  return needed === 6;
}

export function isDagAttributes(value: unknown): value is DagAttributes {
  if (!isMapping(value) || value.edgedag !== dagVersion || !isId(value.dag)) return false;
  return hasOnly(value, {
    edgedag: (v) => v === dagVersion,
    dag: isId,
    description: isString,
    params: (v) => isMapping(v) && isJson(v, sureDepth),
    pools: (v) => isMappingOf(v, (size) => inRange(size, "pool"), taskIdPattern, 200),
    concurrency: (v) => inRange(v, "concurrency"),
    timeoutMs: isTimeout,
    files: (v) => isListOf(v, isPath),
  });
}

/** The document when all of its parts are surely valid one by one; what they name is not checked. */
export function surelyDocument(value: unknown): DagDocument | undefined {
  if (
    !hasOnly(value, { options: isOptions, attributes: isMapping, nodes: isList, edges: isList })
  ) {
    return undefined;
  }
  const { attributes, nodes, edges } = value;
  if (!isDagAttributes(attributes) || !Array.isArray(nodes) || !Array.isArray(edges)) {
    return undefined;
  }
  if (nodes.length === 0 || !nodes.every(isNode)) return undefined;
  const kept: DagDocument["edges"] = [];
  for (const edge of edges) {
    if (!isEdge(edge)) return undefined;
    // Only what we know: graphology writes keys that differ from one export to the next.
    const { source, target, attributes } = edge;
    kept.push({ source, target, attributes });
  }
  return makeDocument(attributes, nodes, kept);
}

export function makeDocument(
  attributes: DagAttributes,
  nodes: DagDocument["nodes"],
  edges: DagDocument["edges"],
): DagDocument {
  const options = { type: "directed", multi: false, allowSelfLoops: false } as const;
  return { options, attributes, nodes, edges };
}

export function isNode(value: unknown): value is DagDocument["nodes"][number] {
  if (!isMapping(value) || !isId(value.key) || !isTaskAttributes(value.attributes)) return false;
  for (const key in value) if (key !== "key" && key !== "attributes") return false;
  return true;
}

export function isEdge(value: unknown): value is DagDocument["edges"][number] {
  if (!isMapping(value)) return false;
  const { source, target, attributes } = value;
  if (typeof source !== "string" || typeof target !== "string" || !isMapping(attributes)) {
    return false;
  }
  if (!isCondition(attributes.on)) return false;
  for (const key in attributes) if (key !== "on") return false;
  for (const key in value) {
    if (key === "source" || key === "target" || key === "attributes") continue;
    const isKnown =
      (key === "key" && typeof value.key === "string") ||
      (key === "undirected" && value.undirected === false);
    if (!isKnown) return false;
  }
  return true;
}

function isOptions(value: unknown): boolean {
  return hasOnly(value, {
    type: (v) => v === "directed" || v === "mixed",
    multi: (v) => typeof v === "boolean",
    allowSelfLoops: (v) => typeof v === "boolean",
  });
}

/** JSON data without `__proto__` and not deeper than `depth`. */
function isJson(value: unknown, depth: number): boolean {
  if (value === null || typeof value === "string" || typeof value === "boolean") return true;
  if (typeof value === "number") return Number.isFinite(value);
  if (depth === 0) return false;
  if (Array.isArray(value)) return value.every((entry) => isJson(entry, depth - 1));
  if (!isMapping(value)) return false;
  for (const key in value) {
    if (key === "__proto__" || !isJson(value[key], depth - 1)) return false;
  }
  return true;
}

/** A mapping with no other keys than those of `checks`; each that is there passes its check. */
function hasOnly(
  value: unknown,
  checks: { readonly [key: string]: (field: unknown) => boolean },
): value is Mapping {
  if (!isMapping(value)) return false;
  for (const key in value) {
    const check = Object.hasOwn(checks, key) ? checks[key] : undefined;
    if (check === undefined || !check(value[key])) return false;
  }
  return true;
}

function isMappingOf(
  value: unknown,
  check: (field: unknown) => boolean,
  name: RegExp,
  longest = Number.POSITIVE_INFINITY,
): boolean {
  if (!isMapping(value)) return false;
  for (const key in value) {
    if (key === "__proto__" || key.length > longest || !name.test(key)) return false;
    if (!check(value[key])) return false;
  }
  return true;
}

function isListOf(value: unknown, check: (entry: unknown) => boolean): boolean {
  return Array.isArray(value) && value.every((entry) => check(entry));
}
function isList(value: unknown): boolean {
  return Array.isArray(value);
}
function isString(value: unknown): value is string {
  return typeof value === "string";
}
function isText(value: unknown): value is string {
  return typeof value === "string" && !value.includes("\0");
}
function isNonEmptyText(value: unknown): boolean {
  return isText(value) && value !== "";
}
function isPath(value: unknown): boolean {
  return typeof value === "string" && pathProblem(value) === undefined;
}
export function isCondition(value: unknown): value is EdgeCondition {
  return value === "success" || value === "failure" || value === "any";
}
function isDuration(value: unknown, least: 0 | 1): boolean {
  if (typeof value !== "number" || !(value <= maxDurationMs)) return false;
  return least === 0 ? value >= 0 : value > 0;
}
function isTimeout(value: unknown): boolean {
  return isDuration(value, 1);
}
function isSize(value: unknown): boolean {
  return Number.isInteger(value) && Number(value) >= 1 && Number(value) <= maxSizeBytes;
}
