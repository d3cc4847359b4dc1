// How commands print findings, and how they read `name=value` options.
import type { Diagnostic } from "../protocol/diagnostic.ts";
import { formatDiagnostic } from "../protocol/diagnostic.ts";
import { exitCodes } from "../protocol/exit-codes.ts";
import type { Json } from "../protocol/json.ts";
import type { Io } from "./io.ts";

export function printDiagnostics(io: Io, diagnostics: readonly Diagnostic[]): void {
  for (const diagnostic of diagnostics) io.stderr.write(`${formatDiagnostic(diagnostic)}\n`);
}

/** The exit code of an agent that cannot start, by the first thing that it needs and has not. */
export function startExitCode([first]: readonly Diagnostic[]): number {
  if (first?.code === "E_LAUNCHER") return exitCodes.unavailable;
  return configCodes.has(first?.code ?? "") ? exitCodes.config : exitCodes.state;
}

/** What a variable names cannot be used. */
const configCodes: ReadonlySet<string> = new Set([
  "E_RUNTIME_DIR",
  "E_SIGNATURE_KEYS",
  "E_KEY_FILE",
]);

/** The exit code when a run is not taken. */
export function acceptExitCode([first]: readonly Diagnostic[]): number {
  if (first?.code.startsWith("E_STATE")) return exitCodes.state;
  return first?.code === "E_SANDBOX" ? exitCodes.unavailable : exitCodes.badDocument;
}

/** `name=value` options: the value is JSON where it parses as such, else a text. */
export function readParams(
  pairs: readonly string[],
): { ok: true; value: { [name: string]: Json } } | { ok: false; message: string } {
  const entries: [string, Json][] = [];
  for (const pair of pairs) {
    const at = pair.indexOf("=");
    if (at <= 0) return { ok: false, message: `--param ${pair} is not name=value` };
    entries.push([pair.slice(0, at), readValue(pair.slice(at + 1))]);
  }
  return { ok: true, value: Object.fromEntries(entries) };
}

function readValue(text: string): Json {
  try {
    return JSON.parse(text) as Json; // nothing but Json comes out
  } catch (error) {
    if (error instanceof SyntaxError) return text;
    throw error;
  }
}
