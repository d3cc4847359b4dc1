// A call that a pool has taken: what its worker keeps of it, and what the caller holds of it, in one
// object, since a call costs microseconds. Decides nothing.
import type { Call, CallEnd, CallHandle, CallListener, CallSpec } from "./call.ts";

/** What the pool does for its calls. */
export interface CallKeeper {
  cancel(call: PooledCall, graceMs: number): void;
  /** It has ended. */
  forget(call: PooledCall): void;
}

export class PooledCall implements Call, CallHandle, CallListener {
  readonly id: number;
  readonly spec: CallSpec;
  startedAt: number | undefined = undefined;
  end: CallEnd | undefined = undefined;
  isUnmarked = false;
  stdoutBytes = 0;
  stderrBytes = 0;
  claim = 0;
  cancelGraceMs: number | undefined = undefined;
  readonly #keeper: CallKeeper;
  readonly #listener: CallListener;

  constructor(id: number, spec: CallSpec, listener: CallListener, keeper: CallKeeper) {
    this.id = id;
    this.spec = spec;
    this.#listener = listener;
    this.#keeper = keeper;
  }

  /** Its worker tells it, and it tells the caller. */
  get listener(): CallListener {
    return this;
  }

  started(at: number, isOver: boolean): void {
    this.#listener.started(at, isOver);
  }

  output(stream: "stdout" | "stderr", bytes: Buffer): void {
    this.#listener.output(stream, bytes);
  }

  finished(end: CallEnd): void {
    this.#keeper.forget(this);
    this.#listener.finished(end);
  }

  cancel(graceMs: number): void {
    this.#keeper.cancel(this, graceMs);
  }
}
