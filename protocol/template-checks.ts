// Checks of everything in a document that names something else: templates, pools. A template may
// read only what is known in its place, so that a run never fails on a name that was misspelt.
import type { TaskAttributes } from "./dag.ts";
import type { Draft } from "./draft.ts";
import { type Findings, type PathSegment, pathText } from "./findings.ts";
import { isNeeded, isWorthComparing, type Wiring } from "./graph-checks.ts";
import type { Json } from "./json.ts";
import { didYouMean } from "./nearest.ts";
import {
  type CompiledTemplate,
  compileShell,
  compileTemplate,
  isWholeExpression,
  references,
} from "./template.ts";

/** Where a template stands decides what it may read. */
type Place = "attempt" | "when" | "map" | "constant";

export function checkNames(draft: Draft, wiring: Wiring, findings: Findings): void {
  const { document, places } = draft;
  const { params = {}, pools = {} } = document.attributes;
  const compiled = new Map<string, ReturnType<typeof compileTemplate>>();

  for (const [node, { key, attributes }] of document.nodes.entries()) {
    if (findings.isFull) return;
    if (attributes.pool !== undefined && !Object.hasOwn(pools, attributes.pool)) {
      const remedy = didYouMean(
        attributes.pool,
        Object.keys(pools),
        `Declare it: pools: { ${attributes.pool}: 1 }.`,
      );
      const message = `There is no pool \`${attributes.pool}\`.`;
      findings.add("E_DAG_POOL", at(["pool"]), message, remedy);
    }
    for (const { text, field, place, isShell } of templatesOf(attributes)) {
      check(text, field, place, isShell === true);
    }
    if (typeof attributes.map === "string" && !attributes.map.includes("{{")) {
      mustBeWhole(["map"]);
    }

    function at(field: readonly PathSegment[]): string {
      return pathText(places.field(node, field));
    }

    function mustBeWhole(field: PathSegment[]): void {
      const message = "`map` must be a list, or one template that gives a list.";
      findings.add("E_DAG_TEMPLATE", at(field), message, "Write `{{ needs.<task>.result }}`.");
    }

    function check(text: string, field: PathSegment[], place: Place, isShell: boolean): void {
      const result = isShell ? compileShell(text) : compileOnce(text);
      if (!result.ok) {
        for (const { message, remedy } of result.diagnostics) {
          findings.add("E_DAG_TEMPLATE", at(field), message, remedy);
        }
        return;
      }
      if (place === "constant") {
        const message = "Templates are not evaluated here.";
        findings.add("E_DAG_TEMPLATE", at(field), message, "Write the text without `{{ }}`.");
        return;
      }
      const template = result.value;
      if (place === "map" && template.kind === "text" && !isWholeExpression(template)) {
        mustBeWhole(field);
      }
      checkReferences(template, field, place);
    }

    function checkReferences(
      template: CompiledTemplate<"text" | "shell">,
      field: PathSegment[],
      place: Place,
    ): void {
      const read = references(template);
      const add = (message: string, remedy: string) =>
        findings.add("E_DAG_TEMPLATE", at(field), message, remedy);
      for (const task of read.needs) checkNeed(task, add);
      for (const name of read.params) {
        if (Object.hasOwn(params, name)) continue;
        const known = Object.keys(params);
        const remedy = didYouMean(
          name,
          known,
          `Declare it with its default: params: { ${name}: null }.`,
        );
        add(`There is no parameter \`${name}\`.`, remedy);
      }
      for (const other of read.others) {
        if (other === "item" || other === "index") {
          if (attributes.map === undefined) {
            add(`\`${other}\` is known only in tasks with \`map\`.`, "Add `map`.");
          } else if (place !== "attempt") {
            add(
              `\`${other}\` is not known in \`${place}\`.`,
              "`when` and `map` are asked once, before the fan-out.",
            );
          }
        } else if (other === "task.attempt" && place !== "attempt") {
          add(
            `\`${other}\` is not known in \`${place}\`.`,
            "`when` and `map` are asked before the first attempt.",
          );
        } else if (
          (other === "run.outcome" || other === "run.failed") &&
          attributes.exit === undefined
        ) {
          add(`\`${other}\` is known only in exit handlers.`, "Move the task to `exit`.");
        }
      }
    }

    function checkNeed(task: string, add: (message: string, remedy: string) => void): void {
      const source = wiring.indexes.get(task);
      if (source !== undefined && isNeeded(wiring, node, source)) return;
      const other = source === undefined ? undefined : document.nodes[source]?.attributes;
      // Exit handlers start after all ordinary tasks, so they may read each of them.
      if (attributes.exit !== undefined && other !== undefined && other.exit === undefined) return;
      const shown = JSON.stringify(task.slice(0, 80));
      if (other !== undefined) {
        const message = `The template reads task ${shown}, which \`${key}\` does not need.`;
        add(message, `Add \`${task}\` to its \`needs\`.`);
      } else {
        const known = isWorthComparing(findings, wiring.indexes.size) ? wiring.indexes.keys() : [];
        const near = didYouMean(task, known, "Add the task.");
        add(`The template reads task ${shown}, which does not exist.`, near);
      }
    }
  }

  /** The same text often stands in many tasks. */
  function compileOnce(text: string): ReturnType<typeof compileTemplate> {
    const known = compiled.get(text);
    if (known !== undefined) return known;
    const result = compileTemplate(text);
    if (compiled.size < 500) compiled.set(text, result);
    return result;
  }
}

interface Found {
  text: string;
  field: PathSegment[];
  place: Place;
  isShell?: true;
}

/** Every text with `{{` in it. Nothing is allocated for tasks without any. */
function templatesOf(task: TaskAttributes): Found[] {
  const found: Found[] = [];
  const { run } = task;
  if (run.kind === "shell") {
    if (run.script.includes("{{")) {
      found.push({ text: run.script, field: ["run", "script"], place: "attempt", isShell: true });
    }
  } else if (run.kind === "command") list(run.argv, "attempt", "run", "argv");
  else if (run.kind === "code") list(run.args, "attempt", "run", "args");
  if (task.args !== undefined && hasTemplate(task.args)) json(task.args, ["args"]);
  if (task.env !== undefined) {
    for (const name in task.env) one(task.env[name] ?? "", ["env", name], "attempt");
  }
  if (task.stdin !== undefined) one(task.stdin, ["stdin"], "attempt");
  if (task.inputs !== undefined) {
    for (const path in task.inputs) {
      one(path, ["inputs", path], "constant");
      one(task.inputs[path] ?? "", ["inputs", path], "attempt");
    }
  }
  for (const [i, { source, target }] of task.sandbox?.mounts?.entries() ?? []) {
    one(source, ["sandbox", "mounts", i, "source"], "constant");
    one(target, ["sandbox", "mounts", i, "target"], "constant");
  }
  if (task.when !== undefined) list(task.when, "when", "when");
  if (typeof task.map === "string") one(task.map, ["map"], "map");
  else if (task.map !== undefined && hasTemplate(task.map)) json(task.map, ["map"], "constant");
  if (task.outputs !== undefined) list(task.outputs, "constant", "outputs");
  if (task.waitFor !== undefined) one(task.waitFor.event, ["waitFor", "event"], "constant");
  return found;

  function one(text: string, field: PathSegment[], place: Place): void {
    if (text.includes("{{")) found.push({ text, field, place });
  }
  function list(texts: readonly string[], place: Place, ...field: PathSegment[]): void {
    for (let i = 0; i < texts.length; i++) {
      const text = texts[i] ?? "";
      if (text.includes("{{")) found.push({ text, field: [...field, i], place });
    }
  }
  function json(value: Json, field: PathSegment[], place: Place = "attempt"): void {
    if (typeof value === "string") one(value, field, place);
    else if (Array.isArray(value))
      for (const [i, v] of value.entries()) json(v, [...field, i], place);
    else if (value !== null && typeof value === "object") {
      for (const name of Object.keys(value)) json(value[name] ?? null, [...field, name], place);
    }
  }
}

/** Asked first, because writing down paths costs more than looking. */
function hasTemplate(value: Json): boolean {
  if (typeof value === "string") return value.includes("{{");
  if (value === null || typeof value !== "object") return false;
  if (Array.isArray(value)) return value.some(hasTemplate);
  for (const name in value) if (hasTemplate(value[name] ?? null)) return true;
  return false;
}
