// Reads fields of parsed JSON one by one. A field of the wrong type becomes a diagnostic and a
// harmless stand-in value, so that a decoder reports everything that is wrong in one pass.
// Never throws, never casts, never trusts a key of the input as a property name.
import type { Diagnostic } from "./diagnostic.ts";
import type { Json } from "./json.ts";

export type JsonObject = { [key: string]: Json };

/** At most this many findings are kept: a hostile frame must not grow the answer. */
const findingsLimit = 20;

export class Findings {
  readonly list: Diagnostic[] = [];
  readonly code: string;
  readonly remedy: string;

  constructor(code: string, remedy: string) {
    this.code = code;
    this.remedy = remedy;
  }

  add(path: string, message: string): void {
    if (this.list.length >= findingsLimit) return;
    this.list.push({ code: this.code, path, message, remedy: this.remedy });
  }

  /** An object with one field of a message: `at` is where the object is, `key` the field. */
  field(at: string, key: string, message: string): void {
    this.add(at === "" ? key : `${at}.${key}`, message);
  }
}

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function readString(
  from: JsonObject,
  key: string,
  at: string,
  findings: Findings,
  limitChars = 65_536,
): string {
  const value = from[key];
  if (typeof value === "string" && value.length <= limitChars) return value;
  findings.field(
    at,
    key,
    typeof value === "string" ? `is longer than ${limitChars} characters` : "must be a string",
  );
  return "";
}

/** A name that becomes part of paths, keys and addresses: printable, without spaces, not empty. */
export function readId(from: JsonObject, key: string, at: string, findings: Findings): string {
  const value = from[key];
  if (typeof value === "string" && idPattern.test(value)) return value;
  findings.field(at, key, "must be 1 to 128 letters, digits, '.', '_', ':' or '-'");
  return "";
}
const idPattern = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/;

/**
 * No further from 0 than 2^53: a whole number beyond it is an integer for SQLite, too, which then
 * cannot be read back as a number.
 */
export function isStorable(value: unknown): value is number {
  return typeof value === "number" && Math.abs(value) <= Number.MAX_SAFE_INTEGER;
}

export function readNumber(from: JsonObject, key: string, at: string, findings: Findings): number {
  const value = from[key];
  if (isStorable(value)) return value;
  findings.field(at, key, "must be a number between -2^53 and 2^53");
  return 0;
}

export function readCount(
  from: JsonObject,
  key: string,
  at: string,
  findings: Findings,
  least = 0,
): number {
  const value = from[key];
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= least) return value;
  findings.field(at, key, `must be a whole number, at least ${least}`);
  return least;
}

export function readBoolean(
  from: JsonObject,
  key: string,
  at: string,
  findings: Findings,
): boolean {
  const value = from[key];
  if (typeof value === "boolean") return value;
  findings.field(at, key, "must be true or false");
  return false;
}

export function readObject(
  from: JsonObject,
  key: string,
  at: string,
  findings: Findings,
): JsonObject {
  const value = from[key];
  if (isObject(value)) return value;
  findings.field(at, key, "must be an object");
  return {};
}

export function readList(from: JsonObject, key: string, at: string, findings: Findings): Json[] {
  const value = from[key];
  if (Array.isArray(value)) return value;
  findings.field(at, key, "must be a list");
  return [];
}

export function readStrings(
  from: JsonObject,
  key: string,
  at: string,
  findings: Findings,
): string[] {
  const strings: string[] = [];
  for (const [index, value] of readList(from, key, at, findings).entries()) {
    if (typeof value === "string") strings.push(value);
    else findings.field(at, `${key}[${index}]`, "must be a string");
  }
  return strings;
}

export function readStringMap(
  from: JsonObject,
  key: string,
  at: string,
  findings: Findings,
): { [name: string]: string } {
  const entries: [string, string][] = [];
  for (const [name, value] of Object.entries(readObject(from, key, at, findings))) {
    if (typeof value === "string") entries.push([name, value]);
    else findings.field(at, `${key}.${name}`, "must be a string");
  }
  return Object.fromEntries(entries);
}

/** One of a fixed list of words. */
export function readWord<const Word extends string>(
  from: JsonObject,
  key: string,
  at: string,
  findings: Findings,
  words: readonly [Word, ...Word[]],
): Word {
  const value = from[key];
  for (const word of words) if (word === value) return word;
  findings.field(at, key, `must be one of ${words.join(", ")}`);
  return words[0];
}
