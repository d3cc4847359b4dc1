// How much of a stream of output a reader has been told, in bytes: so that one who comes back gets the
// rest, however its pieces are cut, from memory or from what was kept. Letters are told whole. Pure.

export class ToldText {
  /** Bytes that were told; a place between two letters. */
  #toldBytes: number;
  #seenBytes = 0;
  #begun: Uint8Array = new Uint8Array();

  /** `hadBytes`: told to this reader before. */
  constructor(hadBytes = 0) {
    this.#toldBytes = hadBytes;
  }

  get toldBytes(): number {
    return this.#toldBytes;
  }

  /** What is new in the next piece; "" where that is nothing yet. */
  take(bytes: Uint8Array): string {
    const at = this.#seenBytes;
    this.#seenBytes += bytes.length;
    const known = Math.max(0, this.#toldBytes + this.#begun.length - at);
    if (known >= bytes.length) return "";
    const all = Buffer.concat([this.#begun, bytes.subarray(known)]);
    const whole = all.subarray(0, all.length - unfinishedBytes(all));
    this.#begun = all.subarray(whole.length);
    this.#toldBytes += whole.length;
    return whole.toString("utf8");
  }

  /** What is new in all of it, now that it is over. */
  rest(all: Uint8Array): string {
    const rest = all.subarray(this.#toldBytes);
    this.#toldBytes += rest.length;
    this.#begun = new Uint8Array();
    return Buffer.from(rest.buffer, rest.byteOffset, rest.byteLength).toString("utf8");
  }
}

/** At its end, of a letter that goes on. */
function unfinishedBytes(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] ?? 0;
    // 10xxxxxx goes on with a letter, which begins further back.
    if ((byte & 0xc0) === 0x80) continue;
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return length > back ? back : 0;
  }
  return 0;
}
