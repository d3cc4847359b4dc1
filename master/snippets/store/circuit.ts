// Whether something that has failed lately is worth asking: after a few failures in a row it is left
// alone for a while, then asked once, and left alone for longer when that fails. No timers, no I/O.

const failuresToOpen = 3;
const firstPauseMs = 1000;
const longestPauseMs = 30_000;

export class Circuit {
  #failures = 0;
  #pauseMs = firstPauseMs;
  #openUntil = 0;

  /** `now` in milliseconds of any clock that does not go back. */
  mayAsk(now: number): boolean {
    if (this.#failures < failuresToOpen) return true;
    if (now < this.#openUntil) return false;
    // This one finds out; the others wait for what it finds.
    this.#openUntil = now + this.#pauseMs;
    return true;
  }

  /** True when it is left alone from now on. */
  failed(now: number): boolean {
    this.#failures++;
    if (this.#failures < failuresToOpen) return false;
    if (this.#failures > failuresToOpen) {
      this.#pauseMs = Math.min(longestPauseMs, this.#pauseMs * 2);
    }
    this.#openUntil = now + this.#pauseMs;
    return this.#failures === failuresToOpen;
  }

  /** True when it had been left alone. */
  succeeded(): boolean {
    const wasOpen = this.#failures >= failuresToOpen;
    this.#failures = 0;
    this.#pauseMs = firstPauseMs;
    return wasOpen;
  }
}
