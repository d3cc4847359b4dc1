// The only place of the master that compares secrets: as SHA-256 digests, which are of one length,
// and without telling by time how much of one was right.
import { createHash, timingSafeEqual } from "node:crypto";

export function digestOf(secret: string): Buffer {
  return createHash("sha256").update(secret).digest();
}

/** Both are of `digestOf`, or kept in its form. */
export function isSameDigest(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
