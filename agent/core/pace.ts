// Which functions are so quick that a call of one may wait behind others at a worker. A function
// that was slow once has to show again that it is quick.

/** Slower than this, a call is not quick; milliseconds. */
const quickMs = 0.5;
/** Calls in a row that must have been quick. */
const enough = 4;

export class Pace {
  /** By number of the function; counts up to `enough`. */
  readonly #quickInRow: Uint8Array;

  constructor(functions: number) {
    this.#quickInRow = new Uint8Array(functions + 1);
  }

  note(fn: number, wallMs: number | undefined): void {
    const before = this.#quickInRow[fn] ?? 0;
    const isQuick = wallMs !== undefined && wallMs <= quickMs;
    this.#quickInRow[fn] = isQuick ? Math.min(enough, before + 1) : 0;
  }

  /** 0 is no function. */
  isQuick(fn: number): boolean {
    return fn > 0 && (this.#quickInRow[fn] ?? 0) >= enough;
  }
}
