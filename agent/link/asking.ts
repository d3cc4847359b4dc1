// What the link thread knows of the main thread: the answer to its last question, and for how long
// it has waited for one. It asks in time for each heartbeat, so that an idle agent sleeps between.
import { answerMs, type LinkStatus } from "./heartbeat.ts";
import type { SharedClock } from "./shared-clock.ts";

export class Asking {
  status: LinkStatus;
  readonly #ask: () => void;
  readonly #clock: SharedClock;
  #askedAt: number | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(status: LinkStatus, clock: SharedClock, ask: () => void) {
    this.status = status;
    this.#clock = clock;
    this.#ask = ask;
  }

  now(): void {
    this.#askedAt ??= performance.now();
    this.#ask();
  }

  /** In time for a heartbeat in `heartbeatMs`. */
  before(heartbeatMs: number): void {
    this.stop();
    this.#timer = setTimeout(() => this.now(), heartbeatMs - Math.min(answerMs, heartbeatMs / 2));
  }

  answered(status: LinkStatus): void {
    this.status = status;
    this.#askedAt = undefined;
  }

  /** For how long the main thread has neither answered nor turned. */
  unansweredMs(): number {
    if (this.#askedAt === undefined) return 0;
    const sinceAskMs = performance.now() - this.#askedAt;
    return Math.round(Math.min(sinceAskMs, this.#clock.sinceTurnMs()));
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
