// What is on its way into a relayed channel. The launcher keeps one window for a process that does
// not read; all beyond it waits here, so that no process can hold up the frames of another.

/** As the launcher has it (relay.c). */
const windowBytes = 256 * 1024;
const pieceBytes = 64 * 1024;
const close = new Uint8Array(0);

export class ChannelWindow {
  readonly #write: (bytes: Uint8Array) => void;
  /** Sent, and not yet taken by the process as far as we were told. */
  #inFlight = 0;
  #queue: Uint8Array[] = [];
  #isClosed = false;

  /** `write` is given at most a piece at a time; no bytes stand for the end. */
  constructor(write: (bytes: Uint8Array) => void) {
    this.#write = write;
  }

  /** `bytes` may be used again when this returns. Nothing: the process finds the end. */
  send(bytes: Uint8Array): void {
    if (this.#isClosed) return;
    if (bytes.length === 0) {
      this.#isClosed = true;
      this.#queue.push(close);
    } else if (this.#queue.length === 0) {
      const sent = this.#sendSome(bytes);
      if (sent < bytes.length) this.#queue.push(Uint8Array.from(bytes.subarray(sent)));
    } else {
      this.#queue.push(Uint8Array.from(bytes));
    }
    this.#sendQueue();
  }

  /** The process has taken so many. False: more than there were. */
  room(bytes: number): boolean {
    if (bytes > this.#inFlight) return false;
    this.#inFlight -= bytes;
    this.#sendQueue();
    return true;
  }

  /** Nobody reads there any more. */
  drop(): void {
    this.#isClosed = true;
    this.#queue = [];
  }

  #sendQueue(): void {
    while (this.#queue.length > 0) {
      const [first = close] = this.#queue;
      if (first === close) {
        this.#queue.shift();
        this.#write(close);
        continue;
      }
      const sent = this.#sendSome(first);
      if (sent < first.length) {
        this.#queue[0] = first.subarray(sent);
        return;
      }
      this.#queue.shift();
    }
  }

  #sendSome(bytes: Uint8Array): number {
    let at = 0;
    while (at < bytes.length) {
      const room = Math.min(windowBytes - this.#inFlight, pieceBytes);
      if (room <= 0) break;
      const piece = bytes.subarray(at, at + room);
      this.#write(piece);
      this.#inFlight += piece.length;
      at += piece.length;
    }
    return at;
  }
}
