// Whether a task can have left something that its patterns mean. Mostly it has not, and then its box
// need not be dead before its end is told. A wrong yes costs time only; a no is given where the place
// is empty or is not there, by looking at names alone. Follows no link.
import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";

const isLiteral = (segment: string): boolean => !/[*?[\]{}()!+@\\]/.test(segment);

export async function mayHaveOutputs(work: string, patterns: readonly string[]): Promise<boolean> {
  const places = new Set(patterns.map(placeOf));
  const found = await Promise.all([...places].map((place) => isSomethingAt(work, place)));
  return found.some((isThere) => isThere);
}

/** The segments before the first that is a pattern. */
function placeOf(pattern: string): string {
  const segments = pattern.split("/").filter((segment) => segment !== "" && segment !== ".");
  const at = segments.findIndex((segment) => !isLiteral(segment));
  return (at === -1 ? segments : segments.slice(0, at)).join("/");
}

async function isSomethingAt(work: string, place: string): Promise<boolean> {
  if (place === "") return true;
  try {
    let path = work;
    for (const segment of place.split("/")) {
      path = join(path, segment);
      const stat = await lstat(path);
      // A link is for who follows none to judge; a file is an output by itself.
      if (!stat.isDirectory()) return true;
    }
    return (await readdir(path)).length > 0;
  } catch (error) {
    return !(error instanceof Error && "code" in error && error.code === "ENOENT");
  }
}
