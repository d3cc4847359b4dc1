// From diagnostics to the one error that tells all of them.
import type { Diagnostic } from "../protocol/diagnostic.ts";
import {
  ConfigurationError,
  type ExecutorError,
  SandboxError,
  SecurityError,
  ValidationError,
} from "./errors.js";

const classes = {
  Validation: ValidationError,
  Security: SecurityError,
  Sandbox: SandboxError,
  Configuration: ConfigurationError,
} as const;

export function errorOfDiagnostics(
  diagnostics: readonly Diagnostic[],
  of: keyof typeof classes = "Validation",
): ExecutorError {
  const [first] = diagnostics;
  const isDenied = diagnostics.some(({ code }) => code === "E_SNIPPET_DENIED");
  const Class = classes[isDenied ? "Security" : of];
  const text = diagnostics.map(({ path, message }) => `${path} ${message}`.trim()).join("; ");
  return new Class(first?.code ?? "E_INTERNAL", text, first?.remedy ?? "", diagnostics);
}
