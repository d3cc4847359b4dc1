// The boxes of one kind: those that wait, those that are being made, and the takers that wait for
// them. Every taker that waits has a box of its own being made, so it gets that or the reason why
// not. When to make boxes ahead is decided by the pool above; used by nobody else.
import { type Box, BoxError, type BoxFolder, type BoxKind, type BoxLimits } from "../box.ts";
import { type KindMetrics, RecentValues } from "./pool-figures.ts";

/** A box for one task. Whoever took it must release it, whatever happens. */
export interface WarmBox<W> {
  readonly box: Box;
  /** What waits inside; absent for kinds without. */
  readonly worker: W | undefined;
  /** No box was ready: it was made for this take. */
  readonly isCold: boolean;
  /** Destroys it; resolves when nothing is left. Never rejects. */
  release(): Promise<void>;
}

export interface Made<W> {
  box: Box;
  folder: BoxFolder;
  worker: W | undefined;
}

export interface KindPoolOptions<W> {
  kind: BoxKind;
  /** Boxes that it may keep waiting, unless more are asked for. 0: none. */
  size: number;
  lifespanMs: number;
  /** Throws BoxError. `gone` is to be called when it dies, until it has been taken. */
  make(limits: BoxLimits, gone: () => void): Promise<Made<W>>;
  makeAhead(gone: () => void): Promise<Made<W>>;
  /** Never rejects. */
  discard(made: Made<W>): Promise<void>;
  /** It may be time to make another. */
  changed(): void;
  /** The same, with time for a short task before. */
  changedSoon(): void;
  stateChanged(error: BoxError | undefined): void;
}

interface Entry<W> {
  made: Made<W> | undefined;
  isDead: boolean;
  /** 0: it has not waited. */
  readyAt: number;
  expiresAt: number;
}

interface Taker<W> {
  since: number;
  served(warm: WarmBox<W>): void;
  failed(error: BoxError): void;
}

interface Warmer {
  count: number;
  done(): void;
  failed(error: BoxError): void;
}

const firstBackoffMs = 100;
const maxBackoffMs = 30_000;
/** A box that dies younger than this is a kind that does not work. */
const steadyMs = 5_000;

export class KindPool<W> {
  readonly kind: BoxKind;
  readonly #options: KindPoolOptions<W>;
  readonly #ready: Entry<W>[] = [];
  readonly #inUse = new Set<Entry<W>>();
  readonly #takers: Taker<W>[] = [];
  #warmers: Warmer[] = [];
  readonly #waitMs = new RecentValues();
  readonly #makeMs = new RecentValues();
  readonly #counts = { served: 0, cold: 0, died: 0, expired: 0, failed: 0 };
  readonly #discards = new WeakMap<Entry<W>, Promise<void>>();
  #making = 0;
  /** Boxes that are to wait. */
  #target = 0;
  #wantedAt = performance.now();
  #failures = 0;
  #retryAt = 0;
  #isBroken = false;
  #closed: BoxError | undefined;

  constructor(options: KindPoolOptions<W>) {
    this.kind = options.kind;
    this.#options = options;
  }

  take(limits: BoxLimits): Promise<WarmBox<W>> {
    this.#want(this.#options.size);
    const { promise, resolve, reject } = Promise.withResolvers<WarmBox<W>>();
    const since = performance.now();
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    this.#takers.push({ since, served: resolve, failed: reject });
    const entry = this.#ready.shift();
    if (entry !== undefined) this.#serve(entry);
    else if (this.#making < this.#takers.length) {
      this.#start((gone) => this.#options.make(limits, gone));
    }
    // Making the next one at once would take the processor from the task that begins now.
    if (entry !== undefined && this.#ready.length > 0) this.#options.changedSoon();
    else this.#options.changed();
    return promise;
  }

  /** Resolves when so many have waited at once. */
  warm(count: number): Promise<void> {
    this.#want(count);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    // Whoever asks wants to know now, also when the next try would come later.
    this.#retryAt = 0;
    this.#warmers.push({ count, done: resolve, failed: reject });
    this.#tellWarmers();
    this.#options.changed();
    return promise;
  }

  /** How long until it wants another box made ahead; 0: now, Infinity: it does not. */
  wantsIn(now: number): number {
    const spare = this.#ready.length + this.#making - this.#takers.length;
    if (this.#closed !== undefined || spare >= this.#target) return Number.POSITIVE_INFINITY;
    return Math.max(0, this.#retryAt - now);
  }

  makeAhead(): void {
    this.#start((gone) => this.#options.makeAhead(gone));
  }

  /** Something waits, or is to wait: it may become too old. */
  get isKept(): boolean {
    return this.#ready.length > 0 || this.#target > 0;
  }

  /** Throws away what is too old, and everything when nobody has asked for `idleMs`. */
  sweep(now: number, idleMs: number): void {
    if (now - this.#wantedAt > idleMs) this.#target = 0;
    const steady = this.#ready.some((entry) => now - entry.readyAt > steadyMs);
    if (steady) this.#works();
    for (const entry of [...this.#ready]) {
      const isSpare = this.#ready.length > this.#target;
      if (!isSpare && entry.expiresAt > now) continue;
      this.#ready.splice(this.#ready.indexOf(entry), 1);
      this.#counts.expired += 1;
      void this.#discard(entry);
    }
  }

  metrics(): KindMetrics {
    const { level, language } = this.kind;
    return {
      level,
      language,
      ready: this.#ready.length,
      starting: this.#making,
      inUse: this.#inUse.size,
      waiting: this.#takers.length,
      ...this.#counts,
      waitMs: this.#waitMs.quantiles(),
      makeMs: this.#makeMs.quantiles(),
    };
  }

  /** Boxes in use are destroyed too. What is being made is thrown away when it is done. */
  close(error: BoxError): void {
    this.#closed = error;
    for (const taker of this.#takers.splice(0)) taker.failed(error);
    for (const warmer of this.#warmers.splice(0)) warmer.failed(error);
    for (const entry of this.#ready.splice(0)) void this.#discard(entry);
    for (const entry of this.#inUse) void this.#discard(entry);
  }

  #want(count: number): void {
    this.#wantedAt = performance.now();
    this.#target = Math.max(this.#target, count);
  }

  #start(make: (gone: () => void) => Promise<Made<W>>): void {
    this.#making += 1;
    const entry: Entry<W> = { made: undefined, isDead: false, readyAt: 0, expiresAt: 0 };
    const since = performance.now();
    void make(() => this.#died(entry))
      .then(
        (made) => {
          this.#making -= 1;
          this.#makeMs.add(performance.now() - since);
          entry.made = made;
          this.#offer(entry);
        },
        (error: BoxError) => {
          this.#making -= 1;
          this.#failed(error);
        },
      )
      .then(() => this.#options.changed());
  }

  #offer(entry: Entry<W>): void {
    if (entry.isDead) {
      void this.#discard(entry);
      const { level } = this.kind;
      this.#failed(
        new BoxError(
          `the ${level} sandbox ended while it started`,
          "Run edgedag doctor: it tries each level.",
        ),
      );
    } else if (this.#closed !== undefined) {
      void this.#discard(entry);
    } else if (this.#takers.length > 0) {
      this.#serve(entry);
    } else if (this.#ready.length < this.#target) {
      entry.readyAt = performance.now();
      // Those that were made together need not be replaced together.
      const lifespanMs = this.#options.lifespanMs * (0.8 + 0.2 * Math.random());
      entry.expiresAt = entry.readyAt + lifespanMs;
      this.#ready.push(entry);
      this.#tellWarmers();
    } else {
      this.#counts.expired += 1;
      void this.#discard(entry);
    }
  }

  #serve(entry: Entry<W>): void {
    const taker = this.#takers.shift();
    const { made } = entry;
    if (taker === undefined || made === undefined) return;
    const waitedMs = performance.now() - taker.since;
    this.#works();
    this.#counts.served += 1;
    // A box that was made ahead and came too late is cold for its taker too.
    const isCold = entry.readyAt === 0;
    if (isCold) this.#counts.cold += 1;
    this.#waitMs.add(waitedMs);
    this.#inUse.add(entry);
    made.box.onEnd = undefined;
    taker.served({
      box: made.box,
      worker: made.worker,
      isCold,
      release: () => this.#discard(entry),
    });
  }

  /** While it waited or started: what was taken is its taker's. */
  #died(entry: Entry<W>): void {
    if (entry.isDead || this.#inUse.has(entry)) return;
    entry.isDead = true;
    const at = this.#ready.indexOf(entry);
    if (at < 0) return;
    this.#ready.splice(at, 1);
    this.#counts.died += 1;
    void this.#discard(entry);
    // Replaced at once when it had lived for a while, else slower and slower.
    if (performance.now() - entry.readyAt < steadyMs) this.#backOff();
    this.#options.changed();
  }

  #failed(error: BoxError): void {
    if (this.#closed !== undefined) return;
    this.#counts.failed += 1;
    this.#backOff();
    if (!this.#isBroken) {
      this.#isBroken = true;
      this.#options.stateChanged(error);
    }
    for (const warmer of this.#warmers.splice(0)) warmer.failed(error);
    // The others have theirs in the making.
    if (this.#takers.length > this.#making) this.#takers.shift()?.failed(error);
  }

  #backOff(): void {
    const delayMs = Math.min(maxBackoffMs, firstBackoffMs * 2 ** Math.min(20, this.#failures));
    this.#failures += 1;
    this.#retryAt = performance.now() + delayMs;
  }

  #works(): void {
    this.#failures = 0;
    this.#retryAt = 0;
    if (!this.#isBroken) return;
    this.#isBroken = false;
    this.#options.stateChanged(undefined);
  }

  #tellWarmers(): void {
    const length = this.#ready.length;
    const left: Warmer[] = [];
    for (const warmer of this.#warmers) {
      if (warmer.count > length) left.push(warmer);
      else warmer.done();
    }
    this.#warmers = left;
  }

  #discard(entry: Entry<W>): Promise<void> {
    let done = this.#discards.get(entry);
    if (done !== undefined || entry.made === undefined) return done ?? Promise.resolve();
    entry.made.box.onEnd = undefined;
    done = this.#options.discard(entry.made).then(() => {
      this.#inUse.delete(entry);
    });
    this.#discards.set(entry, done);
    return done;
  }
}
