// What commands write to, and how they print findings about input. Commands never write to the
// process's own streams themselves, so that tests can run them.
import { type Diagnostic, formatDiagnostic } from "../protocol/diagnostic.ts";

export interface Io {
  stdout: { write(text: string): unknown };
  stderr: { write(text: string): unknown };
}

export function printDiagnostics(io: Pick<Io, "stderr">, diagnostics: readonly Diagnostic[]): void {
  for (const diagnostic of diagnostics) io.stderr.write(`${formatDiagnostic(diagnostic)}\n`);
}
