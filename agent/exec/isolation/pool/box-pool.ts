// Waiting boxes: each serves one task, is then destroyed, and is replaced in the background. Decides
// which kinds are kept warm, and how fast boxes are made ahead; what a box is, and what waits in it,
// others know. Used by whoever runs tasks in sandboxes.
import {
  type Box,
  BoxError,
  type BoxFolder,
  type BoxKind,
  type BoxLevel,
  type BoxLimits,
  type BoxMaker,
} from "../box.ts";
import { KindPool, type Made, type WarmBox } from "./kind-pool.ts";
import { type KindMetrics, RateLimit } from "./pool-figures.ts";

export type { WarmBox } from "./kind-pool.ts";
export type { KindMetrics } from "./pool-figures.ts";

export interface PoolSettings {
  /** Boxes that wait, for each kind that has been asked for; `sizes` goes before it. */
  size: number;
  sizes: readonly { level: BoxLevel; language: string; size: number }[];
  /** A box that has waited longer is replaced. */
  lifespanMs: number;
  /** Boxes that are made ahead at the same time, and in a second. */
  makingAtOnce: number;
  startsPerSecond: number;
  /** How often old boxes are looked for. */
  cleanUpMs: number;
  /** A kind that nobody has asked for this long keeps no boxes. */
  idleMs: number;
}

export const defaultPoolSettings: PoolSettings = {
  size: 2,
  sizes: [],
  lifespanMs: 600_000,
  makingAtOnce: 2,
  startsPerSecond: 50,
  cleanUpMs: 1_000,
  idleMs: 300_000,
};

export interface PoolProblem {
  kind: BoxKind;
  /** `left`: something of a box could not be removed. */
  state: "broken" | "mended" | "left";
  detail: string;
  remedy: string;
}

export interface BoxPoolOptions<W> {
  makers: readonly BoxMaker[];
  folders: { take(diskBytes: number): Promise<BoxFolder> };
  settings: PoolSettings;
  /** Of a box that waits: enough for what waits in it. Tasks bring their own (`Box.arm`). */
  limits: BoxLimits;
  /** Starts what is to wait inside. `gone` is to be called if that ends before the box is taken. */
  warm?(box: Box, gone: () => void): Promise<W | undefined>;
  /** Once for each change. */
  onProblem(problem: PoolProblem): void;
}

/** How long the making of the next box waits for the task that has taken one of several. */
const shortTaskMs = 10;

export class BoxPool<W = undefined> {
  readonly #options: BoxPoolOptions<W>;
  readonly #pools = new Map<string, KindPool<W>>();
  readonly #makers: ReadonlyMap<BoxLevel, BoxMaker>;
  readonly #rate: RateLimit;
  /** Everything that is being made or destroyed. */
  readonly #underWay = new Set<Promise<unknown>>();
  #making = 0;
  #isPlanned = false;
  #wake: NodeJS.Timeout | undefined;
  #sweep: NodeJS.Timeout | undefined;
  #closed: Promise<void> | undefined;

  constructor(options: BoxPoolOptions<W>) {
    this.#options = options;
    this.#makers = new Map(options.makers.map((maker) => [maker.level, maker]));
    this.#rate = new RateLimit(options.settings.startsPerSecond);
  }

  /**
   * One that waits, else one that is made at once. Rejects with BoxError. It has the limits of a
   * waiting box, or those of the task where they are higher: `Box.arm` is the caller's.
   */
  take(kind: BoxKind, limits: BoxLimits): Promise<WarmBox<W>> {
    return this.#pool(kind).take(limits);
  }

  /**
   * Keeps so many waiting. Resolves when they do; rejects with BoxError when one cannot be made.
   * For kinds that are only made cold it tries one and throws it away.
   */
  async warm(kind: BoxKind, count: number): Promise<void> {
    if (isWarmable(kind)) await this.#pool(kind).warm(count);
    else await (await this.take(kind, this.#options.limits)).release();
  }

  metrics(): KindMetrics[] {
    return [...this.#pools.values()].map((pool) => pool.metrics());
  }

  /** Destroys all boxes, also those in use. Resolves when nothing is left. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    clearTimeout(this.#wake);
    clearTimeout(this.#sweep);
    const error = new BoxError("the agent is closing its sandboxes", "Start it again.");
    for (const pool of this.#pools.values()) pool.close(error);
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay);
  }

  #pool(kind: BoxKind): KindPool<W> {
    const key = kindKey(kind);
    const known = this.#pools.get(key);
    if (known !== undefined) return known;
    const { settings, onProblem } = this.#options;
    const own = settings.sizes.find((s) => s.level === kind.level && s.language === kind.language);
    const pool = new KindPool<W>({
      kind,
      size: isWarmable(kind) ? (own?.size ?? settings.size) : 0,
      lifespanMs: settings.lifespanMs,
      make: (limits, gone) => this.#track(this.#make(kind, limits, gone)),
      makeAhead: (gone) => this.#track(this.#makeAhead(kind, gone)),
      discard: (made) => this.#track(this.#discard(kind, made)),
      changed: () => this.#plan(),
      changedSoon: () => void setTimeout(() => this.#plan(), shortTaskMs).unref(),
      stateChanged: (error) =>
        onProblem({
          kind,
          state: error === undefined ? "mended" : "broken",
          detail: error?.message ?? "sandboxes of this kind can be made again",
          remedy: error?.remedy ?? "",
        }),
    });
    this.#pools.set(key, pool);
    if (this.#closed !== undefined) {
      pool.close(new BoxError("the agent is closing its sandboxes", "Start it again."));
    }
    return pool;
  }

  async #makeAhead(kind: BoxKind, gone: () => void): Promise<Made<W>> {
    this.#making += 1;
    try {
      return await this.#make(kind, undefined, gone);
    } finally {
      this.#making -= 1;
    }
  }

  async #make(kind: BoxKind, limits: BoxLimits | undefined, gone: () => void): Promise<Made<W>> {
    const { folders, warm } = this.#options;
    const higher = higherLimits(this.#options.limits, limits);
    const maker = this.#makers.get(kind.level);
    if (maker === undefined) {
      throw new BoxError(
        `this agent has no ${kind.level} sandboxes`,
        "Run edgedag doctor: it says which levels this machine has, and what the others need.",
      );
    }
    const folder = await folders.take(higher.diskBytes).catch(rethrow);
    const box = await maker.make(kind, folder, higher).catch(async (error: unknown) => {
      await this.#dispose(kind, folder);
      return rethrow(error);
    });
    box.onEnd = gone;
    try {
      return { box, folder, worker: await warm?.(box, gone) };
    } catch (error) {
      box.onEnd = undefined;
      await this.#discard(kind, { box, folder, worker: undefined });
      return rethrow(error);
    }
  }

  async #discard(kind: BoxKind, { box, folder }: Made<W>): Promise<void> {
    try {
      await box.destroy();
    } catch (error) {
      this.#left(kind, `a sandbox could not be destroyed: ${String(error)}`);
      return; // its folder may be in use
    }
    await this.#dispose(kind, folder);
  }

  async #dispose(kind: BoxKind, folder: BoxFolder): Promise<void> {
    try {
      await folder.dispose();
    } catch (error) {
      this.#left(kind, `the folder ${folder.work} could not be removed: ${String(error)}`);
    }
  }

  #left(kind: BoxKind, detail: string): void {
    const remedy = "The next start of the agent removes it; if it does not, remove it by hand.";
    this.#options.onProblem({ kind, state: "left", detail, remedy });
  }

  #track<T>(promise: Promise<T>): Promise<T> {
    const isOver = () => this.#underWay.delete(promise);
    promise.then(isOver, isOver);
    this.#underWay.add(promise);
    return promise;
  }

  /** Boxes are made ahead after what the event loop has to do for tasks. */
  #plan(): void {
    if (this.#isPlanned || this.#closed !== undefined) return;
    this.#isPlanned = true;
    setImmediate(() => {
      this.#isPlanned = false;
      this.#refill();
    });
  }

  #refill(): void {
    if (this.#closed !== undefined) return;
    this.#startSweep();
    clearTimeout(this.#wake);
    // One of each kind in turn, so that none has to wait for all of another's.
    let isStarting = true;
    while (isStarting) {
      isStarting = false;
      for (const pool of this.#pools.values()) {
        if (pool.wantsIn(performance.now()) > 0 || !this.#mayStart()) continue;
        this.#rate.count(performance.now());
        pool.makeAhead();
        isStarting = true;
      }
    }
    const waitMs = this.#nextLookMs();
    // With as many in the making as there may be, the end of one plans the next look.
    if (Number.isFinite(waitMs)) {
      this.#wake = setTimeout(() => this.#refill(), Math.max(1, waitMs)).unref();
    }
  }

  #mayStart(): boolean {
    const { makingAtOnce } = this.#options.settings;
    return this.#making < makingAtOnce && this.#rate.wait(performance.now()) === 0;
  }

  #nextLookMs(): number {
    const now = performance.now();
    let waitMs = Number.POSITIVE_INFINITY;
    for (const pool of this.#pools.values()) {
      const inMs = pool.wantsIn(now);
      if (inMs > 0) waitMs = Math.min(waitMs, inMs);
      else if (this.#making < this.#options.settings.makingAtOnce) {
        waitMs = Math.min(waitMs, this.#rate.wait(now));
      }
    }
    return waitMs;
  }

  /** Only while something may become too old: an idle agent sleeps. */
  #startSweep(): void {
    const { cleanUpMs, idleMs } = this.#options.settings;
    if (![...this.#pools.values()].some((pool) => pool.isKept)) return;
    this.#sweep ??= setTimeout(() => {
      this.#sweep = undefined;
      const now = performance.now();
      for (const pool of this.#pools.values()) pool.sweep(now, idleMs);
      this.#startSweep();
      this.#plan();
    }, cleanUpMs).unref();
  }
}

/** Equal for kinds that are interchangeable. */
export function kindKey({ level, language, network, mounts, syscalls, isOnce }: BoxKind): string {
  const sorted = mounts.map((m) => [m.target, m.source, m.isWritable]).sort();
  const once = isOnce === true;
  return JSON.stringify([level, language, network, sorted, [...new Set(syscalls)].sort(), once]);
}

/** What has extras of its own is wanted by one task, and would wait for nobody else. */
export function isWarmable({ network, mounts, syscalls, isOnce }: BoxKind): boolean {
  return isOnce !== true && !network && mounts.length === 0 && syscalls.length === 0;
}

function higherLimits(waiting: BoxLimits, task: BoxLimits | undefined): BoxLimits {
  if (task === undefined) return waiting;
  return {
    ...waiting,
    memoryBytes: Math.max(waiting.memoryBytes, task.memoryBytes),
    pids: Math.max(waiting.pids, task.pids),
    diskBytes: Math.max(waiting.diskBytes, task.diskBytes),
  };
}

function rethrow(error: unknown): never {
  if (error instanceof BoxError) throw error;
  throw new BoxError(
    `a sandbox could not be made: ${String(error)}`,
    "This is a fault of edgedag.",
  );
}
