// Whether a task can have left something that its patterns mean. Mostly it has not, and then its box
// need not be dead before its end is told. A wrong yes costs time only; a no is given where the place
// is empty or is not there, by looking at names alone. Follows no link.
// Synchronous, because a way through the thread pool takes ten times as long as such a look.
import { lstatSync, opendirSync } from "node:fs";
import { join } from "node:path";

const isLiteral = (segment: string): boolean => !/[*?[\]{}()!+@\\]/.test(segment);

export function mayHaveOutputs(work: string, patterns: readonly string[]): boolean {
  for (const place of new Set(patterns.map(placeOf))) if (isSomethingAt(work, place)) return true;
  return false;
}

/** The segments before the first that is a pattern. */
function placeOf(pattern: string): string {
  const segments = pattern.split("/").filter((segment) => segment !== "" && segment !== ".");
  const at = segments.findIndex((segment) => !isLiteral(segment));
  return (at === -1 ? segments : segments.slice(0, at)).join("/");
}

function isSomethingAt(work: string, place: string): boolean {
  if (place === "") return true;
  try {
    let path = work;
    for (const segment of place.split("/")) {
      path = join(path, segment);
      const stat = lstatSync(path, { throwIfNoEntry: false });
      if (stat === undefined) return false;
      // A link is for who follows none to judge; a file is an output by itself.
      if (!stat.isDirectory()) return true;
    }
    return hasEntry(path);
  } catch {
    return true; // whoever collects the outputs tells what is wrong
  }
}

/** Reads one name, however many there are. */
function hasEntry(path: string): boolean {
  const folder = opendirSync(path, { bufferSize: 1 });
  try {
    return folder.readSync() !== null;
  } finally {
    folder.closeSync();
  }
}
