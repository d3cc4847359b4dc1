// Reads a request's body field by field, and notes everything that is wrong with it, each with what
// to do. Never throws, never trusts a name of the input as a property.
import type { ArtifactFile } from "../../protocol/artifact.ts";
import { sha256Hex } from "../../protocol/canonical.ts";
import type { Diagnostic } from "../../protocol/diagnostic.ts";
import { artifactPathProblem } from "../../protocol/safe-path.ts";
import { parseDuration, parseSize } from "../../protocol/units.ts";
import { nearest } from "../nearest.ts";

export type Body = { readonly [name: string]: unknown };

const mostShown = 50;
const base64Pattern = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?$/;

export class Input {
  readonly problems: Diagnostic[] = [];
  readonly #at: string;
  readonly #body: Body;

  constructor(body: Body, at = "", problems: Diagnostic[] = []) {
    this.#body = body;
    this.#at = at;
    this.problems = problems;
  }

  /** Undefined, and noted, where it is no object. */
  static of(value: unknown, at: string, problems: Diagnostic[]): Input | undefined {
    if (isObject(value)) return new Input(value, at, problems);
    note(problems, "E_SNIPPET_FIELD", at, "must be an object", "Send a JSON object.");
    return undefined;
  }

  bad(field: string, message: string, remedy: string, code = "E_SNIPPET_FIELD"): void {
    note(this.problems, code, this.path(field), message, remedy);
  }

  path(field: string): string {
    if (field === "") return this.#at;
    return this.#at === "" ? field : `${this.#at}.${field}`;
  }

  /** Names that are not in the list are mistakes. */
  only(known: readonly string[]): void {
    for (const name of Object.keys(this.#body)) {
      if (known.includes(name)) continue;
      const near = nearest(name, known);
      const remedy =
        near === undefined ? `Known: ${known.join(", ")}.` : `Did you mean \`${near}\`?`;
      this.bad(name.slice(0, 80), "is not a field that is known here", remedy);
    }
  }

  raw(field: string): unknown {
    return Object.hasOwn(this.#body, field) ? this.#body[field] : undefined;
  }

  has(field: string): boolean {
    const value = this.raw(field);
    return value !== undefined && value !== null;
  }

  text(field: string, mostChars: number): string | undefined {
    if (!this.has(field)) return undefined;
    const value = this.raw(field);
    if (typeof value !== "string") this.bad(field, "must be a string", "Send text.");
    else if (value.length > mostChars) {
      this.bad(field, `has ${value.length} characters`, `At most ${mostChars} are accepted.`);
    } else return value;
    return undefined;
  }

  strings(field: string, most: number): string[] | undefined {
    if (!this.has(field)) return undefined;
    const value = this.raw(field);
    if (!Array.isArray(value)) {
      this.bad(field, "must be a list of strings", 'Send a list, like ["a", "b"].');
      return undefined;
    }
    if (value.length > most) {
      this.bad(field, `has ${value.length} entries`, `At most ${most} are accepted.`);
      return undefined;
    }
    const strings: string[] = [];
    for (const [index, entry] of value.entries()) {
      if (typeof entry === "string" && !entry.includes("\0")) strings.push(entry);
      else {
        this.bad(`${field}[${index}]`, "must be a string without NUL", "Send numbers as text.");
      }
    }
    return strings;
  }

  object(field: string): Input | undefined {
    if (!this.has(field)) return undefined;
    return Input.of(this.raw(field), this.path(field), this.problems);
  }

  /** Names and values of an object's own fields. */
  entries(): [string, unknown][] {
    return Object.entries(this.#body);
  }

  whole(field: string, least: number, most: number): number | undefined {
    if (!this.has(field)) return undefined;
    const value = this.raw(field);
    if (typeof value === "number" && Number.isInteger(value) && value >= least && value <= most) {
      return value;
    }
    this.bad(field, `must be a whole number from ${least} to ${most}`, "Choose one in the range.");
    return undefined;
  }

  number(field: string, least: number, most: number): number | undefined {
    if (!this.has(field)) return undefined;
    const value = this.raw(field);
    if (typeof value === "number" && value >= least && value <= most) return value;
    this.bad(field, `must be a number from ${least} to ${most}`, "Choose one in the range.");
    return undefined;
  }

  /** Milliseconds; a bare number is seconds. */
  duration(field: string, mostMs: number): number | undefined {
    if (!this.has(field)) return undefined;
    const ms = parseDuration(this.raw(field));
    if (ms === undefined) {
      this.bad(field, "is no duration", "Send seconds as a number, or text like 500ms or 1m30s.");
    } else if (ms < 1 || ms > mostMs) {
      this.bad(field, `is not from 1ms to ${mostMs / 1000}s`, "The operator sets the most.");
    } else return ms;
    return undefined;
  }

  /** Bytes. */
  size(field: string, leastBytes: number, mostBytes: number): number | undefined {
    if (!this.has(field)) return undefined;
    const bytes = parseSize(this.raw(field));
    if (bytes === undefined) {
      this.bad(field, "is no size", "Send bytes as a number, or text like 64Ki, 256Mi or 1Gi.");
    } else if (bytes < leastBytes || bytes > mostBytes) {
      this.bad(
        field,
        `is not from ${leastBytes} to ${mostBytes} bytes`,
        "The operator sets the most.",
      );
    } else return bytes;
    return undefined;
  }

  /** Path to text, or to `{"base64": ...}`; `"executable": true` beside it. */
  files(field: string, mostBytes: number): ArtifactFile[] {
    const given = this.object(field);
    const files: ArtifactFile[] = [];
    let bytes = 0;
    for (const [path, value] of given?.entries() ?? []) {
      const problem = artifactPathProblem(path);
      if (problem !== undefined) {
        given?.bad(path.slice(0, 80), `must not be written: ${problem}`, "Use a relative path.");
        continue;
      }
      const file = fileOf(path, value);
      if (typeof file === "string") given?.bad(path, file, 'Send text, or {"base64": "..."}.');
      else {
        bytes += file.text === undefined ? ((file.base64?.length ?? 0) * 3) / 4 : file.text.length;
        files.push(file);
      }
    }
    if (bytes > mostBytes) {
      this.bad(field, `has ${bytes} bytes`, `At most ${mostBytes} are accepted together.`);
    }
    const taken = new Set(files.map((file) => file.path));
    for (const { path } of files) {
      const above = path.split("/").map((_, i, all) => all.slice(0, i).join("/"));
      const clash = above.find((parent) => taken.has(parent));
      if (clash === undefined) continue;
      given?.bad(path, `is below ${clash}, which is a file`, "Rename one of them.");
    }
    return files;
  }
}

export function isObject(value: unknown): value is Body {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What base64 stands for; undefined where it is none. */
export function bytesOf(base64: string): Buffer | undefined {
  return base64Pattern.test(base64) ? Buffer.from(base64, "base64") : undefined;
}

function fileOf(path: string, value: unknown): ArtifactFile | string {
  if (typeof value === "string")
    return { path, sha256: sha256Hex(Buffer.from(value)), text: value };
  if (!isObject(value)) return "is neither text nor an object";
  const { base64, text, executable } = value;
  const bit = executable === true ? ({ executable: true } as const) : {};
  if (typeof text === "string") {
    return { path, ...bit, sha256: sha256Hex(Buffer.from(text)), text };
  }
  const bytes = typeof base64 === "string" ? bytesOf(base64) : undefined;
  if (bytes === undefined) return "holds no base64";
  return { path, ...bit, sha256: sha256Hex(bytes), base64: bytes.toString("base64") };
}

function note(
  problems: Diagnostic[],
  code: string,
  path: string,
  message: string,
  remedy: string,
): void {
  // A hostile body must not grow the answer.
  if (problems.length < mostShown) problems.push({ code, path, message, remedy });
}
