// Turns what zod finds in bad input into diagnostics with our codes, sentences and remedies.
// Loaded only when input is not surely valid, because zod is heavy to load.
import type * as core from "zod/v4/core";
import { type DagCode, isDagCode } from "./codes.ts";
import { type Findings, type PathSegment, pathText } from "./findings.ts";
import type { Json } from "./json.ts";
import { didYouMean } from "./nearest.ts";
import { kindOf } from "./template-filters.ts";

export interface Explanation<T> {
  /** What zod made of the value, with defaults; undefined when there was a finding. */
  value: T | undefined;
  /** First path segments below the value that are bad; the empty text: the value itself. */
  bad: ReadonlySet<PathSegment>;
}

interface Schema<T> extends core.$ZodType<T> {
  safeParse(value: unknown): { success: boolean; data?: T; error?: { issues: core.$ZodIssue[] } };
}

/** `base` is the path of `value` in the document. */
export function explain<T>(
  schema: Schema<T>,
  value: unknown,
  base: readonly PathSegment[],
  findings: Findings,
): Explanation<T> {
  const parsed = schema.safeParse(value);
  const bad = new Set<PathSegment>();
  for (const issue of parsed.error?.issues ?? []) explainIssue(issue, [], bad);
  return { value: parsed.success ? parsed.data : undefined, bad };

  function explainIssue(issue: core.$ZodIssue, above: PathSegment[], into: Set<PathSegment>): void {
    const path = [...above, ...issue.path.map(segment)];
    if (issue.code === "invalid_union") {
      const chosen = likelyOption(issue);
      if (chosen !== undefined) {
        for (const inner of chosen) explainIssue(inner, path, into);
        return;
      }
    }
    if (issue.code === "unrecognized_keys") {
      for (const key of issue.keys) {
        into.add(path[0] ?? key);
        explainKey(key, path);
      }
      return;
    }
    if (issue.code === "invalid_key") {
      const key = String(path.at(-1));
      into.add(path[0] ?? "");
      for (const inner of issue.issues) add(inner, path, `The name \`${key.slice(0, 80)}\``);
      return;
    }
    into.add(path[0] ?? "");
    add(issue, path, undefined);
  }

  function explainKey(key: string, path: PathSegment[]): void {
    const known = knownFields(schema, path);
    const where = [...base, ...path, key];
    const otherwise = known.length === 0 ? "Remove it." : `Known here: ${known.join(", ")}.`;
    const remedy = didYouMean(key, known, otherwise);
    findings.add(
      "E_DAG_FIELD",
      pathText(where),
      `There is no field ${JSON.stringify(key)} here.`,
      remedy,
    );
  }

  function add(issue: core.$ZodIssue, path: PathSegment[], subject: string | undefined): void {
    const where = pathText([...base, ...path]);
    const found = memberAt(value, path);
    const name = subject ?? (where === "" ? "The document" : `\`${lastName([...base, ...path])}\``);
    if (issue.code === "custom" && isDagCode(issue.params?.code)) {
      const shown = subject === undefined ? ` (${shownValue(found)})` : "";
      findings.add(
        issue.params.code,
        where,
        `${name} ${issue.message}${shown}.`,
        String(issue.params.remedy),
      );
      return;
    }
    const { code, message } = describe(issue, found, String(path.at(-1) ?? base.at(-1) ?? ""));
    findings.add(code, where, `${name} ${message}.`, remedyOf(issue, path, found));
  }

  /** The example of the field, or of the nearest field around it. */
  function exampleNear(path: PathSegment[]): string | undefined {
    for (let length = path.length; length >= 0; length--) {
      const example = exampleAt(schema, path.slice(0, length));
      if (example === undefined) continue;
      const name = lastName([...base, ...path.slice(0, length)]);
      return `For example \`${name}: ${JSON.stringify(example)}\`.`;
    }
    return undefined;
  }

  function remedyOf(issue: core.$ZodIssue, path: PathSegment[], found: unknown): string {
    const last = path.at(-1) ?? base.at(-1);
    if (last === "command" && typeof found === "string") {
      const words = found.split(/\s+/).filter((word) => word !== "");
      return `Write it as a list of words, ${JSON.stringify(words.slice(0, 20))}, or use \`shell\`.`;
    }
    const otherwise = exampleNear(path) ?? "Correct the value.";
    if (issue.code !== "invalid_value") return otherwise;
    const known = issue.values.map(String);
    const otherwiseKnown = `Known: ${known.join(", ")}.`;
    // Anything may be there, also an object with a member `toString`, of which String() throws.
    return typeof found === "string" ? didYouMean(found, known, otherwiseKnown) : otherwiseKnown;
  }
}

function segment(key: PropertyKey): PathSegment {
  return typeof key === "symbol" ? key.toString() : key;
}

/** Of a union, the option that has the right type at its top, or the one with fewest issues. */
function likelyOption(issue: core.$ZodIssueInvalidUnion): core.$ZodIssue[] | undefined {
  const isWrongType = (inner: core.$ZodIssue) =>
    inner.path.length === 0 && (inner.code === "invalid_type" || inner.code === "invalid_union");
  const options = issue.errors.filter((issues) => issues.length > 0 && !issues.some(isWrongType));
  return options.sort((a, b) => a.length - b.length)[0];
}

const typeNames: { readonly [expected: string]: string } = {
  string: "a text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "a mapping",
  record: "a mapping",
};

function describe(
  issue: core.$ZodIssue,
  found: unknown,
  field: string,
): { code: DagCode; message: string } {
  if (found === undefined) return { code: "E_DAG_REQUIRED", message: "is missing" };
  const shown = shownValue(found);
  switch (issue.code) {
    case "invalid_type": {
      const wanted = typeNames[issue.expected] ?? issue.expected;
      return { code: "E_DAG_TYPE", message: `must be ${wanted}, but is ${shown}` };
    }
    case "invalid_union":
      return { code: "E_DAG_TYPE", message: `has the wrong type: it is ${shown}` };
    case "too_small":
    case "too_big": {
      const isList = Array.isArray(found);
      if (isList) return { code: "E_DAG_REQUIRED", message: "is an empty list" };
      const small = issue.code === "too_small";
      const bound = small ? issue.minimum : issue.maximum;
      const word = small ? (issue.inclusive ? "at least" : "more than") : "at most";
      return { code: "E_DAG_RANGE", message: `must be ${word} ${bound}, but is ${shown}` };
    }
    case "invalid_value": {
      const known = issue.values.map(String).join(", ");
      const message = `must be one of ${known}, but is ${shown}`;
      if (field === "isolation") return { code: "E_DAG_ISOLATION", message };
      if (field === "edgedag") return { code: "E_DAG_VERSION", message };
      return { code: "E_DAG_TYPE", message };
    }
    default:
      return { code: "E_DAG_TYPE", message: `is not as expected (${issue.message}): ${shown}` };
  }
}

/** The value itself when it is short, else its kind. */
function shownValue(value: unknown): string {
  if (value === undefined) return "missing";
  if (typeof value === "object" && value !== null)
    return Array.isArray(value) ? "a list" : "a mapping";
  // What is not an object came out of a parser of JSON or YAML.
  const text = JSON.stringify(value) ?? String(value);
  return text.length <= 60 ? text : `a long ${kindOf(value as Json)}`;
}

function lastName(path: readonly PathSegment[]): string {
  const from = path.findLastIndex((entry) => typeof entry === "string");
  return pathText(path.slice(Math.max(0, from)));
}

function memberAt(value: unknown, path: readonly PathSegment[]): unknown {
  let found = value;
  for (const key of path) {
    if (found === null || typeof found !== "object" || !Object.hasOwn(found, key)) return undefined;
    found = Reflect.get(found, key);
  }
  return found;
}

/** The parts of zod's definitions that lead from a schema to the schemas of its members. */
interface Definition {
  shape?: { [name: string]: core.$ZodType };
  element?: core.$ZodType;
  valueType?: core.$ZodType;
  innerType?: core.$ZodType;
  options?: core.$ZodType[];
}

/** All schemas that may describe what is at `path`; outermost first. */
function schemasAt(schema: core.$ZodType, path: readonly PathSegment[]): core.$ZodType[] {
  // zod's public introspection: every schema has its definition there.
  const definition = schema._zod.def as Definition;
  const inner = [
    ...(definition.innerType ? [definition.innerType] : []),
    ...(definition.options ?? []),
  ];
  const [key, ...rest] = path;
  if (key === undefined) return [schema, ...inner.flatMap((option) => schemasAt(option, path))];
  const shape = definition.shape;
  const member = shape !== undefined && Object.hasOwn(shape, key) ? shape[key] : undefined;
  const next = member ?? definition.element ?? definition.valueType;
  const below = next === undefined ? [] : schemasAt(next, rest);
  return [...below, ...inner.flatMap((option) => schemasAt(option, path))];
}

function knownFields(schema: core.$ZodType, path: readonly PathSegment[]): string[] {
  const names = schemasAt(schema, path).flatMap((found) =>
    Object.keys((found._zod.def as Definition).shape ?? {}),
  );
  return [...new Set(names)];
}

/** The example of the outermost schema for `path` that has one. */
function exampleAt(schema: core.$ZodType, path: readonly PathSegment[]): unknown {
  for (const found of schemasAt(schema, path)) {
    if (!("meta" in found) || typeof found.meta !== "function") continue;
    const meta: unknown = found.meta();
    if (meta === undefined || meta === null || typeof meta !== "object") continue;
    const examples: unknown = Reflect.get(meta, "examples");
    if (Array.isArray(examples) && examples.length > 0) return examples[0];
  }
  return undefined;
}
