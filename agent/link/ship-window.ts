// How many bytes may be on the way to the master without an ack. Bounded, and fitted to the line: what
// is on the way is also what a heartbeat waits behind, so a slow line gets a small window. Pure.

export interface WindowRules {
  minBytes: number;
  maxBytes: number;
}

export const defaultWindow: WindowRules = { minBytes: 16 * 1024, maxBytes: 1024 * 1024 };

export class ShipWindow {
  readonly #rules: WindowRules;
  #limitBytes: number;
  #onTheWay: { lastSeq: number; bytes: number; sentAt: number }[] = [];
  #bytes = 0;

  constructor(rules: WindowRules) {
    this.#rules = rules;
    this.#limitBytes = Math.min(rules.maxBytes, rules.minBytes * 4);
  }

  get limitBytes(): number {
    return this.#limitBytes;
  }

  get unackedBytes(): number {
    return this.#bytes;
  }

  /** Bytes that may be sent now. A single record larger than the window may go when nothing else is on the way. */
  get roomBytes(): number {
    return Math.max(0, this.#limitBytes - this.#bytes);
  }

  sent(lastSeq: number, bytes: number, now: number): void {
    this.#onTheWay.push({ lastSeq, bytes, sentAt: now });
    this.#bytes += bytes;
  }

  /** Grows while acks come well within a heartbeat, shrinks when they take half of one. */
  acked(seq: number, now: number, heartbeatMs: number): void {
    let done = 0;
    let oldest = now;
    for (const frame of this.#onTheWay) {
      if (frame.lastSeq > seq) {
        break;
      }
      done += 1;
      this.#bytes -= frame.bytes;
      oldest = Math.min(oldest, frame.sentAt);
    }
    if (done === 0) {
      return;
    }
    this.#onTheWay.splice(0, done);
    const waitedMs = now - oldest;
    if (waitedMs < heartbeatMs / 8) {
      this.#limitBytes = Math.min(this.#rules.maxBytes, this.#limitBytes * 2);
    } else if (waitedMs > heartbeatMs / 2) {
      this.#limitBytes = Math.max(this.#rules.minBytes, this.#limitBytes / 2);
    }
  }

  /** A new connection: nothing is on the way. */
  reset(): void {
    this.#onTheWay = [];
    this.#bytes = 0;
  }
}
