// Decodes what a checker answers. It is ours, but what it parsed is a stranger's: nothing is believed.
import type { CodeFinding, PolicyVerdict } from "./policy.ts";

/** `isLast`: it ends after this answer. Undefined: it is no answer. */
export function readVerdict(text: string): { verdict: PolicyVerdict; isLast: boolean } | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined; // told by the caller
  }
  if (typeof value !== "object" || value === null || !("kind" in value)) return undefined;
  const verdict = verdictOf(value);
  if (verdict === undefined) return undefined;
  return { verdict, isLast: "last" in value && value.last === true };
}

function verdictOf(value: { kind: unknown }): PolicyVerdict | undefined {
  const detail = "detail" in value && typeof value.detail === "string" ? value.detail : "";
  switch (value.kind) {
    case "clean":
      return { kind: "clean" };
    case "unparsed":
    case "unavailable":
      return { kind: value.kind, detail };
    case "unsafe": {
      const list = "findings" in value && Array.isArray(value.findings) ? value.findings : [];
      const findings = list.flatMap((entry) => findingOf(entry) ?? []);
      return findings.length === 0 ? undefined : { kind: "unsafe", findings };
    }
    default:
      return undefined;
  }
}

function findingOf(value: unknown): CodeFinding | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { rule, line, column, message } = value as { [name: string]: unknown }; // read by type below
  if (typeof rule !== "string" || typeof message !== "string") return undefined;
  if (typeof line !== "number" || typeof column !== "number") return undefined;
  return { rule, line, column, message };
}
