// Finds out that the wall clock was set: it moved by something else than the clock that cannot be set. Whoever
// compares times with `now` shifts them by the jump, so that a set clock makes nobody silent.
import type { Clock } from "./clock.ts";

export class ClockJump {
  readonly #wall: Clock;
  readonly #steady: Clock;
  #ahead: number;

  constructor(wall: Clock, steady: Clock) {
    this.#wall = wall;
    this.#steady = steady;
    this.#ahead = wall() - steady();
  }

  /** Milliseconds that the clock was set since the last look; small corrections add up. */
  look(): number {
    const ahead = this.#wall() - this.#steady();
    const jump = ahead - this.#ahead;
    if (Math.abs(jump) < leastMs) return 0;
    this.#ahead = ahead;
    return jump;
  }
}

/** A time of before the jump, as the clock now tells it. Times that were taken after it stay what they are. */
export function shiftedTime(at: number, byMs: number, now: number): number {
  if (byMs > 0) return Math.min(at + byMs, now);
  return at > now ? Math.min(at + byMs, now) : at;
}

const leastMs = 1_000;
