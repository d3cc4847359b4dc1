// Turns records into frames: as many as fit a frame and the window, never more. Says nothing about
// when to send; the thread asks for the next frame whenever the socket has room.
import type { RecordSource } from "./record-source.ts";
import type { ShipWindow } from "./ship-window.ts";

export const frameBytes = 256 * 1024;

export class Shipper {
  readonly #source: RecordSource;
  readonly #window: ShipWindow;

  constructor(source: RecordSource, window: ShipWindow) {
    this.#source = source;
    this.#window = window;
  }

  close(): void {
    this.#source.close();
  }

  /** "empty": nothing to send. "full": acks must come first. */
  next(now: number): { frame: string } | "empty" | "full" {
    const room = Math.min(frameBytes, this.#window.roomBytes);
    const texts: string[] = [];
    let bytes = 0;
    let lastSeq = 0;
    for (let record = this.#source.peek(); record !== undefined; record = this.#source.peek()) {
      const mayGoAlone = texts.length === 0 && this.#window.unackedBytes === 0;
      if (bytes + record.bytes > room && !mayGoAlone) {
        break;
      }
      texts.push(record.text);
      bytes += record.bytes;
      lastSeq = record.seq;
      this.#source.take();
    }
    if (texts.length === 0) {
      return this.#source.peek() === undefined ? "empty" : "full";
    }
    this.#window.sent(lastSeq, bytes, now);
    return { frame: `{"type":"records","records":[${texts.join(",")}]}` };
  }
}
