// Cuts what a stranger sends into frames (u32 little-endian length, then text) with bounded memory:
// neither a frame that is announced as huge nor millions of single bytes cost more than the limit.
// Used for the channel of a worker in a box; says what is wrong instead of throwing.

const startBytes = 4096;

export class BoundedFrames {
  readonly #maxFrameBytes: number;
  #bytes: Buffer = Buffer.alloc(0);
  #length = 0;

  constructor(maxFrameBytes: number) {
    this.#maxFrameBytes = maxFrameBytes;
  }

  /** The texts that `chunk` completes; after a problem nothing more is to be read. */
  read(chunk: Buffer): { frames: string[]; problem?: string } {
    const frames: string[] = [];
    let at = 0;
    while (at < chunk.length) {
      // One frame at most is held at a time, whatever comes behind it in the chunk.
      const wanted = this.#length < 4 ? 4 : 4 + this.#bytes.readUInt32LE(0);
      if (wanted - 4 > this.#maxFrameBytes) {
        return { frames, problem: `it announced a frame of ${wanted - 4} bytes` };
      }
      const count = Math.min(wanted - this.#length, chunk.length - at);
      this.#add(chunk.subarray(at, at + count));
      at += count;
      if (this.#length < 4 || this.#length < 4 + this.#bytes.readUInt32LE(0)) continue;
      frames.push(this.#bytes.toString("utf8", 4, this.#length));
      this.#length = 0;
    }
    if (this.#length >= 4 && this.#bytes.readUInt32LE(0) > this.#maxFrameBytes) {
      return { frames, problem: `it announced a frame of ${this.#bytes.readUInt32LE(0)} bytes` };
    }
    return { frames };
  }

  #add(bytes: Buffer): void {
    const length = this.#length + bytes.length;
    if (this.#bytes.length < length) {
      const larger = Buffer.allocUnsafe(Math.max(startBytes, length, this.#bytes.length * 2));
      this.#bytes.copy(larger, 0, 0, this.#length);
      this.#bytes = larger;
    }
    bytes.copy(this.#bytes, this.#length);
    this.#length = length;
  }
}
