// The checksum of rows of the state folder: SQLite has none of its own. FNV-1a over UTF-16 units. Every
// step is one to one, so that a change of one character, whatever its bits, always changes the sum.
// Not zlib's crc32: loading zlib costs milliseconds of every start.

/** `seed` binds the text to its place, so that a whole row in a wrong place is found, too. */
export function rowSum(text: string, seed: number): number {
  let sum = (0x811c9dc5 ^ seed) | 0;
  for (let at = 0; at < text.length; at++) {
    sum = Math.imul(sum ^ text.charCodeAt(at), 0x01000193);
  }
  return sum >>> 0;
}

/** Rows of earlier releases have no sum, and are believed. */
export function isSound(text: string, seed: number, sum: unknown): boolean {
  return sum === null || sum === undefined || sum === rowSum(text, seed);
}
