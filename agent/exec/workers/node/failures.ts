// Turns what a task threw into the two texts that people read: one line, and the stack without our
// own frames.
import { Refusal } from "./protocol.ts";

const detailChars = 8192;
const traceChars = 16384;

export function describe(error: unknown): { detail: string; trace?: string } {
  if (error instanceof Refusal) return { detail: error.message };
  if (!(error instanceof Error)) return { detail: cut(`thrown: ${show(error)}`, detailChars) };
  const detail = cut(`${error.name}: ${error.message}`, detailChars);
  const { stack } = error;
  if (typeof stack !== "string") return { detail };
  const lines = stack.split("\n").filter((line) => !isOurs(line));
  const cause = error.cause === undefined ? "" : `\ncaused by ${show(error.cause)}`;
  return { detail, trace: cut(`${lines.join("\n")}${cause}`, traceChars) };
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
