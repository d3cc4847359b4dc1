// Reads a serialized document that is not surely valid: completes what programs leave out,
// explains what is wrong, and repairs it so far that the later checks can run too.
import {
  isDagAttributes,
  isEdge,
  isMapping,
  isNode,
  isTaskAttributes,
  type Mapping,
  makeDocument,
} from "./check-graph.ts";
import { type DagAttributes, type DagDocument, dagVersion, type TaskAttributes } from "./dag.ts";
import { retryDefaults, taskDefaults } from "./defaults.ts";
import { type Draft, graphPlaces } from "./draft.ts";
import { explain } from "./explain.ts";
import type { Findings, PathSegment } from "./findings.ts";
import { graphEdge, graphHead, graphNode, graphTask } from "./schema-graph.ts";

/** `value` must be sanitized. */
export function explainGraph(value: Mapping, findings: Findings): Draft {
  const head = explain(graphHead, value, [], findings);
  const nodes: DagDocument["nodes"] = [];
  for (const [i, node] of listOf(value.nodes, "nodes", findings).entries()) {
    // An index in the list is an index in paths, so every node gives one, however bad.
    nodes.push(isNode(node) ? node : completeNode(node, i, findings));
  }
  const edges: DagDocument["edges"] = [];
  for (const [i, edge] of listOf(value.edges, "edges", findings).entries()) {
    const found = isEdge(edge) ? edge : explain(graphEdge, edge, ["edges", i], findings).value;
    const { source = "", target = "", attributes = { on: "success" } } = found ?? {};
    edges.push({ source, target, attributes });
  }
  const attributes: DagAttributes = isDagAttributes(value.attributes)
    ? value.attributes
    : { edgedag: dagVersion, dag: "unknown", ...knownNames(value.attributes) };
  if (head.value === undefined && findings.isEmpty) throw new Error("head refused without finding");
  return { document: makeDocument(attributes, nodes, edges), places: graphPlaces };
}

function listOf(value: unknown, name: "nodes" | "edges", findings: Findings): unknown[] {
  if (Array.isArray(value)) return value;
  const message = `\`${name}\` must be a list.`;
  findings.add("E_DAG_TYPE", name, message, `Write "${name}": [...].`);
  return [];
}

/** Names that tasks refer to, so that a broken head does not make every task wrong. */
export function knownNames(attributes: unknown): Pick<DagAttributes, "params" | "pools"> {
  const names = (field: unknown) =>
    Object.fromEntries(Object.keys(isMapping(field) ? field : {}).map((name) => [name, 1]));
  if (!isMapping(attributes)) return {};
  return { params: names(attributes.params), pools: names(attributes.pools) };
}

function completeNode(
  node: unknown,
  index: number,
  findings: Findings,
): DagDocument["nodes"][number] {
  const place = ["nodes", index];
  explain(graphNode, node, place, findings);
  const raw = isMapping(node) ? node : {};
  const key = typeof raw.key === "string" ? raw.key : "";
  return {
    key,
    attributes: completeTask(raw.attributes ?? {}, [...place, "attributes"], findings),
  };
}

function completeTask(
  raw: unknown,
  place: readonly PathSegment[],
  findings: Findings,
): TaskAttributes {
  const { value, bad } = explain(graphTask, raw, place, findings);
  const isRunClear = explainRun(isMapping(raw) ? raw.run : undefined, place, findings);
  if (isTaskAttributes(value)) return value;
  if (value !== undefined && isRunClear) throw new Error("the check and the schema disagree");
  const kept = Object.entries(isMapping(raw) ? raw : {}).filter(
    ([name]) => !bad.has(name) && (name !== "run" || isRunClear),
  );
  // The tightest stands in for one that cannot be read: nothing is then refused because of it.
  const isolation = bad.has("isolation") ? { isolation: "gvisor" } : {};
  const repaired = graphTask.safeParse({
    run: placeholder,
    ...isolation,
    ...Object.fromEntries(kept),
  }).data;
  return isTaskAttributes(repaired) ? repaired : placeholderTask;
}

/** Of `file` and `code` exactly one: zod has no short word for it. */
function explainRun(run: unknown, place: readonly PathSegment[], findings: Findings): boolean {
  if (!isMapping(run)) return true;
  if (run.kind !== "python" && run.kind !== "node" && run.kind !== "code") return true;
  if ((run.file === undefined) !== (run.code === undefined)) return true;
  findings.add(
    "E_DAG_RUN",
    `${place[0]}[${place[1]}].attributes.run`,
    run.file === undefined ? "The task names no code." : "The task has both a file and code.",
    "Give either `file` or `code`.",
  );
  return false;
}

/** Stands in for what cannot be read, only so that other checks can go on. */
export const placeholder = { kind: "command" as const, argv: ["true"] };
export const placeholderTask: TaskAttributes = {
  run: placeholder,
  ...taskDefaults,
  retries: retryDefaults,
};
