// One checker and who waits for it: a place where one program at a time is parsed, with a time limit,
// and which is thrown away when it hangs, dies or says nonsense. That costs the one check that it had
// and no other. What the place is (a process, a thread), its `Cell` knows.
import type { PolicyVerdict } from "./policy.ts";

/** A place that parses; made anew when it is gone. */
export interface Cell {
  /** Sends a program; its answer comes by `answered`, or `gone` tells why none will. */
  check(code: string): void;
  /** Ends it at once. */
  end(): void;
}

export interface CellListener {
  answered(verdict: PolicyVerdict, isLast: boolean): void;
  gone(detail: string): void;
}

interface Waiting {
  code: string;
  resolve(verdict: PolicyVerdict): void;
}

export interface CheckerOptions {
  timeLimitMs: number;
  /** Programs that may wait; one more is told that the checker is not to be had. */
  mostWaiting: number;
  /** Throws where it cannot be made. */
  open(listener: CellListener): Cell;
}

export class Checker {
  readonly #options: CheckerOptions;
  readonly #waiting: Waiting[] = [];
  #cell: Cell | undefined;
  #current: Waiting | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: CheckerOptions) {
    this.#options = options;
  }

  /** How many are before a further one. */
  get length(): number {
    return this.#waiting.length + (this.#current === undefined ? 0 : 1);
  }

  /** Never rejects. */
  check(code: string): Promise<PolicyVerdict> {
    if (this.#isClosed) return Promise.resolve(unavailable("the checker is closed"));
    if (this.#waiting.length >= this.#options.mostWaiting) {
      return Promise.resolve(unavailable(`${this.#waiting.length} programs wait to be checked`));
    }
    return new Promise((resolve) => {
      this.#waiting.push({ code, resolve });
      this.#next();
    });
  }

  /** Starts it ahead of the first check. */
  warm(): void {
    if (!this.#isClosed) this.#open();
  }

  close(): void {
    this.#isClosed = true;
    this.#drop();
    const left = [...(this.#current === undefined ? [] : [this.#current]), ...this.#waiting];
    this.#current = undefined;
    this.#waiting.length = 0;
    for (const { resolve } of left) resolve(unavailable("the checker is closed"));
  }

  #open(): Cell | undefined {
    if (this.#cell !== undefined) return this.#cell;
    try {
      // What comes of a cell that was dropped is nobody's.
      const cell: Cell = this.#options.open({
        answered: (verdict, isLast) => {
          if (this.#cell !== cell) return;
          if (isLast) this.#drop();
          this.#settle(verdict);
        },
        gone: (detail) => {
          if (this.#cell !== cell) return;
          this.#drop();
          this.#settle(unavailable(detail));
        },
      });
      this.#cell = cell;
      return cell;
    } catch (error) {
      this.#settle(unavailable(error instanceof Error ? error.message : String(error)));
      return undefined;
    }
  }

  #next(): void {
    if (this.#current !== undefined) return;
    const waiting = this.#waiting.shift();
    if (waiting === undefined) return;
    this.#current = waiting;
    const cell = this.#open();
    if (cell === undefined) return;
    const { timeLimitMs } = this.#options;
    this.#timer = setTimeout(() => {
      this.#drop();
      this.#settle(unavailable(`it took longer than ${timeLimitMs} ms`));
    }, timeLimitMs);
    cell.check(waiting.code);
  }

  #settle(verdict: PolicyVerdict): void {
    clearTimeout(this.#timer);
    const current = this.#current;
    this.#current = undefined;
    current?.resolve(verdict);
    if (!this.#isClosed) this.#next();
  }

  #drop(): void {
    clearTimeout(this.#timer);
    const cell = this.#cell;
    this.#cell = undefined;
    cell?.end();
  }
}

export function unavailable(detail: string): PolicyVerdict {
  return { kind: "unavailable", detail };
}
