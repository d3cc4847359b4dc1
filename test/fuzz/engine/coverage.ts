// Which blocks of our sources have run since the last look, from V8 itself: no instrumentation.

import type { Profiler } from "node:inspector";
import { Session } from "node:inspector";

export class Coverage {
  readonly #session = new Session();
  readonly #covers: RegExp;
  readonly #known = new Map<string, number>();

  constructor(covers: RegExp) {
    this.#covers = covers;
    this.#session.connect();
    this.#call("Profiler.enable");
    this.#call("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
  }

  get size(): number {
    return this.#known.size;
  }

  /** Blocks that ran since the last call; counts in powers of two, so that loops tell more. */
  take(): string[] {
    const taken: string[] = [];
    for (const script of this.#scripts()) {
      if (!this.#covers.test(script.url)) continue;
      const name = script.url.slice(script.url.lastIndexOf("/") + 1);
      for (const { ranges } of script.functions) {
        for (const { startOffset, endOffset, count } of ranges) {
          if (count > 0)
            taken.push(
              `${name}:${startOffset}-${endOffset}:${Math.min(5, Math.ceil(Math.log2(count) / 2))}`,
            );
        }
      }
    }
    return taken;
  }

  /** How many of them are new; they are known from then on. */
  learn(blocks: readonly string[]): number {
    let fresh = 0;
    for (const block of blocks) {
      const times = this.#known.get(block) ?? 0;
      if (times === 0) fresh++;
      this.#known.set(block, times + 1);
    }
    return fresh;
  }

  hasNew(blocks: readonly string[]): boolean {
    return blocks.some((block) => !this.#known.has(block));
  }

  #scripts(): Profiler.ScriptCoverage[] {
    const taken = this.#call("Profiler.takePreciseCoverage");
    // The answer of this method, as Node.js types it.
    return (taken as Profiler.TakePreciseCoverageReturnType).result;
  }

  /** Answered before it returns: the session belongs to this thread. */
  #call(method: string, params: object = {}): unknown {
    let answer: unknown;
    let problem: Error | null = null;
    this.#session.post(method, params, (error, result) => {
      problem = error;
      answer = result;
    });
    if (problem !== null) throw problem;
    return answer;
  }
}
