// The checksum of rows of the state folder: SQLite has none of its own. FNV-1a in steps of four bytes
// of the text's UTF-8, then its length. Every step is one to one, so that a change within four bytes,
// whatever its bits, always changes the sum. Not zlib's crc32: loading zlib costs milliseconds of
// every start. Not over the text's characters: to look at one takes as long as to look at 16 bytes.

export type SumOf = (text: string, seed: number) => number;

const basis = 0x811c9dc5;
const prime = 0x01000193;

/** UTF-8 of one text, as bytes and as words; texts of up to 21,000 characters have room in any case. */
interface Room {
  bytes: Buffer;
  words: Int32Array;
}

const usual = roomFor(2 ** 16);

/** `seed` binds the text to its place, so that a whole row in a wrong place is found, too. */
export function rowSum(text: string, seed: number): number {
  const most = 3 * text.length + 3;
  const { bytes, words } = most <= usual.bytes.length ? usual : roomFor(most);
  const length = bytes.write(text, 0);
  const end = (length + 3) >> 2;
  // The last word is filled up.
  for (let at = length; at < 4 * end; at++) bytes[at] = 0;
  let sum = basis ^ seed;
  for (let at = 0; at < end; at++) sum = Math.imul(sum ^ (words[at] ?? 0), prime);
  return Math.imul(sum ^ length, prime) >>> 0;
}

function roomFor(sizeBytes: number): Room {
  const bytes = Buffer.allocUnsafeSlow((sizeBytes + 3) & ~3);
  return { bytes, words: new Int32Array(bytes.buffer) };
}

/** As rows were summed at first: FNV-1a over UTF-16 units. Those that were written so are believed. */
export function firstRowSum(text: string, seed: number): number {
  let sum = (basis ^ seed) | 0;
  for (let at = 0; at < text.length; at++) sum = Math.imul(sum ^ text.charCodeAt(at), prime);
  return sum >>> 0;
}

/** Whether `stored` is what `make` gives with a sum of this release or an earlier one. */
export function isSum(stored: unknown, make: (sumOf: SumOf) => number): boolean {
  return stored === make(rowSum) || stored === make(firstRowSum);
}

/** Rows of the earliest releases have no sum, and are believed. */
export function isSound(text: string, seed: number, sum: unknown): boolean {
  return sum === null || sum === undefined || isSum(sum, (sumOf) => sumOf(text, seed));
}
