// Templates inside of JSON values: the arguments of a function task. Parsed once, evaluated many
// times. Names of members are never templates.
import type { Json } from "./json.ts";
import {
  asPath,
  type CompiledTemplate,
  compileTemplate,
  type Evaluation,
  evaluate,
  isConstant,
  type ResultPath,
  type TemplateScope,
} from "./template.ts";

export type CompiledValue =
  | { kind: "constant"; value: Json }
  | { kind: "template"; template: CompiledTemplate; path?: ResultPath }
  | { kind: "list"; entries: CompiledValue[] }
  | { kind: "mapping"; entries: [string, CompiledValue][] };

/** `value` comes from a validated document; a template in it that does not parse is a bug. */
export function compileValue(value: Json): CompiledValue {
  if (typeof value === "string") {
    if (!value.includes("{{")) return { kind: "constant", value };
    const compiled = compileTemplate(value);
    if (!compiled.ok) throw new Error(`a template passed validation: ${value.slice(0, 200)}`);
    if (isConstant(compiled.value)) return { kind: "constant", value };
    const path = asPath(compiled.value);
    return { kind: "template", template: compiled.value, ...(path === undefined ? {} : { path }) };
  }
  if (value === null || typeof value !== "object") return { kind: "constant", value };
  if (Array.isArray(value)) {
    const entries = value.map(compileValue);
    return entries.every(isKept) ? { kind: "constant", value } : { kind: "list", entries };
  }
  const entries = Object.entries(value).map(([k, v]): [string, CompiledValue] => [
    k,
    compileValue(v),
  ]);
  return entries.every(([, entry]) => isKept(entry))
    ? { kind: "constant", value }
    : { kind: "mapping", entries };
}

/** What a reader of the value resolves by itself. */
export interface StandIns {
  /** Stands for a path into a result, so that the value is not copied; undefined: evaluate it. */
  refer(path: ResultPath): Json | undefined;
  /** Marks what a template gave, so that data can never be taken for a stand-in. */
  escape(value: Json): Json;
}

/** The value with all templates evaluated. Constants in it are given as they are. */
export function evaluateValue(
  value: CompiledValue,
  scope: TemplateScope,
  standIns?: StandIns,
): Evaluation<Json> {
  if (value.kind === "constant") return { ok: true, value: value.value };
  if (value.kind === "template") {
    const reference = value.path === undefined ? undefined : standIns?.refer(value.path);
    if (reference !== undefined) return { ok: true, value: reference };
    const evaluated = evaluate(value.template, scope);
    return !evaluated.ok || standIns === undefined
      ? evaluated
      : { ok: true, value: standIns.escape(evaluated.value) };
  }
  if (value.kind === "list") {
    const list: Json[] = [];
    for (const entry of value.entries) {
      const evaluated = evaluateValue(entry, scope, standIns);
      if (!evaluated.ok) return evaluated;
      list.push(evaluated.value);
    }
    return { ok: true, value: list };
  }
  const mapping: [string, Json][] = [];
  for (const [name, entry] of value.entries) {
    const evaluated = evaluateValue(entry, scope, standIns);
    if (!evaluated.ok) return { ok: false, detail: `${name}: ${evaluated.detail}` };
    mapping.push([name, evaluated.value]);
  }
  return { ok: true, value: Object.fromEntries(mapping) };
}

function isKept(value: CompiledValue): boolean {
  return value.kind === "constant";
}
