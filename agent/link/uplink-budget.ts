// How much may go to the master a second: two token buckets, bytes and frames, filled for one second
// at most. What must go (hello, heartbeats, answers) goes and is charged; what waits are the records.
// Charged is what the socket has really taken, so compression pays off. Pure.

export interface BudgetRules {
  /** Bytes a second; 0: no limit. */
  bytesPerSecond: number;
  /** WebSocket frames a second; 0: no limit. */
  framesPerSecond: number;
}

export const noBudget: BudgetRules = { bytesPerSecond: 0, framesPerSecond: 0 };

export class UplinkBudget {
  readonly #bytes: Bucket | undefined;
  readonly #frames: Bucket | undefined;

  constructor({ bytesPerSecond, framesPerSecond }: BudgetRules, now: number) {
    this.#bytes = bytesPerSecond > 0 ? new Bucket(bytesPerSecond, now) : undefined;
    this.#frames = framesPerSecond > 0 ? new Bucket(framesPerSecond, now) : undefined;
  }

  charge(bytes: number, frames: number): void {
    this.#bytes?.take(bytes);
    this.#frames?.take(frames);
  }

  /** Milliseconds until records may go; 0: now. */
  waitMs(now: number): number {
    const bytes = this.#bytes;
    // A frame is worth its overhead only with some bytes in it.
    const wanted = bytes === undefined ? 0 : Math.min(bytes.perSecond / 4, worthBytes);
    return Math.max(bytes?.waitMs(wanted, now) ?? 0, this.#frames?.waitMs(1, now) ?? 0);
  }

  /** How many bytes a frame may have now. */
  roomBytes(now: number): number {
    return this.#bytes === undefined ? Infinity : Math.max(1, this.#bytes.level(now));
  }
}

class Bucket {
  readonly perSecond: number;
  #level: number;
  #at: number;

  constructor(perSecond: number, now: number) {
    this.perSecond = perSecond;
    this.#level = perSecond;
    this.#at = now;
  }

  take(amount: number): void {
    this.#level -= amount;
  }

  level(now: number): number {
    const most = Math.max(1, this.perSecond);
    this.#level = Math.min(most, this.#level + ((now - this.#at) / 1000) * this.perSecond);
    this.#at = now;
    return this.#level;
  }

  waitMs(wanted: number, now: number): number {
    const missing = wanted - this.level(now);
    return missing <= 0 ? 0 : Math.ceil((missing / this.perSecond) * 1000);
  }
}

const worthBytes = 4 * 1024;
