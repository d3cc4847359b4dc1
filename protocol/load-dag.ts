// The entry for DAG documents: text or value in, normalized document or all diagnostics out.
// Good input never loads zod, and JSON never loads the YAML parser: a packed artifact starts in
// milliseconds. No I/O.
import { surelyAuthoring } from "./authoring.ts";
import { isMapping, surelyDocument } from "./check-graph.ts";
import type { DagDocument } from "./dag.ts";
import { parseText } from "./dag-text.ts";
import type { Result } from "./diagnostic.ts";
import { type Draft, graphPlaces } from "./draft.ts";
import { Findings, refuse } from "./findings.ts";
import { checkGraph } from "./graph-checks.ts";
import { checkTasks } from "./task-checks.ts";
import { checkNames } from "./template-checks.ts";

const maxTasks = 1_000_000;

/**
 * A document as text, YAML or JSON, in the authoring or the serialized form. `path` is only asked
 * for its extension: `.json` is never read as YAML.
 */
export async function parseDagText(
  text: string,
  options: { path?: string } = {},
): Promise<Result<DagDocument>> {
  const findings = new Findings();
  const parsed = await parseText(text, {
    isJson: options.path?.endsWith(".json") === true,
    findings,
  });
  return parsed === undefined
    ? { ok: false, diagnostics: findings.diagnostics() }
    : decode(parsed.value, findings);
}

/** A document as a value of JSON, in either form. */
export async function decodeDag(value: unknown): Promise<Result<DagDocument>> {
  return decode(value, new Findings());
}

async function decode(value: unknown, findings: Findings): Promise<Result<DagDocument>> {
  if (!isMapping(value)) {
    const remedy = "Begin with `dag: <name>` and `tasks:`; docs/dag.md shows the format.";
    return refuse("E_DAG_TYPE", "", "The document must be a mapping.", remedy);
  }
  const isGraph = Array.isArray(value.nodes) || Array.isArray(value.edges);
  const count = isGraph ? lengthOf(value.nodes) : lengthOf(value.tasks) + lengthOf(value.exit);
  if (count > maxTasks) {
    const message = `The document has ${count} tasks; at most ${maxTasks} are accepted.`;
    const remedy = "Use `map` for tasks that differ only in their input.";
    return refuse("E_DAG_LIMIT", isGraph ? "nodes" : "tasks", message, remedy);
  }
  const sure = isGraph ? surelyGraph(value) : surelyAuthoring(value);
  const draft = sure ?? (await explainDraft(value, isGraph, findings));
  const wiring = checkGraph(draft, findings);
  checkNames(draft, wiring, findings);
  checkTasks(draft, findings);
  return findings.result(draft.document);
}

function surelyGraph(value: unknown): Draft | undefined {
  const document = surelyDocument(value);
  return document === undefined ? undefined : { document, places: graphPlaces };
}

async function explainDraft(value: unknown, isGraph: boolean, findings: Findings): Promise<Draft> {
  const { sanitize } = await import("./sanitize.ts");
  const clean = sanitize(value, findings);
  if (!isMapping(clean)) throw new Error("sanitize gave no mapping for a mapping");
  if (isGraph) {
    const { explainGraph } = await import("./explain-graph.ts");
    return explainGraph(clean, findings);
  }
  const { explainAuthoring } = await import("./explain-authoring.ts");
  return explainAuthoring(clean, findings);
}

function lengthOf(value: unknown): number {
  if (Array.isArray(value)) return value.length;
  return isMapping(value) ? Object.keys(value).length : 0;
}
