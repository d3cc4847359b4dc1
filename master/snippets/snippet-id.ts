// Ids of snippets: sorted by time, unique among masters, safe in URLs and as names of folders.
import { randomBytes } from "node:crypto";

let lastMs = 0;
let count = 0;

/** `0mf1k2j3h401-9c51e0a2b7d4`: milliseconds in base 36, a counter, 48 random bits. */
export function newSnippetId(now: number): string {
  // Never backwards, so that ids of one master keep the order in which they were given.
  count = now > lastMs ? 0 : count + 1;
  lastMs = Math.max(now, lastMs);
  const time = lastMs.toString(36).padStart(9, "0");
  return `${time}${count.toString(36).padStart(4, "0")}-${randomBytes(6).toString("hex")}`;
}

export const snippetIdPattern = /^[a-z0-9]{13,20}-[0-9a-f]{12}$/;
