// Which call each byte of output belongs to: marks end the output of a call, and a call that wrote
// nothing has none. Holds bytes back until it is known; it never gives a byte to a call that may not
// have written it, as long as marks and answers come.
import { type CallQueue, startCall } from "./call-queue.ts";
import type { HeldAnswers } from "./held-answers.ts";

export interface AttributionEvents {
  /** Calls may have got their answers or marks. */
  progressed(): void;
  /** Output of no call. `bytes` are valid only during the call. */
  stray(bytes: Buffer): void;
}

/** `isDue`: page and channel have been, or are just being, read after it came. */
interface Piece {
  bytes: Buffer;
  isDue: boolean;
}

export class Attribution {
  readonly #queue: CallQueue;
  readonly #held: HeldAnswers;
  readonly #events: AttributionEvents;
  /** Output of which the call is not known yet. */
  readonly #undecided: { stdout: Piece[]; stderr: Piece[] } = { stdout: [], stderr: [] };
  #isLookPlanned = false;
  #isClosed = false;

  constructor(queue: CallQueue, held: HeldAnswers, events: AttributionEvents) {
    this.#queue = queue;
    this.#held = held;
    this.#events = events;
  }

  output(stream: "stdout" | "stderr", bytes: Buffer): void {
    this.#queue.skipUnmarked(stream);
    const call = this.#queue.calls[this.#queue.marked[stream]];
    const undecided = this.#undecided[stream];
    const isSure = call === undefined || call.end !== undefined || this.#queue.isLast(call);
    if (isSure && undecided.length === 0) {
      this.#tell(stream, bytes);
      return;
    }
    // The calls before the one that wrote this may have ended without marks. Then their answers
    // were on the page or on the channel before it began. The page is read first, as answers move
    // from it to the channel; and the channel by a poll that begins after now, hence the next turn.
    undecided.push({ bytes: Buffer.from(bytes), isDue: false });
    this.#held.take();
    if (this.#isLookPlanned) return;
    this.#isLookPlanned = true;
    setImmediate(() => this.#lookAtChannel());
  }

  mark(stream: "stdout" | "stderr", id: number): void {
    const { calls, marked } = this.#queue;
    // Those before it have no marks, and have written nothing.
    let at = marked[stream];
    while (at < calls.length && calls[at]?.id !== id) at += 1;
    // After a retirement the marks are no longer waited for, and may still come.
    if (at === calls.length) return;
    marked[stream] = at;
    for (const { bytes } of this.#undecided[stream].splice(0)) this.#tell(stream, bytes);
    marked[stream] = at + 1;
    this.#events.progressed();
  }

  /** Tells what is undecided as well as it can; marks are not waited for any longer. */
  release(): void {
    this.#tellUndecided("stdout");
    this.#tellUndecided("stderr");
    this.#queue.forgoMarks();
  }

  /** The process is gone. */
  close(): void {
    this.#isClosed = true;
    this.release();
  }

  #lookAtChannel(): void {
    this.#isLookPlanned = false;
    for (const piece of this.#undecided.stdout) piece.isDue = true;
    for (const piece of this.#undecided.stderr) piece.isDue = true;
    setImmediate(() => {
      if (this.#isClosed) return;
      this.#tellUndecided("stdout", true);
      this.#tellUndecided("stderr", true);
      this.#events.progressed();
    });
  }

  #tellUndecided(stream: "stdout" | "stderr", onlyDue = false): void {
    this.#held.accept();
    this.#queue.skipUnmarked(stream);
    const undecided = this.#undecided[stream];
    while (undecided[0] !== undefined && (undecided[0].isDue || !onlyDue)) {
      const piece = undecided.shift();
      if (piece !== undefined) this.#tell(stream, piece.bytes);
    }
  }

  #tell(stream: "stdout" | "stderr", bytes: Buffer): void {
    const call = this.#queue.calls[this.#queue.marked[stream]];
    if (call === undefined) {
      this.#events.stray(bytes);
      return;
    }
    if (stream === "stdout") call.stdoutBytes += bytes.length;
    else call.stderrBytes += bytes.length;
    startCall(call, Date.now());
    call.listener.output(stream, bytes);
  }
}
