// The warm workers of one runtime: starts them up to a size, gives each call to one, replaces those
// that retire or die. A call is handed to one worker at most; when it was never begun it comes back
// as `returned`, and the caller decides. It never runs a call twice by itself.
import type { ProcessStarter } from "../launcher/process.ts";
import type { CallHandle, CallListener, CallSpec } from "./call.ts";
import { type CallKeeper, PooledCall } from "./pooled-call.ts";
import { Worker } from "./worker.ts";
import type { SpawnFailure } from "./worker-failure.ts";
import type { WorkerServer } from "./worker-server.ts";

export type { CallEnd, CallHandle, CallListener, CallSpec } from "./call.ts";

export interface WorkerPoolOptions {
  runtime: "python" | "node";
  launcher: Pick<ProcessStarter, "spawn" | "flush">;
  server: WorkerServer;
  /** Starts a runner, for example `["python3", ".../python/runner.py"]`; asked for each worker. */
  argv: readonly string[] | (() => readonly string[]);
  env: Readonly<Record<string, string>>;
  cwd: string;
  /** Most workers at once. */
  size: number;
  /** From the start of a process to its hello; default 30 s. */
  helloTimeoutMs?: number;
  /** A task has left something behind: why its worker is replaced. For the agent's log. */
  onRetire?(reason: string): void;
}

export interface WorkerPoolStats {
  workers: number;
  idle: number;
  /** Calls that wait for a worker. */
  waiting: number;
  started: number;
  pids: number[];
}

/** Calls that go to one worker together, in order. */
interface Chain {
  calls: PooledCall[];
}

const helloTimeoutMs = 30_000;
/** Workers in a row that may die before their hello until waiting calls fail. */
const maxStartFailures = 3;

export class WorkerPool {
  readonly #options: WorkerPoolOptions;
  readonly #workers = new Set<Worker>();
  readonly #idle: Worker[] = [];
  readonly #waiting: Chain[] = [];
  /** Where a call is: in a chain that waits, or at a worker. */
  readonly #places = new Map<number, Chain | Worker>();
  readonly #unflushed = new Set<Worker>();
  #lastId = 0;
  #started = 0;
  #startFailures = 0;
  #isClosed = false;
  #isFlushPlanned = false;
  #warmers: { count: number; done: PromiseWithResolvers<void> }[] = [];
  #closed: PromiseWithResolvers<void> | undefined;

  readonly #keeper: CallKeeper = {
    cancel: (call, graceMs) => {
      const place = this.#places.get(call.id);
      if (place instanceof Worker) place.cancel(call, graceMs);
      else if (place !== undefined) this.#cancelWaiting(place, call);
    },
    forget: (call) => {
      this.#places.delete(call.id);
    },
  };

  constructor(options: WorkerPoolOptions) {
    this.#options = options;
  }

  /** Gives the call to an idle worker, else queues it. Never calls the listener before it returns. */
  submit(spec: CallSpec, listener: CallListener): CallHandle {
    const call = this.#call(spec, listener);
    const chain: Chain = { calls: [call] };
    this.#places.set(call.id, chain);
    this.#waiting.push(chain);
    if (this.#isClosed) queueMicrotask(() => this.#giveBack(chain));
    else this.#dispatch();
    return call;
  }

  /**
   * Puts a call behind an earlier one of this pool. With `after` right behind it: when other work
   * has come between them, or the earlier one has ended, it is returned at once. Without, behind
   * all that its worker has; when that has ended or is slow, it is submitted.
   */
  append(behind: CallHandle, spec: CallSpec, listener: CallListener): CallHandle {
    const place = this.#places.get(behind.id);
    if (spec.after !== true) {
      if (place === undefined || (place instanceof Worker && !place.takesFree)) {
        return this.submit(spec, listener);
      }
    }
    const call = this.#call(spec, listener);
    if (place instanceof Worker) {
      const isNext = place.lastCall?.id === behind.id || spec.after !== true;
      if (place.takesMore && isNext) this.#run(place, call);
      else this.#returnSoon(call);
    } else if (place !== undefined && (place.calls.at(-1)?.id === behind.id || !spec.after)) {
      place.calls.push(call);
      this.#places.set(call.id, place);
    } else this.#returnSoon(call);
    return call;
  }

  /** Sends everything that was handed over in this turn of the event loop: a frame a worker. */
  flush(): void {
    for (const worker of this.#unflushed) worker.flush();
    this.#unflushed.clear();
  }

  /** Resolves when `count` workers (at most the size) are ready; rejects when none can start. */
  async warm(count: number): Promise<void> {
    const wanted = Math.min(count, this.#options.size);
    const done = Promise.withResolvers<void>();
    this.#warmers.push({ count: wanted, done });
    while (this.#workers.size < wanted) this.#startWorker();
    this.#checkWarm();
    await done.promise;
  }

  stats(): WorkerPoolStats {
    const pids = [...this.#workers].flatMap((worker) => worker.pid ?? []);
    return {
      workers: this.#workers.size,
      idle: this.#idle.length,
      waiting: this.#waiting.reduce((sum, chain) => sum + chain.calls.length, 0),
      started: this.#started,
      pids,
    };
  }

  /** The version that the runtime's workers report, once one was ready. */
  get version(): string | undefined {
    for (const worker of this.#workers) if (worker.version !== undefined) return worker.version;
    return undefined;
  }

  /** Kills every worker: running calls fail by signal, waiting ones are returned. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const chain of this.#waiting.splice(0)) this.#giveBack(chain);
    this.#closed ??= Promise.withResolvers<void>();
    for (const worker of this.#workers) worker.kill(0);
    this.#options.launcher.flush();
    if (this.#workers.size === 0) this.#closed.resolve();
    await this.#closed.promise;
  }

  #call(spec: CallSpec, listener: CallListener): PooledCall {
    this.#lastId = (this.#lastId % 0xffff_fffe) + 1;
    return new PooledCall(this.#lastId, spec, listener, this.#keeper);
  }

  /** The calls behind it in its chain counted on it: they come back too. */
  #cancelWaiting(chain: Chain, call: PooledCall): void {
    const from = chain.calls.indexOf(call);
    for (const dropped of chain.calls.splice(from)) this.#returnSoon(dropped);
    if (chain.calls.length > 0) return;
    const at = this.#waiting.indexOf(chain);
    if (at >= 0) this.#waiting.splice(at, 1);
  }

  #returnSoon(call: PooledCall): void {
    this.#places.delete(call.id);
    queueMicrotask(() => call.listener.finished({ kind: "returned" }));
  }

  #giveBack(chain: Chain): void {
    for (const call of chain.calls) call.listener.finished({ kind: "returned" });
  }

  #dispatch(): void {
    while (this.#waiting.length > 0) {
      const worker = this.#idle.pop();
      if (worker === undefined) break;
      if (!worker.isReady) continue;
      const chain = this.#waiting.shift();
      for (const call of chain?.calls ?? []) this.#run(worker, call);
    }
    let starting = 0;
    for (const worker of this.#workers) if (!worker.isReady) starting += 1;
    while (starting < this.#waiting.length && this.#workers.size < this.#options.size) {
      this.#startWorker();
      starting += 1;
    }
  }

  #run(worker: Worker, call: PooledCall): void {
    this.#places.set(call.id, worker);
    worker.run(call);
    this.#unflushed.add(worker);
    if (this.#isFlushPlanned) return;
    this.#isFlushPlanned = true;
    queueMicrotask(() => {
      this.#isFlushPlanned = false;
      this.flush();
    });
  }

  #startWorker(): void {
    this.#started += 1;
    const { launcher, server, argv, env, cwd } = this.#options;
    const limitMs = this.#options.helloTimeoutMs ?? helloTimeoutMs;
    const worker = new Worker(
      {
        runtime: this.#options.runtime,
        launcher,
        server,
        argv: typeof argv === "function" ? argv() : argv,
        env,
        cwd,
        helloTimeoutMs: limitMs,
      },
      {
        ready: (ready) => this.#ready(ready),
        idle: (idle) => this.#ready(idle),
        retired: (retired, reason) => {
          this.#remove(retired);
          if (reason !== undefined) this.#options.onRetire?.(reason);
        },
        gone: (gone, failure) => this.#gone(gone, failure),
      },
    );
    this.#workers.add(worker);
  }

  #ready(worker: Worker): void {
    if (this.#isClosed) return;
    this.#startFailures = 0;
    if (!this.#idle.includes(worker) && worker.isIdle) this.#idle.push(worker);
    this.#checkWarm();
    this.#dispatch();
  }

  #remove(worker: Worker): void {
    const at = this.#idle.indexOf(worker);
    if (at >= 0) this.#idle.splice(at, 1);
  }

  #gone(worker: Worker, failure: SpawnFailure | undefined): void {
    this.#remove(worker);
    this.#workers.delete(worker);
    if (this.#isClosed) {
      if (this.#workers.size === 0) this.#closed?.resolve();
      return;
    }
    if (failure !== undefined) this.#startFailed(failure);
    this.#dispatch();
    if (this.#warmers.length > 0) {
      const wanted = Math.max(...this.#warmers.map((warmer) => warmer.count));
      while (this.#workers.size < wanted) this.#startWorker();
    }
  }

  #startFailed(failure: SpawnFailure): void {
    this.#startFailures += 1;
    // A program that is not there will not come by trying again.
    if (failure.errno === "ECHILD" && this.#startFailures < maxStartFailures) return;
    // The next call tries one worker more: the cause may have gone away.
    this.#startFailures = maxStartFailures - 1;
    for (const { done } of this.#warmers.splice(0)) done.reject(new Error(failure.detail));
    for (const chain of this.#waiting.splice(0)) {
      const [first, ...others] = chain.calls;
      first?.listener.finished({ kind: "failed", failure, facts: {} });
      for (const call of others) call.listener.finished({ kind: "returned" });
    }
  }

  #checkWarm(): void {
    let ready = 0;
    for (const worker of this.#workers) if (worker.isReady) ready += 1;
    this.#warmers = this.#warmers.filter(({ count, done }) => {
      if (ready < count) return true;
      done.resolve();
      return false;
    });
  }
}
