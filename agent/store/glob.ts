// Redis's glob patterns (KEYS, SCAN MATCH, PSUBSCRIBE): `*`, `?`, `[a-z]`, `[^a]` and `\x`.
// Must stay linear in text times pattern: only the last star is ever tried again.

/** True when the whole of `text` matches `pattern`. */
export function matchesGlob(pattern: string, text: string): boolean {
  let p = 0;
  let t = 0;
  let starAt = -1;
  let starText = 0;
  while (t < text.length) {
    if (pattern[p] === "*") {
      starAt = p++;
      starText = t;
      continue;
    }
    const next = p < pattern.length ? matchOne(pattern, p, text.charCodeAt(t)) : -1;
    if (next >= 0) {
      p = next;
      t++;
    } else if (starAt >= 0) {
      p = starAt + 1;
      t = ++starText;
    } else {
      return false;
    }
  }
  while (pattern[p] === "*") p++;
  return p >= pattern.length;
}

/** Position in the pattern after the unit at `p` when that unit takes `code`, else -1. */
function matchOne(pattern: string, p: number, code: number): number {
  switch (pattern[p]) {
    case "?":
      return p + 1;
    case "[":
      return matchClass(pattern, p + 1, code);
    case "\\":
      if (p + 1 < pattern.length) return pattern.charCodeAt(p + 1) === code ? p + 2 : -1;
      break;
  }
  return pattern.charCodeAt(p) === code ? p + 1 : -1;
}

function matchClass(pattern: string, from: number, code: number): number {
  let p = from;
  const isNegated = pattern[p] === "^";
  if (isNegated) p++;
  let isMember = false;
  for (; p < pattern.length && pattern[p] !== "]"; p++) {
    if (pattern[p] === "\\" && p + 1 < pattern.length) {
      p++;
      if (pattern.charCodeAt(p) === code) isMember = true;
    } else if (pattern[p + 1] === "-" && p + 2 < pattern.length) {
      const low = pattern.charCodeAt(p);
      const high = pattern.charCodeAt(p + 2);
      if (code >= Math.min(low, high) && code <= Math.max(low, high)) isMember = true;
      p += 2;
    } else if (pattern.charCodeAt(p) === code) {
      isMember = true;
    }
  }
  // A class that is never closed ends with the pattern, as in Redis.
  return isMember === isNegated ? -1 : Math.min(p + 1, pattern.length);
}
