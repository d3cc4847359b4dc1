// A clean copy of a foreign value before it is explained: JSON data only, bounded in depth and
// size, without `__proto__`. What is left out becomes a finding.
import { isMapping } from "./check-graph.ts";
import { type Findings, type PathSegment, pathText } from "./findings.ts";

const maxDepth = 64;
const maxValues = 100_000_000;

export function sanitize(value: unknown, findings: Findings): unknown {
  let count = 0;
  const path: PathSegment[] = [];
  return copy(value);

  function copy(value: unknown): unknown {
    if (value === null || typeof value === "string" || typeof value === "boolean") return value;
    if (typeof value === "number" && Number.isFinite(value)) return value;
    if (++count > maxValues) return limited(`more than ${maxValues} values`);
    if (Array.isArray(value)) {
      if (path.length >= maxDepth) return limited(`more than ${maxDepth} levels of nesting`);
      return value.map((entry, i) => within(i, entry));
    }
    if (isMapping(value)) {
      if (path.length >= maxDepth) return limited(`more than ${maxDepth} levels of nesting`);
      const entries: [string, unknown][] = [];
      for (const [key, member] of Object.entries(value)) {
        if (member === undefined) continue;
        if (key === "__proto__") {
          findings.add(
            "E_DAG_FIELD",
            pathText([...path, key]),
            "The name `__proto__` must not be used.",
            "Rename the field.",
          );
        } else entries.push([key, within(key, member)]);
      }
      return Object.fromEntries(entries);
    }
    findings.add(
      "E_DAG_TYPE",
      pathText(path),
      `A value here is no JSON data (${String(typeof value)}).`,
      "Use texts, finite numbers, true, false, null, lists and mappings.",
    );
    return null;
  }

  function within(key: PathSegment, member: unknown): unknown {
    path.push(key);
    const copied = copy(member);
    path.pop();
    return copied;
  }

  function limited(what: string): null {
    findings.add(
      "E_DAG_LIMIT",
      pathText(path.slice(0, 8)),
      `The document has ${what}.`,
      "Simplify it.",
    );
    return null;
  }
}
