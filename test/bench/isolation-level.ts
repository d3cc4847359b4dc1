// One level under measurement: an agent's isolation with pools of a known size, a task from the
// request to its result, and waits for full pools between them. Nothing here judges.
import type { BoxLevel } from "../../agent/exec/isolation/box.ts";
import type { SandboxRun, SandboxSpec } from "../../agent/exec/isolation/sandbox-spec.ts";
import { type OpenedLevel, openLevel } from "../isolation/open-level.ts";

const MiB = 2 ** 20;
/** Of tasks and of boxes that wait alike, as in an agent where a task names none. */
const limits = { memoryBytes: 512 * MiB, pids: 64, diskBytes: 64 * MiB };
export const poolSize = 2;
/** A language of which no box waits. */
const coldLanguage = "c";
const lookMs = 2;
const fullLimitMs = 30_000;

export const runs = {
  true: { kind: "command", argv: ["/bin/true"] },
  python: { kind: "function", runtime: "python", code: "def main():\n  return 1\n" },
  node: { kind: "function", runtime: "node", code: "function main() { return 1; }" },
} as const satisfies { [name: string]: SandboxRun };

export type Language = "shell" | "python" | "node";

export class MeasuredLevel implements AsyncDisposable {
  readonly level: BoxLevel;
  readonly opened: OpenedLevel;
  /** Languages of which a pool is kept: from the first task of them on. */
  readonly #asked = new Set<Language>();
  #count = 0;

  /** A text: why it cannot be had here. */
  static async open(level: BoxLevel): Promise<MeasuredLevel | string> {
    const kinds = (["shell", "python", "node"] as const).map((language) => ({
      level,
      language,
      size: poolSize,
    }));
    const opened = await openLevel(level, {
      config: {
        poolSizes: { otherwise: 0, kinds },
        poolRefillPerS: 1000,
        sandboxMemoryBytes: limits.memoryBytes,
        sandboxPids: limits.pids,
        sandboxDiskBytes: limits.diskBytes,
      },
    });
    if (typeof opened === "string") return opened;
    if (opened.report?.holds !== true) {
      await opened[Symbol.asyncDispose]();
      return `it does not hold: ${opened.report?.detail}`;
    }
    return new MeasuredLevel(level, opened);
  }

  private constructor(level: BoxLevel, opened: OpenedLevel) {
    this.level = level;
    this.opened = opened;
  }

  /** Milliseconds from the request to its result. Whether a box waits is the caller's to see to. */
  async run(run: SandboxRun, language: string): Promise<number> {
    const from = performance.now();
    const end = await new Promise<string>((resolve) => {
      this.opened.isolation.start(this.#spec(run, language), {
        started: () => {},
        output: () => {},
        ended: (told) => resolve(told === "returned" ? told : JSON.stringify(told.outcome)),
      });
    });
    const ms = performance.now() - from;
    if (!end.includes('"succeeded"')) throw new Error(`at level ${this.level}: ${end}`);
    return ms;
  }

  async cold(): Promise<number> {
    const ms = await this.run(runs.true, coldLanguage);
    await this.idle();
    return ms;
  }

  async warm(run: SandboxRun, language: Language): Promise<number> {
    await this.full(language);
    return await this.run(run, language);
  }

  /** Tasks a second when one begins whenever another ends, so that every one needs a box remade. */
  async rate(run: SandboxRun, language: Language, count: number): Promise<number> {
    await this.full(language);
    // What waits already is no part of what is made.
    for (let i = 0; i < poolSize; i += 1) await this.run(run, language);
    const from = performance.now();
    let left = count;
    const lane = async () => {
      while (left-- > 0) await this.run(run, language);
    };
    await Promise.all([lane(), lane()]);
    return (count / (performance.now() - from)) * 1000;
  }

  /** Until the pool waits, full, with nothing of an earlier task under way. */
  async full(language: Language): Promise<void> {
    const isFull = () =>
      this.#pools().some((pool) => pool.language === language && pool.ready >= poolSize);
    if (!this.#asked.has(language)) {
      this.#asked.add(language);
      await this.run(language === "shell" ? runs.true : runs[language], language);
    }
    await this.#until(() => isFull() && this.opened.isolation.metrics().running === 0);
  }

  async idle(): Promise<void> {
    await this.#until(() => {
      const { running, pools } = this.opened.isolation.metrics();
      return running === 0 && pools.every((pool) => pool.starting === 0);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.opened[Symbol.asyncDispose]();
  }

  #pools() {
    return this.opened.isolation.metrics().pools;
  }

  async #until(holds: () => boolean): Promise<void> {
    const giveUpAt = performance.now() + fullLimitMs;
    while (!holds()) {
      if (performance.now() > giveUpAt) {
        throw new Error(`level ${this.level} is not ready: ${this.opened.problems.join("; ")}`);
      }
      await new Promise((resolve) => setTimeout(resolve, lookMs));
    }
  }

  #spec(run: SandboxRun, language: string): SandboxSpec {
    this.#count += 1;
    return {
      kind: { level: this.level, language, network: false, mounts: [], syscalls: [] },
      run,
      task: `t${this.#count}`,
      attempt: 1,
      runId: "bench",
      env: {},
      inputs: {},
      files: [],
      limits,
      outputLimitBytes: MiB,
      timeoutMs: 30_000,
      graceMs: 200,
      outputs: { patterns: [], maxCount: 10, maxBytes: MiB },
      keepIn: `/tmp/edgedag-bench-kept-${process.pid}-${this.#count}`,
    };
  }
}
