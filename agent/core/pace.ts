// Which functions are so quick that a call of one may wait behind others at a worker, and which are
// so slow that nothing should. A function that was not quick once has to show again that it is. All
// processes of a run are taken together: those of a chain are seldom the same program.

/** Slower than this, a call is not quick; milliseconds. */
const quickMs = 0.5;
/** The same of a process: starting one takes longer. Half of the patience of what waits behind one (exec/attempt.ts). */
const quickProcessMs = 5;
/** Slower than this, a call is slow; milliseconds. */
const slowMs = 10;
/** Calls in a row that must have been quick. */
const enough = 4;

export class Pace {
  /** By number of the function; counts up to `enough`. */
  readonly #quickInRow: Uint8Array;
  /** 1: its last call was slow. */
  readonly #slow: Uint8Array;

  readonly #processes: number;

  /** `processes`: which of the numbers stands for all processes. */
  constructor(functions: number, processes: number) {
    this.#processes = processes;
    this.#quickInRow = new Uint8Array(functions + 1);
    this.#slow = new Uint8Array(functions + 1);
  }

  note(fn: number, wallMs: number | undefined): void {
    const limitMs = fn === this.#processes ? quickProcessMs : quickMs;
    const before = this.#quickInRow[fn] ?? 0;
    const isQuick = wallMs !== undefined && wallMs <= limitMs;
    this.#quickInRow[fn] = isQuick ? Math.min(enough, before + 1) : 0;
    this.#slow[fn] = wallMs !== undefined && wallMs > slowMs ? 1 : 0;
  }

  /** 0 is no function. */
  isQuick(fn: number): boolean {
    return fn > 0 && (this.#quickInRow[fn] ?? 0) >= enough;
  }

  isSlow(fn: number): boolean {
    return fn > 0 && this.#slow[fn] === 1;
  }
}
