// A finding about bad input. All findings of a document are reported at once.

/** `path` points into the document, e.g. `tasks.clean.needs[1]`; empty for the whole document. */
export interface Diagnostic {
  code: string;
  path: string;
  message: string;
  remedy: string;
}

export type Result<T> = { ok: true; value: T } | { ok: false; diagnostics: Diagnostic[] };

/** The form in which diagnostics are printed to people. */
export function formatDiagnostic(d: Diagnostic): string {
  return `${d.code}${d.path === "" ? "" : ` at ${d.path}`}: ${d.message}\n    ${d.remedy}`;
}
