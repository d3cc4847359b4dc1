// Frames of the worker channel: u32 little-endian byte length, then JSON text (PROTOCOL.md).
// Cuts a stream of bytes into frames and makes frames; knows nothing of what they say.

export const maxFrameBytes = 64 * 2 ** 20;

/** One frame, ready to be written. */
export function encodeFrame(text: string): Buffer {
  const length = Buffer.byteLength(text);
  const frame = Buffer.allocUnsafe(4 + length);
  frame.writeUInt32LE(length, 0);
  frame.write(text, 4);
  return frame;
}

/** Collects chunks until frames are whole. */
export class FrameReader {
  #chunks: Buffer[] = [];
  #length = 0;
  /** Bytes that must be there before it is worth looking again. */
  #wanted = 4;
  /** A frame that is announced as longer is not waited for. */
  limitBytes: number;

  constructor(limitBytes = maxFrameBytes) {
    this.limitBytes = limitBytes;
  }

  /** The texts of the frames that `chunk` completes, or what is wrong with the stream. */
  read(chunk: Buffer): { frames: string[]; problem?: string } {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    const frames: string[] = [];
    if (this.#length < this.#wanted) return { frames };
    const bytes = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks);
    let at = 0;
    this.#wanted = 4;
    while (bytes.length - at >= 4) {
      const length = bytes.readUInt32LE(at);
      if (length > this.limitBytes) {
        return { frames, problem: `a frame of ${length} bytes is over the limit` };
      }
      if (bytes.length - at < 4 + length) {
        this.#wanted = 4 + length;
        break;
      }
      frames.push(bytes.toString("utf8", at + 4, at + 4 + length));
      at += 4 + length;
    }
    this.#chunks = at === bytes.length ? [] : [bytes.subarray(at)];
    this.#length = bytes.length - at;
    return { frames };
  }
}
