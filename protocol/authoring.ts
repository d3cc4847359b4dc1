// The authoring form: from what people write to the document, on the fast path without zod, and
// from parts of the document back to what they wrote, for the paths of diagnostics.
import { isDagAttributes, isId, isMapping, type Mapping, makeDocument } from "./check-graph.ts";
import type { DagDocument } from "./dag.ts";
import type { Draft, Places } from "./draft.ts";
import type { PathSegment } from "./findings.ts";
import { hasOnlyFields, readHead, readTask, type TaskReading } from "./read-authoring.ts";

interface Origin {
  section: "tasks" | "exit";
  id: string;
  raw: unknown;
}
export interface Collected {
  nodes: DagDocument["nodes"];
  edges: DagDocument["edges"];
  /** Per node, in the same order. */
  origins: Origin[];
}

/** Undefined when some part is not surely valid. What the parts name is not checked. */
export function surelyAuthoring(value: unknown): Draft | undefined {
  if (!isMapping(value) || !hasOnlyFields(value, "head")) return undefined;
  const { env = {}, defaults = {}, tasks, exit = {} } = value;
  if (!isMapping(env) || !isMapping(defaults) || !isMapping(tasks) || !isMapping(exit)) {
    return undefined;
  }
  const attributes = readHead(value);
  if (!isDagAttributes(attributes) || !hasOnlyFields(defaults, "defaults")) return undefined;
  const shared = { env, defaults };
  // Each layer must be good by itself, not only what a task makes of it.
  const probe = { command: ["true"] };
  const layers = [
    { env, defaults: {} },
    { env: {}, defaults },
  ];
  if (layers.some((layer) => readTask(probe, layer, undefined) === undefined)) return undefined;

  const collected: Collected = { nodes: [], edges: [], origins: [] };
  for (const [section, list] of [
    ["tasks", tasks],
    ["exit", exit],
  ] as const) {
    for (const id of Object.keys(list)) {
      const raw = list[id];
      const reading = readTask(raw, shared, section === "exit" ? section : undefined);
      if (reading === undefined || !isId(id)) return undefined;
      collect(collected, { section, id, raw }, reading);
    }
  }
  const document = makeDocument(attributes, collected.nodes, collected.edges);
  return { document, places: new AuthoringPlaces(value, collected.origins) };
}

export function collect(into: Collected, origin: Origin, { attributes, needs }: TaskReading): void {
  into.nodes.push({ key: origin.id, attributes });
  into.origins.push(origin);
  for (const { task, on } of needs) {
    into.edges.push({ source: task, target: origin.id, attributes: { on } });
  }
}

const renames: ReadonlyMap<PathSegment, string> = new Map([
  ["mapConcurrency", "map_concurrency"],
  ["waitFor", "wait_for"],
  ["timeoutMs", "timeout"],
  ["allowFailure", "allow_failure"],
  ["exit", "on"],
]);

/** A task's own mapping and the one of the defaults are merged field by field. */
const mergedFields: ReadonlySet<string> = new Set(["limits", "sandbox"]);

export class AuthoringPlaces implements Places {
  readonly #document: Mapping;
  readonly #origins: readonly Origin[];
  /** Paths of edges, made at the first question: only broken documents ask. */
  #edges: PathSegment[][] | undefined;

  constructor(document: Mapping, origins: readonly Origin[]) {
    this.#document = document;
    this.#origins = origins;
  }

  head(field: readonly PathSegment[]): PathSegment[] {
    return [...field];
  }

  tasks(): PathSegment[] {
    return ["tasks"];
  }

  node(index: number): PathSegment[] {
    const origin = this.#origins[index];
    return origin === undefined ? ["tasks"] : [origin.section, origin.id];
  }

  field(node: number, [first = "", ...rest]: readonly PathSegment[]): PathSegment[] {
    const raw = this.#origins[node]?.raw;
    const task: Mapping = isMapping(raw) ? raw : {};
    const { defaults, env } = this.#document;
    if (first === "run") return [...this.node(node), ...runPlace(task, rest)];
    const name = renames.get(first) ?? String(first);
    const inner = rest[0] === "diskBytes" ? "disk" : String(rest[0]);
    if (name === "env") {
      const variable = String(rest[0]);
      if (hasOwn(task.env, variable)) return [...this.node(node), "env", ...rest];
      const isDefault = isMapping(defaults) && hasOwn(defaults.env, variable);
      if (isDefault) return ["defaults", "env", ...rest];
      return hasOwn(env, variable) ? ["env", ...rest] : [...this.node(node), "env", ...rest];
    }
    if (name === "secrets" && Array.isArray(task.secrets)) {
      const at = task.secrets.indexOf(rest[0]);
      return at < 0 ? [...this.node(node), name] : [...this.node(node), name, at];
    }
    const isMerged = mergedFields.has(name) && !hasOwn(task[name], inner);
    const isDefault =
      isMapping(defaults) &&
      (task[name] === undefined
        ? hasOwn(defaults, name)
        : isMerged && hasOwn(defaults[name], inner));
    const value = isDefault ? defaults[name] : task[name];
    const base = isDefault ? ["defaults", name] : [...this.node(node), name];
    // A single text was read as a list of one.
    if (name === "when" && !Array.isArray(value)) return base;
    return mergedFields.has(name) && rest.length > 0
      ? [...base, inner, ...rest.slice(1)]
      : [...base, ...rest];
  }

  edge(index: number): PathSegment[] {
    this.#edges ??= this.#origins.flatMap(({ raw }, node) => {
      const needs = isMapping(raw) ? raw.needs : undefined;
      const place = [...this.node(node), "needs"];
      if (typeof needs === "string") return [place];
      return Array.isArray(needs) ? needs.map((_, i): PathSegment[] => [...place, i]) : [];
    });
    return this.#edges[index] ?? ["tasks"];
  }
}

function runPlace(task: Mapping, rest: readonly PathSegment[]): PathSegment[] {
  if (task.command !== undefined) return ["command", ...rest.slice(1)];
  if (task.shell !== undefined) return ["shell"];
  const kind = (["python", "node", "code"] as const).find((name) => task[name] !== undefined);
  if (kind === undefined) return ["command"];
  return isMapping(task[kind]) ? [kind, ...rest] : [kind];
}

function hasOwn(value: unknown, name: string): boolean {
  return isMapping(value) && Object.hasOwn(value, name);
}
