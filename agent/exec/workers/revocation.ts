// Taking calls back that a worker has not begun: it numbers the calls that are put ahead, writes on
// the claim page what is not to be begun, and decides what comes back. It never returns a call that
// the worker has begun or may still begin.
import type { Call } from "./call.ts";
import type { CallQueue } from "./call-queue.ts";
import { type ClaimPage, claimDistance } from "./claim-page.ts";
import type { HeldAnswers } from "./held-answers.ts";

/** A call that runs for longer is not waited for by calls that do not need its end. */
const slowMs = 5;
/** From writing to reading the claim page: see `#decide`. */
const settleMs = 2;
const u32Max = 0xffff_ffff;

export interface RevocationParts {
  queue: CallQueue;
  /** Without it nothing can be taken back. */
  page: ClaimPage | undefined;
  held: HeldAnswers;
  /** Calls may have got their answers, or have left the queue. */
  progressed(): void;
}

export class Revocation {
  readonly #queue: CallQueue;
  readonly #page: ClaimPage | undefined;
  readonly #held: HeldAnswers;
  readonly #progressed: () => void;
  #isStopped = false;
  #lastClaim = 0;
  /** What the claim page forbids. Nothing is handed over while it is set. */
  #revoked: { from: number; to: number } | undefined;
  /** Returned by us; the worker will say the same of each when it comes to it. */
  readonly #ghosts = new Set<number>();
  #queueTimer: NodeJS.Timeout | undefined;
  #decideTimer: NodeJS.Timeout | undefined;
  #askedAt = 0;
  #claimedThen = 0;
  /** The running call whose queue needs no further look. */
  #lookedAt: Call | undefined;

  constructor({ queue, page, held, progressed }: RevocationParts) {
    this.#queue = queue;
    this.#page = page;
    this.#held = held;
    this.#progressed = progressed;
  }

  get isPossible(): boolean {
    return this.#page !== undefined;
  }

  /** Nothing is to be handed over. */
  get isUnderWay(): boolean {
    return this.#revoked !== undefined;
  }

  /** The worker has still to pass over calls that were returned. */
  get hasGhosts(): boolean {
    return this.#ghosts.size > 0;
  }

  /** A call can be put behind the running one, and taken back when that is slow. */
  get takesFree(): boolean {
    return this.#page !== undefined && this.#slowInMs(this.#queue.head) > 0;
  }

  /** Before the call is put into the queue. */
  number(call: Call): void {
    if (this.#queue.calls.length === 0 || this.#page === undefined) return;
    this.#lastClaim = this.#lastClaim === u32Max ? 1 : this.#lastClaim + 1;
    call.claim = this.#lastClaim;
  }

  /** Looks at the queue when calls have waited behind one call for `slowMs`. */
  watchQueue(): void {
    const { head } = this.#queue;
    if (this.#queueTimer !== undefined || this.#page === undefined) return;
    if (head === undefined || head === this.#lookedAt || this.#queue.isLast(head)) return;
    // Answers that came while the agent was busy are read before the look.
    const look = () => setImmediate(() => this.#lookAtQueue());
    this.#queueTimer = setTimeout(look, Math.max(1, this.#slowInMs(head)));
  }

  /** Takes the call at `at` and all behind it back, as far as they are not begun: see `#decide`. */
  revoke(at: number): void {
    const first = this.#queue.calls[at]?.claim ?? 0;
    if (this.#page === undefined || first === 0) return;
    const before = this.#revoked;
    // Ranges only grow until nothing of them is left at the worker: it must not begin a ghost.
    const isLower = before === undefined || claimDistance(first, before.from) < 0;
    if (isLower) {
      this.#revoked = { from: first, to: before?.to ?? this.#lastClaim };
      this.#page.revoke(first, this.#revoked.to);
    }
    if (isLower || this.#decideTimer === undefined) this.#ask();
  }

  /** An answer for a call that was returned; says so once. */
  endGhost(id: number): boolean {
    if (!this.#ghosts.delete(id)) return false;
    if (this.#ghosts.size === 0) this.#revoked = undefined;
    return true;
  }

  /** The worker is idle. */
  reset(): void {
    // All of the range is done with, and the calls that come now are not in it.
    this.#revoked = undefined;
    clearTimeout(this.#decideTimer);
    this.#decideTimer = undefined;
  }

  /** How many of the unanswered calls of a worker that is gone had been begun. */
  countBegun(): number {
    const claimed = this.#page?.claimed() ?? 0;
    // A call without a number was sent to a worker that had nothing else to do.
    const isBegun = ({ claim }: Call, index: number) =>
      claim === 0 ? index === 0 : claimDistance(claim, claimed) <= 0;
    return this.#queue.calls.findLastIndex(isBegun) + 1;
  }

  /** The worker has hung up: with the end of the process it is clear what is to be returned. */
  stop(): void {
    this.#isStopped = true;
  }

  /** The process is gone. */
  close(): void {
    this.#isStopped = true;
    clearTimeout(this.#queueTimer);
    clearTimeout(this.#decideTimer);
  }

  /** Until the running call counts as slow; 0 and less: it does. */
  #slowInMs(head: Call | undefined): number {
    return head?.startedAt === undefined ? slowMs : head.startedAt + slowMs - Date.now();
  }

  #lookAtQueue(): void {
    this.#queueTimer = undefined;
    const { head } = this.#queue;
    if (this.#isStopped) return;
    if (head === undefined || this.#queue.isLast(head)) return;
    if (this.#slowInMs(head) > 0) {
      this.watchQueue();
      return;
    }
    const { calls, answered } = this.#queue;
    const isFree = ({ claim, spec }: Call) => claim !== 0 && spec.after !== true;
    const at = calls.findIndex((call, index) => index > answered && isFree(call));
    if (at >= 0) this.revoke(at);
    else this.#ask();
  }

  #ask(): void {
    if (this.#page === undefined) return;
    this.#askedAt = performance.now();
    this.#claimedThen = this.#page.claimed();
    this.#setDecideTimer();
  }

  #setDecideTimer(): void {
    // What has come meanwhile is read first, above all the end of the channel.
    clearTimeout(this.#decideTimer);
    const decide = () => setImmediate(() => this.#decide());
    this.#decideTimer = setTimeout(decide, settleMs);
  }

  /**
   * What the worker has not begun is returned. It stores a claim and then loads the revoked range;
   * we store the range, wait, and then load the claim. A store may be seen late by others, but not
   * by milliseconds: it leaves the processor's store buffer in far less, and at the latest when its
   * thread is descheduled. So if the worker loaded the old range, its claim was stored before ours
   * was and we see it now: the call is not returned here. If we do not see the claim, it is stored
   * later than our range, and the worker finds the call revoked. When both see the other, the
   * worker answers `returned` for a call that we have kept: returned once, by its answer.
   */
  #decide(): void {
    const page = this.#page;
    if (this.#isStopped || page === undefined) return;
    if (this.#decideTimer === undefined) return;
    this.#decideTimer = undefined;
    // Timers count from the start of the turn that set them.
    if (performance.now() - this.#askedAt < settleMs / 2) {
      this.#setDecideTimer();
      return;
    }
    const claimed = page.claimed();
    const isStill = claimed === this.#claimedThen;
    // It has sat in one call all the time: what it stored before is there to be read.
    if (isStill) this.#held.take();
    this.#takeBack(claimed);
    if (isStill) this.#lookedAt = this.#queue.head;
    this.#progressed();
    const { head } = this.#queue;
    // The call to be killed has ended, as another has begun: its answer comes.
    if (head?.cancelGraceMs !== undefined && !this.#queue.isLast(head)) this.#ask();
  }

  #takeBack(claimed: number): void {
    if (this.#revoked === undefined) return;
    const { from, to } = this.#revoked;
    const isToReturn = ({ claim }: Call) =>
      claim !== 0 &&
      claimDistance(claim, from) >= 0 &&
      claimDistance(claim, to) <= 0 &&
      claimDistance(claim, claimed) > 0;
    // What stands behind the first has been handed over before the range was written.
    const { calls, answered } = this.#queue;
    const at = calls.findIndex((call, index) => index >= answered && isToReturn(call));
    const returned = at < 0 ? [] : calls.splice(at);
    for (const call of returned) this.#ghosts.add(call.id);
    if (this.#ghosts.size === 0) this.#revoked = undefined;
    for (const call of returned) call.listener.finished({ kind: "returned" });
  }
}
