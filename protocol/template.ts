// `{{ }}` templates: data access with a few pure filters, not a language. Parsed once, evaluated
// many times. Never throws, never evaluates code, never looks at prototypes. A value that is
// missing is a problem, never the text "undefined".
import type { Result } from "./diagnostic.ts";
import { refuse } from "./findings.ts";
import type { Json } from "./json.ts";
import { shellPlaceProblem, templateMark } from "./shell-context.ts";
import {
  isTruthy,
  maxOutputLength,
  memberOf,
  Problem,
  templateFilters,
  textOf,
} from "./template-filters.ts";
import { type Expression, parseTemplate, type TemplatePart } from "./template-parse.ts";

export { isTruthy };

/** Immutable; may be kept and shared. `kind` keeps scripts and other texts apart. */
export interface CompiledTemplate<Kind extends "text" | "shell" = "text"> {
  readonly kind: Kind;
  readonly parts: readonly TemplatePart[];
}

/** What templates can read. What is absent is missing in the sense of the filter `default`. */
export interface TemplateScope {
  /** Asked for each `needs.<task>`; undefined: there is no such task in reach. */
  need?(task: string): { outcome: string; result?: Json } | undefined;
  env?: { readonly [name: string]: string | undefined };
  params?: { readonly [name: string]: Json };
  item?: Json | undefined;
  index?: number | undefined;
  run?: { id: string; outcome?: string; failed?: string[] };
  task?: { id: string; attempt?: number };
  dag?: { name: string };
}

/** `detail` is a sentence without a full stop, for people. */
export type Evaluation<T extends Json> = { ok: true; value: T } | { ok: false; detail: string };

/** A place inside the result of a task that is needed: `needs.<task>.result` and `path` below it. */
export interface ResultPath {
  task: string;
  path: (string | number)[];
}

/** Diagnostics have the code `E_DAG_TEMPLATE` and an empty path. */
export function compileTemplate(text: string): Result<CompiledTemplate> {
  const parsed = parseTemplate(text);
  if (parsed.ok) return { ok: true, value: { kind: "text", parts: parsed.parts } };
  return refuse("E_DAG_TEMPLATE", "", parsed.problem.message, parsed.problem.remedy);
}

/** As `compileTemplate`; also refuses templates where a quoted word would not be one word. */
export function compileShell(text: string): Result<CompiledTemplate<"shell">> {
  const compiled = compileTemplate(text);
  if (!compiled.ok) return compiled;
  const { parts } = compiled.value;
  if (parts.every((part) => typeof part === "string")) {
    return { ok: true, value: { kind: "shell", parts } };
  }
  const remedy =
    'Write it without quotes around it, or put it into `env` of the task and use "$NAME".';
  if (text.includes("\0")) {
    return refuse("E_DAG_TEMPLATE", "", "The script holds a NUL character.", "Remove it.");
  }
  const script = parts.map((part) => (typeof part === "string" ? part : templateMark)).join("");
  const problem = shellPlaceProblem(script);
  if (problem === undefined) return { ok: true, value: { kind: "shell", parts } };
  const message = `A template in a shell script becomes one quoted word, which is not safe here: ${problem}.`;
  return refuse("E_DAG_TEMPLATE", "", message, remedy);
}

/** A template that is one whole expression keeps its JSON type; any other becomes text. */
export function evaluate(template: CompiledTemplate, scope: TemplateScope): Evaluation<Json> {
  const [only] = template.parts;
  if (template.parts.length !== 1 || only === undefined || typeof only === "string") {
    return evaluateText(template, scope);
  }
  return guarded(() => resolve(only, scope));
}

/** Always text: mappings and lists as JSON. */
export function evaluateText(template: CompiledTemplate, scope: TemplateScope): Evaluation<string> {
  return guarded(() => interpolate(template.parts, scope, (text) => text));
}

/** The script with every value as one word in single quotes. */
export function evaluateShell(
  template: CompiledTemplate<"shell">,
  scope: TemplateScope,
): Evaluation<string> {
  return guarded(() => interpolate(template.parts, scope, shellQuote));
}

/** One word for a POSIX shell, whatever the text is. A NUL character cannot be quoted. */
export function shellQuote(text: string): string | Problem {
  if (text.includes("\0")) return new Problem("a value for the shell holds a NUL character");
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** True when the template has no expression at all. */
export function isConstant(template: CompiledTemplate<"text" | "shell">): boolean {
  return template.parts.every((part) => typeof part === "string");
}

/** True when the template is one expression and nothing around it. */
export function isWholeExpression(template: CompiledTemplate): boolean {
  return template.parts.length === 1 && typeof template.parts[0] === "object";
}

/** `{task, path}` when the template is just a path into a result, so that it can be a reference. */
export function asPath(template: CompiledTemplate): ResultPath | undefined {
  const [only] = template.parts;
  if (template.parts.length !== 1 || typeof only !== "object") return undefined;
  if (only.kind !== "path" || only.root !== "needs") return undefined;
  const [task, kind, ...path] = only.members;
  return typeof task === "string" && kind === "result" ? { task, path } : undefined;
}

export interface References {
  /** Ids of the tasks whose outcome or result is read. */
  needs: Set<string>;
  /** Those of them whose result is read. */
  results: Set<string>;
  params: Set<string>;
  env: Set<string>;
  /** Other paths, as `item`, `index`, `run.outcome`, `task.attempt`. */
  others: Set<string>;
}

/** Everything that an evaluation of the template could read. */
export function references(template: CompiledTemplate<"text" | "shell">): References {
  const found: References = {
    needs: new Set(),
    results: new Set(),
    params: new Set(),
    env: new Set(),
    others: new Set(),
  };
  const visit = (expression: Expression): void => {
    if (expression.kind === "filter") {
      visit(expression.input);
      for (const arg of expression.args) visit(arg);
    }
    if (expression.kind !== "path") return;
    const { root, members } = expression;
    const name = String(members[0] ?? "");
    if (root === "needs") {
      found.needs.add(name);
      if (members[1] === "result") found.results.add(name);
    } else if (root === "params" || root === "env") found[root].add(name);
    else found.others.add(root === "item" || root === "index" ? root : `${root}.${name}`);
  };
  for (const part of template.parts) if (typeof part === "object") visit(part);
  return found;
}

/** Values of users can be nested so deeply that walking them exhausts the stack. */
function guarded<T extends Json>(run: () => T | Problem): Evaluation<T> {
  try {
    const value = run();
    return value instanceof Problem ? { ok: false, detail: value.detail } : { ok: true, value };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return { ok: false, detail: "a value is too large or nested too deeply" };
  }
}

function interpolate(
  parts: readonly TemplatePart[],
  scope: TemplateScope,
  quote: (text: string) => string | Problem,
): string | Problem {
  let output = "";
  for (const part of parts) {
    if (typeof part === "string") output += part;
    else {
      const value = resolve(part, scope);
      if (value instanceof Problem) return value;
      const text = quote(textOf(value));
      if (text instanceof Problem) return text;
      output += text;
    }
    if (output.length > maxOutputLength) return tooLong();
  }
  return output;
}

function tooLong(): Problem {
  return new Problem(`a template gives more than ${maxOutputLength} characters`);
}

function resolve(expression: Expression, scope: TemplateScope): Json | Problem {
  if (expression.kind === "literal") return expression.value;
  if (expression.kind === "path") return lookUp(expression, scope);
  const filter = templateFilters.get(expression.name);
  if (filter === undefined) throw new Error(`filter ${expression.name} passed the parser`);
  let input = resolve(expression.input, scope);
  if (input instanceof Problem) {
    if (expression.name !== "default" || !input.isMissing) return input;
    input = null;
  }
  // The argument of `default` may itself be missing where it is not asked for.
  if (expression.name === "default" && input !== null) return input;
  const args: Json[] = [];
  for (const arg of expression.args) {
    const value = resolve(arg, scope);
    if (value instanceof Problem) return value;
    args.push(value);
  }
  const output = filter.apply(input, args);
  if (typeof output === "string" && output.length > maxOutputLength) return tooLong();
  return output;
}

function lookUp(path: Expression & { kind: "path" }, scope: TemplateScope): Json | Problem {
  let members = path.members;
  let value: Json | undefined;
  let of: string = path.root;
  if (path.root === "needs") {
    const [task, kind] = members;
    const need = scope.need?.(String(task));
    value = kind === "outcome" ? need?.outcome : need?.result;
    of = `needs.${task}.${kind}`;
    members = members.slice(2);
  } else if (path.root === "item" || path.root === "index") value = scope[path.root];
  else {
    const name = String(members[0]);
    // Own properties of plain data: `env`, `params`, `run`, `task` or `dag` of the scope.
    const holder: object | undefined = scope[path.root];
    const own = holder !== undefined && Object.hasOwn(holder, name);
    value = own ? (Reflect.get(holder, name) as Json | undefined) : undefined;
    of = `${path.root}.${name}`;
    members = members.slice(1);
  }
  if (value === undefined) return new Problem(`\`${of}\` is not there`, true);
  for (const member of members) {
    const found = memberOf(value, member, `\`${of}\``);
    if (found instanceof Problem) return found;
    value = found;
    of += typeof member === "number" ? `[${member}]` : `.${member}`;
  }
  return value;
}
