// The text of a document to a plain value: JSON or YAML, every problem with its line and column,
// no key twice, bounded in size. The YAML parser is loaded only for text that is not JSON.
import type { Document } from "yaml";
import { type Findings, type PathSegment, pathText } from "./findings.ts";
import { findDuplicateKeys } from "./json-keys.ts";

/** Longest texts, in UTF-16 code units. YAML needs some hundred times its size in memory. */
const maxJsonLength = 450_000_000;
const maxYamlLength = 32 * 1024 * 1024;
/** Above this, JSON is written by programs, and looking for keys that are twice costs too much. */
const maxScannedLength = 16 * 1024 * 1024;
/** Further references to anchors in all; an honest document needs few, a bomb many. */
const maxAliases = 1000;

/** Undefined when the text could not be read; the findings then say why. */
export async function parseText(
  text: string,
  { isJson, findings }: { isJson: boolean; findings: Findings },
): Promise<{ value: unknown } | undefined> {
  const source = text.startsWith("\uFEFF") ? text.slice(1) : text;
  const looksLikeJson = /^\s*[{[]/.test(source);
  if (isJson || looksLikeJson) {
    if (tooLong(source, maxJsonLength, findings)) return undefined;
    const parsed = parseJson(source);
    if ("value" in parsed) {
      if (source.length <= maxScannedLength) {
        for (const path of findDuplicateKeys(source)) addDuplicate(path, "", findings);
      }
      return parsed;
    }
    // A flow mapping of YAML also begins with a brace; with a quoted key it is meant as JSON.
    if (isJson || /^\s*\{\s*"/.test(source)) {
      const message = `The text is no well-formed JSON: ${parsed.problem}.`;
      findings.add("E_DAG_SYNTAX", "", message, "Correct it at this place.");
      return undefined;
    }
  }
  if (tooLong(source, maxYamlLength, findings)) return undefined;
  return parseYaml(source, findings);
}

function parseJson(text: string): { value: unknown } | { problem: string } {
  try {
    const value: unknown = JSON.parse(text);
    return { value };
  } catch (error) {
    // SyntaxError with "(line 1 column 2)", or RangeError for absurd nesting.
    return { problem: error instanceof Error ? error.message : String(error) };
  }
}

async function parseYaml(
  text: string,
  findings: Findings,
): Promise<{ value: unknown } | undefined> {
  const { LineCounter, parseDocument } = await import("./yaml-parser.ts");
  const lines = new LineCounter();
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return `line ${line}, column ${col}`;
  };
  try {
    // Keys are compared below in linear time and with their path; the parser's own way is quadratic.
    const document = parseDocument(text, {
      lineCounter: lines,
      uniqueKeys: false,
      prettyErrors: false,
      merge: true,
      // What is wrong is told as a finding, not as a warning of the process.
      logLevel: "error",
    });
    for (const error of [...document.errors, ...document.warnings]) {
      const message = `The text is no well-formed YAML at ${at(error.pos[0])}: ${error.message}.`;
      findings.add("E_DAG_SYNTAX", "", message, yamlRemedy(error.code));
    }
    if (!findings.isEmpty) return undefined;
    await findYamlDuplicates(document, at, findings);
    const value: unknown = document.toJS({ maxAliasCount: maxAliases });
    if (!holdsItself(value, new Set(), new Set())) return { value };
    findings.add(
      "E_DAG_SYNTAX",
      "",
      "The YAML text is refused: an alias stands within what its anchor names.",
      "Set the anchor on a value that does not hold its own alias.",
    );
    return undefined;
  } catch (error) {
    // The parser throws for alias bombs (ReferenceError) and for absurd nesting (RangeError).
    const detail = error instanceof Error ? error.message : String(error);
    const isLimit = error instanceof RangeError || detail.startsWith("Excessive alias");
    findings.add(
      isLimit ? "E_DAG_LIMIT" : "E_DAG_SYNTAX",
      "",
      `The YAML text is refused: ${detail}.`,
      "Use fewer aliases and less nesting, and set each anchor before its aliases.",
    );
    return undefined;
  }
}

/** `above`: the lists and mappings around the value; `known`: those that were looked at. */
function holdsItself(value: unknown, above: Set<object>, known: Set<object>): boolean {
  if (value === null || typeof value !== "object") return false;
  if (above.has(value)) return true;
  if (known.has(value)) return false;
  known.add(value);
  above.add(value);
  const isFound = Object.values(value).some((member) => holdsItself(member, above, known));
  above.delete(value);
  return isFound;
}

function yamlRemedy(code: string): string {
  if (code === "MULTIPLE_DOCS") return "Keep one document in a file: remove the line `---`.";
  if (code === "TAB_AS_INDENT") return "Indent with spaces.";
  if (code === "TAG_RESOLVE_FAILED") return "Remove the tag, or quote a text that begins with `!`.";
  return "Correct it at this place; a text with `{`, `:` or `#` in it needs quotes.";
}

async function findYamlDuplicates(
  document: Document.Parsed,
  at: (offset: number) => string,
  findings: Findings,
): Promise<void> {
  const { isMap, isScalar, isSeq } = await import("./yaml-parser.ts");
  const visit = (node: unknown, path: PathSegment[]): void => {
    if (isSeq(node)) {
      for (const [i, item] of node.items.entries()) visit(item, [...path, i]);
    } else if (isMap(node)) {
      const seen = new Set<string>();
      for (const { key, value } of node.items) {
        const name = isScalar(key) ? String(key.value) : String(key);
        const below = [...path, name];
        const offset = isScalar(key) ? (key.range?.[0] ?? 0) : 0;
        if (seen.has(name) && name !== "<<") addDuplicate(below, ` at ${at(offset)}`, findings);
        seen.add(name);
        visit(value, below);
      }
    }
  };
  visit(document.contents, []);
}

function addDuplicate(path: PathSegment[], where: string, findings: Findings): void {
  const name = String(path.at(-1));
  const message = `The key ${JSON.stringify(name.slice(0, 80))} is there twice${where}.`;
  findings.add("E_DAG_DUPLICATE", pathText(path), message, "Remove or rename one of them.");
}

function tooLong(text: string, longest: number, findings: Findings): boolean {
  if (text.length <= longest) return false;
  const message = `The text has ${text.length} characters; at most ${longest} are accepted.`;
  const remedy =
    "Use `map` for tasks that differ only in their input, or the serialized JSON form.";
  findings.add("E_DAG_LIMIT", "", message, remedy);
  return true;
}
