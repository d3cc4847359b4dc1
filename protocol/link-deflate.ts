// Binary frames of the link: a message's text, raw deflate (RFC 1951). Each frame stands for itself, so
// nothing is kept between two, and a connection that says nothing costs no memory for it.
import { deflateRawSync, inflateRawSync } from "node:zlib";
import { frameLimitBytes } from "./link-decode.ts";

/** Smaller frames are not worth it. */
export const deflateFromBytes = 1024;

/** The text itself where it does not become smaller. */
export function deflateFrame(text: string): string | Buffer {
  if (text.length < deflateFromBytes) return text;
  const bytes = Buffer.from(text);
  const deflated = deflateRawSync(bytes, { level: 3, memLevel: 7 });
  return deflated.length < bytes.length ? deflated : text;
}

/** What came is not believed: it inflates to a frame at most. */
export function inflateFrame(data: Buffer): { text: string } | { wrong: "too-large" | "damaged" } {
  try {
    const bytes = inflateRawSync(data, { maxOutputLength: frameLimitBytes });
    return { text: bytes.toString("utf8") };
  } catch (error) {
    const isTooLarge = error instanceof RangeError;
    return { wrong: isTooLarge ? "too-large" : "damaged" };
  }
}
