// Patterns of the outputs that a task leaves: `*`, `?`, `[a-z]`, and `**` for any number of folders.
// A pattern that names a folder means everything below it. Linear in path times pattern: names come
// from tasks.

export interface OutputPattern {
  readonly segments: readonly Segment[];
}

type Segment = "**" | { text: string };

export function parsePattern(pattern: string): OutputPattern {
  const parts = pattern.split("/").filter((part) => part !== "" && part !== ".");
  const segments = parts.map((part): Segment => (part === "**" ? "**" : { text: part }));
  return {
    segments: [...segments.filter((part, at) => part !== "**" || segments[at - 1] !== "**")],
  };
}

/** Whether the file is meant: by the pattern itself, or as something below a folder that is. */
export function matchesPath({ segments }: OutputPattern, path: readonly string[]): boolean {
  const states = follow(segments, path);
  return states === "all" || hasEnd(segments, states);
}

/** Whether something below the folder may be meant. */
export function mayMatchBelow({ segments }: OutputPattern, folder: readonly string[]): boolean {
  const states = follow(segments, folder);
  return states === "all" || states.size > 0;
}

/** Positions in the pattern that the path may have reached; `all`: a folder on it was matched. */
function follow(segments: readonly Segment[], path: readonly string[]): Set<number> | "all" {
  let states = closed(segments, new Set([0]));
  for (const [depth, name] of path.entries()) {
    if (depth > 0 && hasEnd(segments, states)) return "all";
    const next = new Set<number>();
    for (const at of states) {
      const segment = segments[at];
      if (segment === "**") next.add(at);
      else if (segment !== undefined && matchesName(segment.text, name)) next.add(at + 1);
    }
    states = closed(segments, next);
    if (states.size === 0) return states;
  }
  return states;
}

/** `**` may stand for nothing. */
function closed(segments: readonly Segment[], states: Set<number>): Set<number> {
  for (const at of states) if (segments[at] === "**") states.add(at + 1);
  return states;
}

function hasEnd(segments: readonly Segment[], states: ReadonlySet<number>): boolean {
  return states.has(segments.length);
}

function matchesName(pattern: string, name: string): boolean {
  let p = 0;
  let n = 0;
  let starAt = -1;
  let starName = 0;
  while (n < name.length) {
    if (pattern[p] === "*") {
      starAt = p++;
      starName = n;
      continue;
    }
    const next = p < pattern.length ? matchOne(pattern, p, name.charCodeAt(n)) : -1;
    if (next >= 0) {
      p = next;
      n += 1;
    } else if (starAt >= 0) {
      p = starAt + 1;
      starName += 1;
      n = starName;
    } else {
      return false;
    }
  }
  while (pattern[p] === "*") p += 1;
  return p >= pattern.length;
}

/** The position behind the unit at `p` when that takes `code`, else -1. */
function matchOne(pattern: string, p: number, code: number): number {
  if (pattern[p] === "?") return p + 1;
  const end = pattern[p] === "[" ? pattern.indexOf("]", p + 2) : -1;
  if (end < 0) return pattern.charCodeAt(p) === code ? p + 1 : -1;
  const isNegated = pattern[p + 1] === "!" || pattern[p + 1] === "^";
  let isMember = false;
  for (let at = p + (isNegated ? 2 : 1); at < end; at += 1) {
    const low = pattern.charCodeAt(at);
    const isRange = pattern[at + 1] === "-" && at + 2 < end;
    const high = isRange ? pattern.charCodeAt(at + 2) : low;
    if (code >= low && code <= high) isMember = true;
    if (isRange) at += 2;
  }
  return isMember === isNegated ? -1 : end + 1;
}
