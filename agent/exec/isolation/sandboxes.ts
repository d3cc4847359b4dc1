// The sandboxes of an agent: makers of the levels that this machine has, the pool of waiting boxes
// with their runners, and the attempts that run. What the agent's executor calls; it decides nothing
// about which level a task gets.
import type { Attempt, AttemptListener } from "../attempt.ts";
import { OneCall } from "./attempt/one-call.ts";
import type { UsedLanguage } from "./attempt/run-code.ts";
import { type SandboxAttempt, startSandboxed } from "./attempt/sandbox-attempt.ts";
import type { Box, BoxFolder, BoxKind, BoxLevel, BoxLimits, BoxMaker } from "./box.ts";
import { BoxPool, type KindMetrics, type PoolProblem, type PoolSettings } from "./pool/box-pool.ts";
import type { Samples, SandboxSpec } from "./sandbox-spec.ts";

export interface SandboxesOptions {
  makers: readonly BoxMaker[];
  folders: { take(diskBytes: number): Promise<BoxFolder> };
  settings: PoolSettings;
  /** Of a box that waits. */
  limits: BoxLimits;
  /** Of the registry, and where its programs are at that level; undefined: not known. */
  language(name: string, level: BoxLevel): UsedLanguage | undefined;
  onProblem(problem: PoolProblem): void;
}

export interface SandboxMetrics {
  /** Attempts in flight, those whose box is just being removed too. */
  running: number;
  pools: KindMetrics[];
}

export class Sandboxes {
  readonly #options: SandboxesOptions;
  readonly #pool: BoxPool<OneCall>;
  readonly #running = new Map<string, SandboxAttempt>();
  readonly #gone = new Set<Promise<void>>();

  constructor(options: SandboxesOptions) {
    this.#options = options;
    const { makers, folders, settings, limits, onProblem } = options;
    this.#pool = new BoxPool<OneCall>({
      makers,
      folders,
      settings,
      limits,
      warm: (box, gone) => warmRunner(box, gone),
      onProblem,
    });
  }

  get levels(): BoxLevel[] {
    return this.#options.makers.map((maker) => maker.level);
  }

  /** Failures are the attempt's end; this never throws for what the world does. */
  start(spec: SandboxSpec, listener: AttemptListener): Attempt {
    const key = keyOf(spec);
    const gone = Promise.withResolvers<void>();
    this.#gone.add(gone.promise);
    const attempt = startSandboxed(
      spec,
      {
        take: ({ kind, limits }) => this.#pool.take(kind, limits),
        language: (name) => this.#options.language(name, spec.kind.level),
        gone: () => {
          if (this.#running.get(key) === attempt) this.#running.delete(key);
          this.#gone.delete(gone.promise);
          gone.resolve();
        },
      },
      listener,
    );
    this.#running.set(key, attempt);
    return attempt;
  }

  /** Keeps so many waiting; rejects with BoxError where one cannot be had. */
  warm(kind: BoxKind, count: number): Promise<void> {
    return this.#pool.warm(kind, count);
  }

  /** Of an attempt that runs: the last 1,000; else undefined. */
  samples(runId: string, task: string): Samples | undefined {
    return this.#running.get(keyOf({ runId, task }))?.samples.list();
  }

  metrics(): SandboxMetrics {
    return { running: this.#gone.size, pools: this.#pool.metrics() };
  }

  /** Ends what runs, and removes everything: no process, folder, mount or container is left. */
  async close(): Promise<void> {
    for (const attempt of this.#running.values()) attempt.stop(0);
    await this.#pool.close();
    await Promise.all(this.#gone);
    for (const maker of this.#options.makers) await maker.close();
  }
}

/** The runner of the languages that have one. */
async function warmRunner(box: Box, gone: () => void): Promise<OneCall | undefined> {
  const runtime = runtimes[box.kind.language];
  return runtime === undefined ? undefined : await OneCall.warm(box, runtime, { gone });
}

const runtimes: { readonly [language: string]: "python" | "node" | undefined } = {
  python: "python",
  node: "node",
  javascript: "node",
};

function keyOf({ runId, task }: Pick<SandboxSpec, "runId" | "task">): string {
  return `${runId}\0${task}`;
}
