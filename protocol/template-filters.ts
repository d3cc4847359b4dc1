// The filters of `{{ }}` templates: pure functions from JSON to JSON. They look only at own
// members, never at prototypes, and answer with a `Problem` instead of throwing.
import { canonicalJson } from "./canonical.ts";
import type { Json } from "./json.ts";

const maxDetailLength = 1000;

/** Why a template has no value. `isMissing`: a member is not there, which `default` forgives. */
export class Problem {
  readonly detail: string;
  readonly isMissing: boolean;
  constructor(detail: string, isMissing = false) {
    // Names in it may be as long as the document.
    this.detail =
      detail.length > maxDetailLength ? `${detail.slice(0, maxDetailLength - 3)}...` : detail;
    this.isMissing = isMissing;
  }
}

export interface Filter {
  /** Fewest and most arguments. */
  args: readonly [number, number];
  example: string;
  /** One line for the reference. */
  does: string;
  apply(value: Json, args: readonly Json[]): Json | Problem;
}

/** Longest text that an evaluation makes, in UTF-16 code units. */
export const maxOutputLength = 16 * 1024 * 1024;

export function kindOf(value: Json): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "list";
  return { object: "mapping", string: "text", number: "number", boolean: "boolean" }[
    typeof value as "object" | "string" | "number" | "boolean"
  ];
}

/** How a value looks inside a text: texts as they are, everything else as JSON. */
export function textOf(value: Json): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** What `when` and `not` ask. Empty texts, lists, mappings and the text `false` are not true. */
export function isTruthy(value: Json): boolean {
  return !isEmpty(value) && value !== false && value !== 0 && value !== "false";
}

/** The own member, or a `Problem` that is missing. Lists have indexes only. */
export function memberOf(value: Json, member: string | number, of: string): Json | Problem {
  if (Array.isArray(value)) {
    const index = typeof member === "string" && /^\d{1,15}$/.test(member) ? Number(member) : member;
    const found = typeof index === "number" ? value[index] : undefined;
    return found === undefined
      ? new Problem(`${of} is a list of ${value.length} and has no \`${member}\``, true)
      : found;
  }
  if (value !== null && typeof value === "object") {
    const found = Object.hasOwn(value, member) ? value[member] : undefined;
    return found === undefined ? new Problem(`${of} has no member \`${member}\``, true) : found;
  }
  return new Problem(`${of} is a ${kindOf(value)} and has no member \`${member}\``, true);
}

function isEmpty(value: Json): boolean {
  if (value === null || value === "") return true;
  if (typeof value !== "object") return false;
  return Array.isArray(value) ? value.length === 0 : Object.keys(value).length === 0;
}

function isMapping(value: Json): value is { [key: string]: Json } {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

function wrong(filter: string, value: Json, wanted: string): Problem {
  return new Problem(`filter \`${filter}\` takes ${wanted}, not a ${kindOf(value)}`);
}

function isEqual(a: Json, b: Json): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object") return false;
  return canonicalJson(a) === canonicalJson(b);
}

function onText(does: string, name: string, change: (text: string) => string): [string, Filter] {
  const apply = (value: Json) =>
    typeof value === "string" ? change(value) : wrong(name, value, "a text");
  return [name, { args: [0, 0], example: `item | ${name}`, does, apply }];
}

function comparison(
  name: string,
  does: string,
  holds: (order: number) => boolean,
): [string, Filter] {
  const apply = (value: Json, [other = null]: readonly Json[]) => {
    if (typeof value === "number" && typeof other === "number") return holds(value - other);
    if (typeof value === "string" && typeof other === "string") {
      return holds(value < other ? -1 : value > other ? 1 : 0);
    }
    return new Problem(
      `filter \`${name}\` compares two numbers or two texts, not a ${kindOf(value)} and a ${kindOf(other)}`,
    );
  };
  return [name, { args: [1, 1], example: `item.size | ${name}(10)`, does, apply }];
}

function toInt(value: Json): Json | Problem {
  const number = toFloat(value);
  return typeof number === "number" ? Math.trunc(number) + 0 : number;
}

function toFloat(value: Json): Json | Problem {
  if (typeof value === "number") return value;
  if (typeof value === "boolean") return value ? 1 : 0;
  const isNumeral =
    typeof value === "string" && /^\s*[+-]?\d+(\.\d+)?([eE][+-]?\d+)?\s*$/.test(value);
  const number = isNumeral ? Number(value) : Number.NaN;
  return Number.isFinite(number)
    ? number
    : new Problem(`${JSON.stringify(textOf(value).slice(0, 40))} is not a number`);
}

function sorted(value: Json): Json | Problem {
  if (!Array.isArray(value)) return wrong("sort", value, "a list");
  const numbers = value.filter((entry) => typeof entry === "number");
  if (numbers.length === value.length) return numbers.sort((a, b) => a - b);
  const texts = value.filter((entry) => typeof entry === "string");
  if (texts.length === value.length) return texts.sort();
  return new Problem("filter `sort` takes a list of numbers or a list of texts");
}

function end(name: "first" | "last"): [string, Filter] {
  const apply = (value: Json) => {
    const isText = typeof value === "string";
    if (!isText && !Array.isArray(value)) return wrong(name, value, "a list or a text");
    const entries: Json[] = isText ? [...value] : value;
    const found = entries.at(name === "first" ? 0 : -1);
    return found === undefined ? new Problem(`filter \`${name}\` got an empty list`, true) : found;
  };
  const does = `the ${name} entry of a list or character of a text`;
  return [name, { args: [0, 0], example: `item | ${name}`, does, apply }];
}

function filter(
  name: string,
  example: string,
  does: string,
  args: readonly [number, number],
  apply: Filter["apply"],
): [string, Filter] {
  return [name, { args, example, does, apply }];
}

/** In the order of the reference. `default` gets its input's problem in `template.ts`. */
export const templateFilters: ReadonlyMap<string, Filter> = new Map([
  filter(
    "default",
    'params.city | default("Oslo")',
    "the argument, when the value is missing or null",
    [1, 1],
    (value, [other = null]) => (value === null ? other : value),
  ),
  filter("json", "item | json", "the value as JSON text", [0, 0], (v) => JSON.stringify(v)),
  filter("length", "item | length", "how many entries or characters", [0, 0], (value) => {
    if (typeof value === "string") return [...value].length;
    if (Array.isArray(value)) return value.length;
    return isMapping(value) ? Object.keys(value).length : wrong("length", value, "a list or text");
  }),
  filter("join", 'item | join(" ")', "a list as one text", [0, 1], (value, [separator = ","]) => {
    if (!Array.isArray(value)) return wrong("join", value, "a list");
    if (typeof separator !== "string") return wrong("join", separator, "a text as separator");
    return value.map(textOf).join(separator);
  }),
  end("first"),
  end("last"),
  onText("in capitals", "upper", (text) => text.toUpperCase()),
  onText("in small letters", "lower", (text) => text.toLowerCase()),
  onText("without white space at both ends", "trim", (text) => text.trim()),
  filter("keys", "item | keys", "the names of a mapping", [0, 0], (value) =>
    isMapping(value) ? Object.keys(value) : wrong("keys", value, "a mapping"),
  ),
  filter("values", "item | values", "the values of a mapping", [0, 0], (value) =>
    isMapping(value) ? Object.values(value) : wrong("values", value, "a mapping"),
  ),
  filter("int", "env.COUNT | int", "a whole number, cut towards 0", [0, 0], toInt),
  filter("float", "env.SHARE | float", "a number", [0, 0], toFloat),
  filter("string", "item | string", "the value as text", [0, 0], textOf),
  filter("sort", "item | sort", "a list of numbers or of texts in order", [0, 0], sorted),
  filter("unique", "item | unique", "a list without repetitions", [0, 0], (value) =>
    Array.isArray(value)
      ? [...new Map(value.map((entry) => [canonicalJson(entry), entry])).values()]
      : wrong("unique", value, "a list"),
  ),
  filter("reverse", "item | reverse", "a list or text backwards", [0, 0], (value) => {
    if (Array.isArray(value)) return value.toReversed();
    if (typeof value === "string") return [...value].reverse().join("");
    return wrong("reverse", value, "a list or text");
  }),
  filter("get", 'item | get("name")', "the member of that name or index", [1, 1], (v, [key]) =>
    typeof key === "string" || typeof key === "number"
      ? memberOf(v, key, "the value")
      : wrong("get", key ?? null, "a name or an index"),
  ),
  filter("eq", 'needs.a.outcome | eq("failed")', "equal", [1, 1], (value, [other = null]) =>
    isEqual(value, other),
  ),
  filter(
    "ne",
    'params.mode | ne("dry")',
    "not equal",
    [1, 1],
    (value, [other = null]) => !isEqual(value, other),
  ),
  comparison("gt", "greater than", (order) => order > 0),
  comparison("ge", "greater or equal", (order) => order >= 0),
  comparison("lt", "less than", (order) => order < 0),
  comparison("le", "less or equal", (order) => order <= 0),
  filter("not", "params.dry | not", "true becomes false and false true", [0, 0], (value) => {
    return !isTruthy(value);
  }),
  filter("contains", 'item | contains("x")', "has the entry, name or text", [1, 1], (v, [x]) => {
    if (Array.isArray(v)) return v.some((entry) => isEqual(entry, x ?? null));
    if (typeof x !== "string") return wrong("contains", x ?? null, "a text as argument");
    if (typeof v === "string") return v.includes(x);
    return isMapping(v) ? Object.hasOwn(v, x) : wrong("contains", v, "a list, mapping or text");
  }),
  filter("empty", "item | empty", "null, or without entries or characters", [0, 0], isEmpty),
]);
