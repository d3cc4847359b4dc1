// Collects diagnostics: all of a document at once, each once, and never more than a bounded number.
// Also writes paths: `tasks.clean.needs[1]`, `env["a b"]`.
import type { DagCode } from "./codes.ts";
import type { Diagnostic, Result } from "./diagnostic.ts";

export type PathSegment = string | number;

/** More findings than this help nobody; the last diagnostic then says how many were left out. */
const maxFindings = 1000;
/** Names of the document stand in paths and sentences; a name may be as long as the document. */
const maxTextLength = 4000;
const maxSegmentLength = 200;

export class Findings {
  readonly #seen = new Set<string>();
  readonly #list: Diagnostic[] = [];
  #omitted = 0;

  add(code: DagCode, path: string, message: string, remedy: string): void {
    const finding = { code, path: cut(path), message: cut(message), remedy: cut(remedy) };
    const identity = `${code}\n${finding.path}\n${finding.message}`;
    if (this.#seen.has(identity)) return;
    if (this.#list.length >= maxFindings) {
      this.#omitted++;
      return;
    }
    this.#seen.add(identity);
    this.#list.push(finding);
  }

  get isEmpty(): boolean {
    return this.#list.length === 0;
  }

  get size(): number {
    return this.#list.length;
  }

  get isFull(): boolean {
    return this.#list.length >= maxFindings;
  }

  /** `value` when nothing was found, else all findings. */
  result<T>(value: T): Result<T> {
    return this.isEmpty ? { ok: true, value } : { ok: false, diagnostics: this.diagnostics() };
  }

  diagnostics(): Diagnostic[] {
    if (this.#omitted === 0) return [...this.#list];
    const more: DagCode = "E_DAG_LIMIT";
    return [
      ...this.#list,
      {
        code: more,
        path: "",
        message: `There are at least ${this.#omitted} more findings.`,
        remedy: "Correct the ones above first.",
      },
    ];
  }
}

/** One finding as a failed result. */
export function refuse<T>(code: DagCode, path: string, message: string, remedy: string): Result<T> {
  return { ok: false, diagnostics: [{ code, path, message, remedy }] };
}

const plainKey = /^[A-Za-z0-9_$-]+$/;

/** `["tasks", "a", "needs", 1]` to `tasks.a.needs[1]`. */
export function pathText(segments: readonly PathSegment[]): string {
  let text = "";
  for (const whole of segments) {
    const segment = typeof whole === "number" ? whole : cut(whole, maxSegmentLength);
    if (typeof segment === "number") text += `[${segment}]`;
    else if (!plainKey.test(segment)) text += `[${JSON.stringify(segment)}]`;
    else text += text === "" ? segment : `.${segment}`;
  }
  return text;
}

function cut(text: string, longest = maxTextLength): string {
  return text.length > longest ? `${text.slice(0, longest - 3)}...` : text;
}

/** Text of a user inside a message: quoted, one line, bounded. */
export function quoted(value: string): string {
  return JSON.stringify(value.length > 80 ? `${value.slice(0, 77)}...` : value);
}
