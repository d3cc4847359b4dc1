// Configuration by environment variables from one table: a row is a name, a parser, a default and
// a sentence. Parsing, `--help` and the README all come from the rows. Pure: the environment and
// the reader of secret files are passed in.
import type { Diagnostic, Result } from "./diagnostic.ts";
import { quoted } from "./findings.ts";
import { nearest } from "./nearest.ts";
import { parseDuration, parseSize } from "./units.ts";

/** A reason may name what is wrong, and a value may be very long. */
const longestReason = 2000;

export type Parsed<T> = { value: T } | { wrong: string };

export interface EnvRow<T> {
  name: string;
  /** Gives the value, or a sentence that says what is wrong and what is right. */
  parse(text: string): Parsed<T>;
  /** Used when the variable is not set or empty. */
  fallback: T;
  /** How the default reads in help and README. */
  shown: string;
  about: string;
  /** All variables that begin with `name` belong to the row: a mapping from what follows. */
  isPrefix?: true;
  /** A secret is never printed, and may come from the file that `NAME_FILE` names. */
  secret?: true;
}

export type EnvTable<C> = { readonly [K in keyof C]: EnvRow<C[K]> };

export interface EnvSource {
  env: Readonly<Record<string, string | undefined>>;
  /** Reads a secret's file; gives the reason when it cannot. */
  readFile(path: string): { text: string } | { problem: string };
}

/** Warnings never stop the start; diagnostics do, all of them together. */
export interface EnvReading<C> {
  config: Result<Readonly<C>>;
  warnings: string[];
}

/** `known` lists names of other tables: they are not unknown here. */
export function readEnv<C extends object>(
  table: EnvTable<C>,
  source: EnvSource,
  known: readonly string[] = [],
): EnvReading<C> {
  const diagnostics: Diagnostic[] = [];
  const entries: [string, unknown][] = [];
  const names = new Set(known);
  for (const [key, row] of Object.entries<EnvRow<unknown>>(table)) {
    names.add(row.name);
    if (row.isPrefix) {
      entries.push([key, valuesOf(row.name, source.env)]);
      continue;
    }
    if (row.secret) names.add(`${row.name}_FILE`);
    const text = textOf(row, source, diagnostics);
    if (text === undefined || text === "") {
      entries.push([key, row.fallback]);
      continue;
    }
    const parsed = row.parse(text);
    if ("value" in parsed) entries.push([key, parsed.value]);
    else {
      const shown = row.secret ? "its value" : quoted(text);
      diagnostics.push({
        code: "E_CONFIG_VALUE",
        path: row.name,
        message: `${shown} is not accepted: ${parsed.wrong.slice(0, longestReason)}`,
        remedy: `${row.about} Default: ${row.shown}.`,
      });
    }
  }
  const warnings = unknownNames(source.env, names);
  if (diagnostics.length > 0) return { config: { ok: false, diagnostics }, warnings };
  // The entries were made row by row from the table, so they have exactly the keys of C.
  const value = Object.freeze(Object.fromEntries(entries)) as Readonly<C>;
  return { config: { ok: true, value }, warnings };
}

function valuesOf(prefix: string, env: EnvSource["env"]): { [name: string]: string } {
  const values: [string, string][] = [];
  for (const [name, value] of Object.entries(env)) {
    if (!name.startsWith(prefix) || name === prefix || value === undefined || value === "")
      continue;
    values.push([name.slice(prefix.length), value]);
  }
  return Object.fromEntries(values);
}

function textOf(
  row: EnvRow<unknown>,
  { env, readFile }: EnvSource,
  diagnostics: Diagnostic[],
): string | undefined {
  const fileName = row.secret ? env[`${row.name}_FILE`] : undefined;
  if (fileName === undefined || fileName === "") return env[row.name];
  if (env[row.name] !== undefined && env[row.name] !== "") {
    diagnostics.push({
      code: "E_CONFIG_TWICE",
      path: row.name,
      message: `${row.name} and ${row.name}_FILE are both set`,
      remedy: "Keep one of them; the file is the safer one.",
    });
    return undefined;
  }
  const read = readFile(fileName);
  if ("text" in read) return read.text.trim();
  diagnostics.push({
    code: "E_CONFIG_FILE",
    path: `${row.name}_FILE`,
    message: `${fileName} cannot be read: ${read.problem}`,
    remedy: "Name a file that the agent may read.",
  });
  return undefined;
}

/** Names that end in `_` are prefixes. */
function unknownNames(env: EnvSource["env"], names: ReadonlySet<string>): string[] {
  const prefixes = [...names].filter((name) => name.endsWith("_"));
  return Object.keys(env)
    .filter(
      (name) =>
        name.startsWith("EDGEDAG_") &&
        !names.has(name) &&
        !prefixes.some((p) => name.startsWith(p)),
    )
    .map((name) => {
      const near = nearest(name, [...names]);
      return `${name.slice(0, 200)} is not a known variable${near === undefined ? "" : `; did you mean ${near}?`}`;
    });
}

// ---- parsers for rows ----

export const text = (value: string) => ({ value });

export function duration(range: { minMs: number; maxMs: number }) {
  return (value: string): { value: number } | { wrong: string } => {
    const ms = parseDuration(/^\d+(\.\d+)?$/.test(value) ? Number(value) : value);
    if (ms === undefined) {
      return { wrong: "it must be a duration like 500ms, 10s, 1m30s or 2h (a number: seconds)" };
    }
    if (ms < range.minMs || ms > range.maxMs) {
      return { wrong: `it must lie between ${range.minMs} ms and ${range.maxMs} ms` };
    }
    return { value: ms };
  };
}

export function size(range: { minBytes: number; maxBytes: number }) {
  return (value: string): { value: number } | { wrong: string } => {
    const bytes = parseSize(/^\d+$/.test(value) ? Number(value) : value);
    if (bytes === undefined) return { wrong: "it must be a size like 64Ki, 256Mi, 1G or 5000000" };
    if (bytes < range.minBytes || bytes > range.maxBytes) {
      return { wrong: `it must lie between ${range.minBytes} and ${range.maxBytes} bytes` };
    }
    return { value: bytes };
  };
}

export function integer(min: number, max: number) {
  return (value: string): { value: number } | { wrong: string } => {
    const number = Number(value);
    return /^\d+$/.test(value) && number >= min && number <= max
      ? { value: number }
      : { wrong: `it must be a whole number from ${min} to ${max}` };
  };
}

export function number(min: number, max: number) {
  return (value: string): Parsed<number> => {
    const found = Number(value);
    return /^\d+(\.\d+)?$/.test(value) && found >= min && found <= max
      ? { value: found }
      : { wrong: `it must be a number from ${min} to ${max}` };
  };
}

/** Entries separated by commas; what is wrong with any of them is told together. */
export function list<T>(parse: (entry: string) => Parsed<T>) {
  return (value: string): Parsed<T[]> => {
    const parsed = names(value).value.map(parse);
    const wrong = parsed.flatMap((entry) => ("wrong" in entry ? [entry.wrong] : []));
    if (wrong.length > 0) return { wrong: wrong.join("; ") };
    return { value: parsed.flatMap((entry) => ("value" in entry ? [entry.value] : [])) };
  };
}

export function oneOf<T extends string>(...words: readonly T[]) {
  return (value: string): { value: T } | { wrong: string } => {
    const found = words.find((word) => word === value);
    return found === undefined
      ? { wrong: `it must be one of ${words.join(", ")}` }
      : { value: found };
  };
}

export function names(value: string): { value: string[] } {
  return {
    value: value
      .split(",")
      .map((s) => s.trim())
      .filter((s) => s !== ""),
  };
}
