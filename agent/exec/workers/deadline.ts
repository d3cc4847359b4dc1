// What a worker is waited for, and how long: its hello, then the end of the call that runs or the
// marks of those that are answered, at last the end of its process. One timer, as there is one of
// these at a time. Where a claim page can tell, it never kills for a call that may have ended: the
// kill would hit another.
import type { Call } from "./call.ts";
import { type CallQueue, startCall } from "./call-queue.ts";
import type { Revocation } from "./revocation.ts";

/** How long marks may be missing after the answer has come: they use another road. */
const markLimitMs = 2_000;
const longestTimerMs = 2 ** 31 - 1;

export interface DeadlineEvents {
  marksMissing(): void;
  /** The running call is out of time or cancelled. */
  kill(graceMs: number): void;
}

export class Deadline {
  readonly #queue: CallQueue;
  readonly #revocation: Revocation;
  readonly #events: DeadlineEvents;
  #timer: NodeJS.Timeout | undefined;
  #timerCall: Call | undefined;
  #isTimerForMarks = false;
  #timedOut: Call | undefined;

  constructor(queue: CallQueue, revocation: Revocation, events: DeadlineEvents) {
    this.#queue = queue;
    this.#revocation = revocation;
    this.#events = events;
  }

  get timedOut(): Call | undefined {
    return this.#timedOut;
  }

  /** In place of what was waited for. */
  set(limitMs: number, passed: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(passed, limitMs);
  }

  clear(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** The call that runs now gets its start, its time limit, and a cancel that waited for it. */
  watchHead(): void {
    const { head } = this.#queue;
    const waiting = head ?? this.#queue.calls[0];
    const isAnswered = head === undefined;
    const isSame = waiting === this.#timerCall && isAnswered === this.#isTimerForMarks;
    if (isSame && head?.cancelGraceMs === undefined) return;
    this.#isTimerForMarks = isAnswered;
    this.clear();
    this.#timerCall = waiting;
    if (waiting === undefined) return;
    if (head === undefined) {
      this.#timer = setTimeout(() => this.#events.marksMissing(), markLimitMs);
      return;
    }
    startCall(head, Date.now());
    if (head.cancelGraceMs !== undefined) {
      // It may have ended, its answer being held back, and then the kill would hit another.
      if (!this.#queue.isLast(head) && this.#revocation.isPossible) {
        this.#revocation.revoke(this.#queue.answered + 1);
      } else this.#events.kill(head.cancelGraceMs);
    } else if (head.spec.timeoutMs !== undefined) {
      this.#armTimeout(head, performance.now() + head.spec.timeoutMs);
    }
  }

  /** A timer of Node.js for more than 24 days would end at once. */
  #armTimeout(call: Call, at: number): void {
    const leftMs = Math.max(0, at - performance.now());
    const isFar = leftMs > longestTimerMs;
    this.#timer = setTimeout(
      () => (isFar ? this.#armTimeout(call, at) : this.#timeout(call)),
      isFar ? longestTimerMs : leftMs,
    );
  }

  #timeout(call: Call): void {
    if (this.#queue.head !== call) return;
    this.#timedOut = call;
    call.cancelGraceMs = call.spec.graceMs;
    this.watchHead();
  }
}
