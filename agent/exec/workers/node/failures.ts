// Turns what a task threw into the two texts that people read: one line, and the stack without our
// own frames.
import { Refusal } from "./protocol.ts";

const detailChars = 8192;
const traceChars = 16384;

/** In the task's code, both from 1. */
export interface Place {
  line: number;
  column: number;
}

/** Where syntax errors stand that the loader has met. */
const places = new WeakMap<Error, Place>();

/**
 * Of an error that came of compiling the task's code, which errors call one of `names`: Node.js
 * tells the place only at the head of the stack, as `file:line`, the line, and a mark below it.
 */
export function notePlace(error: unknown, names: readonly string[]): void {
  if (!(error instanceof SyntaxError) || typeof error.stack !== "string") return;
  const lines = error.stack.split("\n", 8);
  const head = /^(.*):(\d+)$/.exec(lines[0] ?? "");
  const mark = lines.slice(1).find((line) => /^\s*\^+$/.test(line));
  if (head === null || mark === undefined || !names.includes(head[1] ?? "")) return;
  places.set(error, { line: Number(head[2]), column: mark.indexOf("^") + 1 });
}

export function describe(error: unknown): { detail: string; trace?: string; place?: Place } {
  if (error instanceof Refusal) return { detail: error.message };
  if (!(error instanceof Error)) return { detail: cut(`thrown: ${show(error)}`, detailChars) };
  const detail = cut(`${error.name}: ${error.message}`, detailChars);
  const { stack } = error;
  if (typeof stack !== "string") return { detail };
  const lines = stack.split("\n").filter((line) => !isOurs(line));
  const cause = error.cause === undefined ? "" : `\ncaused by ${show(error.cause)}`;
  const place = places.get(error);
  const trace = cut(`${lines.join("\n")}${cause}`, traceChars);
  return place === undefined ? { detail, trace } : { detail, trace, place };
}

function isOurs(line: string): boolean {
  return /^\s+at .*(?:workers\/node\/(?:runner|loader|worker|values)|\(node:internal|at node:internal|edgedag-runner)/.test(
    line,
  );
}

function show(value: unknown): string {
  if (value instanceof Error) return value.stack ?? value.message;
  try {
    return typeof value === "string" ? value : (JSON.stringify(value) ?? String(value));
  } catch {
    return String(value);
  }
}

function cut(text: string, limit: number): string {
  if (text.length <= limit) return text;
  const head = limit >> 2;
  const left = text.length - limit;
  return `${text.slice(0, head)}\n... ${left} characters left out ...\n${text.slice(head - limit)}`;
}
