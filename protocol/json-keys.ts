// Finds keys that are twice in one mapping of a JSON text: JSON.parse keeps the last in silence.
// The text must be well-formed JSON. Pure, linear, without recursion.
import type { PathSegment } from "./findings.ts";

interface Level {
  /** Keys so far; undefined in a list. */
  keys: Set<string> | undefined;
  /** The key or index at which the scan is. */
  at: PathSegment;
}

const interesting = /["{}[\],]/g;

/** The path of every second occurrence. */
export function findDuplicateKeys(text: string): PathSegment[][] {
  const found: PathSegment[][] = [];
  const levels: Level[] = [];
  let isKeyNext = false;
  const token = new RegExp(interesting);
  for (let match = token.exec(text); match !== null; match = token.exec(text)) {
    const level = levels.at(-1);
    switch (match[0]) {
      case "{":
        levels.push({ keys: new Set(), at: "" });
        isKeyNext = true;
        break;
      case "[":
        levels.push({ keys: undefined, at: 0 });
        isKeyNext = false;
        break;
      case "}":
      case "]":
        levels.pop();
        isKeyNext = false;
        break;
      case ",":
        isKeyNext = level?.keys !== undefined;
        if (typeof level?.at === "number") level.at++;
        break;
      default: {
        const start = match.index;
        token.lastIndex = endOfString(text, token.lastIndex);
        const raw = text.slice(start, token.lastIndex);
        if (!isKeyNext || level?.keys === undefined) break;
        isKeyNext = false;
        // Well-formed by the contract above.
        const key: unknown = JSON.parse(raw);
        level.at = String(key);
        if (level.keys.has(level.at)) found.push(levels.map((entry) => entry.at));
        level.keys.add(level.at);
      }
    }
  }
  return found;
}

/** The index after the closing quote; `at` is the index after the opening one. */
function endOfString(text: string, at: number): number {
  for (let from = at; ; ) {
    const quote = text.indexOf('"', from);
    if (quote === -1) return text.length;
    let backslashes = 0;
    while (text[quote - 1 - backslashes] === "\\") backslashes++;
    if (backslashes % 2 === 0) return quote + 1;
    from = quote + 1;
  }
}
