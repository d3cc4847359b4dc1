// Values on their way in and out of a call: `$ref` objects become data, results become JSON text.
// It owns what is kept of earlier results.
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { Refusal, type Value } from "./protocol.ts";

export const inlineBytes = 64 * 1024;
/** As many as an agent has at a worker at once. */
const keptResults = 96;

type Kept = { text: string } | { file: string };

export class Values {
  readonly #kept = new Map<number, Kept>();
  #file: { name: string; value: Value } | undefined;

  keep(id: number, kept: Kept): void {
    this.#kept.set(id, kept);
    if (this.#kept.size <= keptResults) return;
    for (const oldest of this.#kept.keys()) {
      this.#kept.delete(oldest);
      return;
    }
  }

  clear(): void {
    this.#kept.clear();
    this.#file = undefined;
  }

  /** `value` with every `{"$ref": ...}` replaced; nothing in it is shared with another call. */
  resolve(value: Value): Value {
    if (value === null || typeof value !== "object") return value;
    if (Array.isArray(value)) return value.map((member) => this.resolve(member));
    const names = Object.keys(value);
    const ref = value.$ref;
    if (names.length === 1 && ref !== undefined) return this.#follow(ref);
    return this.#members(value);
  }

  #members(value: { [name: string]: Value }): Value {
    const resolved: { [name: string]: Value } = {};
    for (const [name, member] of Object.entries(value)) {
      // Plain assignment to `__proto__` would set the prototype instead of a member.
      if (name === "__proto__") {
        const own = { value: this.resolve(member), enumerable: true };
        Object.defineProperty(resolved, name, { ...own, writable: true, configurable: true });
      } else resolved[name] = this.resolve(member);
    }
    return resolved;
  }

  #follow(ref: Value): Value {
    if (ref === null || typeof ref !== "object" || Array.isArray(ref)) {
      throw new Refusal("a reference is malformed");
    }
    const { literal, file, call, need, path } = ref;
    if (typeof need === "number") return { outcome: "succeeded", result: this.#result(need, []) };
    if (literal !== undefined) {
      const isObject = literal !== null && typeof literal === "object" && !Array.isArray(literal);
      return isObject ? this.#members(literal) : literal;
    }
    const steps = Array.isArray(path) ? path : [];
    if (typeof file === "string") return this.#fromFile(file, steps);
    return this.#result(call, steps);
  }

  #result(call: Value | undefined, steps: Value[]): Value {
    const kept = typeof call === "number" ? this.#kept.get(call) : undefined;
    if (kept === undefined) {
      throw new Refusal(`the result of call ${String(call)} is no longer kept in this worker`);
    }
    if ("file" in kept) return this.#fromFile(kept.file, steps);
    return memberAt(JSON.parse(kept.text), steps, "the result");
  }

  #fromFile(name: string, steps: Value[]): Value {
    if (steps.length === 0) return readJson(name);
    // One file stays parsed: a fan-out takes one member after the other out of it.
    if (this.#file?.name !== name) {
      this.#file = undefined;
      this.#file = { name, value: readJson(name) };
    }
    const member = memberAt(this.#file.value, steps, name);
    return member === null || typeof member !== "object"
      ? member
      : JSON.parse(JSON.stringify(member));
  }
}

function readJson(name: string): Value {
  let text: string;
  try {
    text = readFileSync(name, "utf8");
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Refusal(`the value file ${name} cannot be read: ${why}`);
  }
  return JSON.parse(text);
}

function memberAt(value: Value, steps: Value[], what: string): Value {
  let found: Value | undefined = value;
  for (const [depth, step] of steps.entries()) {
    const owner: Value | undefined = found;
    found = undefined;
    if (owner !== null && typeof owner === "object") {
      if (Object.hasOwn(owner, String(step))) found = Reflect.get(owner, String(step));
    }
    if (found === undefined) {
      const path = steps.slice(0, depth + 1).join(".");
      throw new Refusal(`${what} has no member \`${path}\``);
    }
  }
  return found;
}

/** JSON text of a result, or a Refusal with a sentence that says where and what to do. */
export function resultText(value: unknown): string {
  if (value === undefined || value === null) return "null";
  if (typeof value === "string" || typeof value === "boolean") return JSON.stringify(value);
  if (typeof value === "number" && Number.isFinite(value)) return String(value);
  const problem = findProblem(value, "the result", []);
  if (problem !== undefined) throw new Refusal(problem);
  return JSON.stringify(value);
}

/** Everything that JSON.stringify would drop or change in silence. */
function findProblem(value: unknown, where: string, parents: object[]): string | undefined {
  switch (typeof value) {
    case "string":
    case "boolean":
      return undefined;
    case "number":
      if (Number.isFinite(value)) return undefined;
      return `${where} is ${value}, which JSON cannot hold: return null or a string instead`;
    case "bigint":
      return `${where} is a BigInt, which JSON cannot hold: return a string or Number(...) of it`;
    case "function":
    case "symbol":
      return `${where} is a ${typeof value}, which is not JSON: return data`;
    case "undefined":
      return `${where} is undefined, which JSON cannot hold: return null, or leave it out`;
    default:
      return isBare(value) ? findProblemIn(value, where, parents) : undefined;
  }
}

function isBare(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

function findProblemIn(value: object, where: string, parents: object[]): string | undefined {
  if (parents.includes(value)) return `${where} contains itself: return a tree without cycles`;
  if (parents.length > 1000) return "the result cannot be written as JSON: it is nested too deeply";
  if ("toJSON" in value && typeof value.toJSON === "function") return undefined;
  parents.push(value);
  try {
    if (Array.isArray(value)) {
      for (let index = 0; index < value.length; index++) {
        const member: unknown = value[index];
        if (typeof member === "number" ? Number.isFinite(member) : typeof member === "string") {
          continue;
        }
        const problem = findProblem(member, `${where}[${index}]`, parents);
        if (problem !== undefined) return problem;
      }
      return undefined;
    }
    const prototype: unknown = Object.getPrototypeOf(value);
    if (prototype !== Object.prototype && prototype !== null) {
      const special = unfit(value);
      if (special !== undefined) return `${where} is ${special}`;
    }
    for (const name in value) {
      // A member that is undefined is left out, as everybody who writes JavaScript expects.
      const member: unknown = Reflect.get(value, name);
      if (member === undefined || typeof member === "string") continue;
      const problem = findProblem(member, `${where}.${name}`, parents);
      if (problem !== undefined) return problem;
    }
    return undefined;
  } finally {
    parents.pop();
  }
}

function unfit(value: object): string | undefined {
  if (value instanceof Map) return "a Map, which is not JSON: return Object.fromEntries(...) of it";
  if (value instanceof Set) return "a Set, which is not JSON: return [...set]";
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) {
    return "binary data, which is not JSON: return Array.from(...) or base64 text";
  }
  if (value instanceof Error) return "an Error, which is not JSON: throw it, or return its message";
  if (value instanceof Promise) return "a Promise: await it";
  return undefined;
}

/** Writes `text` so that a reader sees all of it or nothing; returns the path. */
export function writeResultFile(folder: string, name: string, text: string): string {
  const path = `${folder}/${name}`;
  try {
    writeFileSync(`${path}.part`, text);
    renameSync(`${path}.part`, path);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Refusal(
      `the result of ${text.length} characters cannot be written to ${folder}: ${why};` +
        " return less, or write a file and return its path",
    );
  }
  return path;
}
