// Compares bearer tokens without telling by time how much of one was right.
import { createHash, timingSafeEqual } from "node:crypto";

/** A check of Authorization headers; without a token everybody is let in. */
export function bearerCheck(token: string | undefined): (header: string | undefined) => boolean {
  if (token === undefined) return () => true;
  const expected = digest(token);
  return (header) => {
    const given = /^Bearer +(.+)$/i.exec(header ?? "")?.[1];
    return given !== undefined && timingSafeEqual(digest(given.trim()), expected);
  };
}

/** Digests are of one length, which the comparison needs. */
function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
