// Answers that a worker holds back, read from its claim page ahead of the channel. Accepts each in
// the order of the calls; what is on the channel counts, and no answer is accepted twice.
import type { CallQueue } from "./call-queue.ts";
import type { ClaimPage } from "./claim-page.ts";
import { type Done, decodeWorkerMessage } from "./messages.ts";

export class HeldAnswers {
  readonly #queue: CallQueue;
  readonly #page: ClaimPage | undefined;
  /** Answered from the claim page; the same answers are still to come on the channel. */
  readonly #early = new Set<number>();
  /** Read from the claim page, not accepted yet. */
  readonly #ahead = new Map<number, Done>();

  constructor(queue: CallQueue, page: ClaimPage | undefined) {
    this.#queue = queue;
    this.#page = page;
  }

  /** Answers that the worker holds back while a call takes longer than it did the last time. */
  take(): void {
    const text = this.#page?.held() ?? "";
    if (text === "") return;
    const message = decodeWorkerMessage(`{"done":[${text}]}`);
    // The task can write there too. What is on the channel counts.
    if (message?.kind !== "done") return;
    for (const done of message.done) {
      const isOpen = this.#queue.calls.some(
        (call) => call.id === done.id && call.end === undefined,
      );
      if (isOpen) this.#ahead.set(done.id, done);
    }
    this.accept();
  }

  /** Answers before those of the page may still be on the channel: then these wait for them. */
  accept(): void {
    while (this.#ahead.size > 0) {
      const call = this.#queue.head;
      const done = call === undefined ? undefined : this.#ahead.get(call.id);
      if (call === undefined || done === undefined) return;
      this.#ahead.delete(call.id);
      this.#early.add(call.id);
      this.#queue.accept(call, done);
    }
  }

  /** An answer on the channel that has been accepted from the page; says so once. */
  endEarly(id: number): boolean {
    return this.#early.delete(id);
  }

  /** Its answer has come on the channel. */
  drop(id: number): void {
    this.#ahead.delete(id);
  }
}
