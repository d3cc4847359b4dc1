// Splits the bytes of one stream of one attempt into lines and pieces of lines, whatever the chunks
// are. Every byte comes out exactly once and in order; at most 16 KiB are kept. It makes no text of
// them: a piece ends at a character's border where the bytes are UTF-8.
import { type LineEnd, pieceLimitBytes } from "./line-writer.ts";

/** `source[start..end)` is valid only during the call; the newline is not part of it. */
export type PutPiece = (source: Buffer, start: number, end: number, how: LineEnd) => void;

export class LineSplitter {
  /** The line that has no newline yet; grows up to the limit and is then kept for reuse. */
  #held: Buffer | undefined;
  #heldBytes = 0;

  /** Bytes of an unfinished line. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  write(chunk: Buffer, put: PutPiece): void {
    let at = this.#heldBytes > 0 ? this.#completeHeld(chunk, put) : 0;
    while (at < chunk.length) {
      const end = chunk.indexOf(newline, at);
      if (end >= 0 && end - at <= pieceLimitBytes) {
        put(chunk, at, end, "line");
        at = end + 1;
      } else if (chunk.length - at > pieceLimitBytes) {
        const border = pieceEnd(chunk, at, at + pieceLimitBytes);
        put(chunk, at, border, "cut");
        at = border;
      } else {
        this.#hold(chunk, at, chunk.length);
        return;
      }
    }
  }

  /** Gives out an unfinished line (a prompt), but never the beginning of a character. */
  flushPartial(put: PutPiece): void {
    if (this.#held !== undefined && this.#heldBytes > 0) {
      this.#cutHeld(this.#held, characterBorder(this.#held, 0, this.#heldBytes), put);
    }
  }

  /** The stream has ended: what has no newline is `open`. */
  end(put: PutPiece): void {
    if (this.#held !== undefined && this.#heldBytes > 0) {
      put(this.#held, 0, this.#heldBytes, "open");
    }
    this.#held = undefined;
    this.#heldBytes = 0;
  }

  /** Adds from the chunk to the held line until its end; returns where the chunk goes on. */
  #completeHeld(chunk: Buffer, put: PutPiece): number {
    const found = chunk.indexOf(newline);
    const end = found >= 0 ? found : chunk.length;
    let at = 0;
    while (true) {
      const room = pieceLimitBytes - this.#heldBytes;
      const take = Math.min(room, end - at);
      this.#hold(chunk, at, at + take);
      at += take;
      if (at === end) {
        break;
      }
      const held = this.#held as Buffer;
      this.#cutHeld(held, pieceEnd(held, 0, this.#heldBytes), put);
    }
    if (found < 0) {
      return at;
    }
    put(this.#held as Buffer, 0, this.#heldBytes, "line");
    this.#heldBytes = 0;
    return at + 1;
  }

  #cutHeld(held: Buffer, border: number, put: PutPiece): void {
    if (border > 0) {
      put(held, 0, border, "cut");
      held.copyWithin(0, border, this.#heldBytes);
      this.#heldBytes -= border;
    }
  }

  #hold(chunk: Buffer, start: number, end: number): void {
    const needed = this.#heldBytes + end - start;
    if (this.#held === undefined || this.#held.length < needed) {
      const capacity = Math.min(pieceLimitBytes, Math.max(256, needed * 2));
      const larger = Buffer.allocUnsafeSlow(capacity);
      this.#held?.copy(larger, 0, 0, this.#heldBytes);
      this.#held = larger;
    }
    chunk.copy(this.#held, this.#heldBytes, start, end);
    this.#heldBytes = needed;
  }
}

const newline = 10;

/** A border at or before `end`; `end` itself when the bytes there are no UTF-8 anyway. */
function pieceEnd(bytes: Uint8Array, start: number, end: number): number {
  const border = characterBorder(bytes, start, end);
  return border > start ? border : end;
}

/** Where the last whole character before `end` ends, if a character is torn there. */
function characterBorder(bytes: Uint8Array, start: number, end: number): number {
  for (let back = 1; back <= 3 && end - back >= start; back++) {
    const byte = bytes[end - back] as number;
    if ((byte & 0xc0) !== 0x80) {
      const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
      return length > back ? end - back : end;
    }
  }
  return end;
}
