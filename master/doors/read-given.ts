// The fields that a program of the queue and a command of the library have in common: what it gets,
// what is kept of it, its limits, its place in the queue. Notes what is wrong; decides nothing.
import { hash } from "node:crypto";
import { canonicalJson } from "../../protocol/canonical.ts";
import { pathProblem } from "../../protocol/safe-path.ts";
import { priorities } from "../snippets/snippet.ts";
import { callbackProblem } from "./callback-url.ts";
import type { DoorParts } from "./door-parts.ts";
import type { Input } from "./input.ts";
import { readLevels, readLimits, type SnippetParts } from "./make-snippet.ts";

const mostFileBytes = 8 * 2 ** 20;
const mostWords = 4096;
const mostOutputs = 100;

export const givenFields = [
  "args",
  "stdin",
  "env",
  "files",
  "outputs",
  "limits",
  "isolation",
  "priority",
  "callback",
  "idempotency_key",
] as const;

export function readGiven(
  input: Input,
  parts: Pick<DoorParts, "rules" | "callbacks">,
): Omit<SnippetParts, "owner" | "language" | "run"> & { words: string[] } {
  const { rules } = parts;
  const words = input.strings("args", mostWords) ?? [];
  const stdin = input.text("stdin", mostFileBytes);
  const env = readEnvironment(input);
  const files = input.files("files", mostFileBytes);
  const outputs = readOutputs(input);
  const limits = readLimits(input, "limits", rules);
  const levels = readLevels(input, "isolation", rules);
  const priority = input.whole("priority", priorities.lowest, priorities.highest);
  const callback = readCallback(input, parts);
  return {
    words,
    env,
    ...(stdin === undefined ? {} : { stdin }),
    files,
    outputs,
    limits,
    levels,
    ...(priority === undefined ? {} : { priority }),
    ...(callback === undefined ? {} : { callback }),
  };
}

/** The same request again, however its fields are ordered. */
export function digestOf(body: unknown): string {
  return hash("sha256", canonicalJson(body));
}

function readEnvironment(input: Input): { [name: string]: string } {
  const env: { [name: string]: string } = {};
  const given = input.object("env");
  for (const [name, value] of given?.entries() ?? []) {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
      given?.bad(name.slice(0, 80), "is no name of a variable", "Use letters, digits and _.");
    } else if (typeof value !== "string" || value.includes("\0")) {
      given?.bad(name, "must be text without NUL", "Send numbers as text.");
    } else env[name] = value;
  }
  return env;
}

function readOutputs(input: Input): string[] {
  const outputs = input.strings("outputs", mostOutputs) ?? [];
  for (const [index, pattern] of outputs.entries()) {
    const problem = pathProblem(pattern);
    if (problem === undefined) continue;
    input.bad(`outputs[${index}]`, `cannot be collected: ${problem}`, "Use a relative pattern.");
  }
  return outputs;
}

function readCallback(
  input: Input,
  { callbacks }: Pick<DoorParts, "callbacks">,
): string | undefined {
  const url = input.text("callback", 2000);
  if (url === undefined) return undefined;
  const problem = callbackProblem(url, callbacks);
  if (problem === undefined) return url;
  input.bad("callback", problem.message, problem.remedy, "E_SNIPPET_CALLBACK");
  return undefined;
}
