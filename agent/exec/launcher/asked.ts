// What was asked of one launcher and has not ended or been answered: processes, mounts, what is to be
// dropped. Hears its events and tells each listener its own; believes nothing that does not fit.
import type { LauncherEvents } from "./launcher-frames.ts";
import { guard, type LiveProcess } from "./live-process.ts";
import type { HeldProcess, ProcessEnd } from "./process.ts";
import { errnoName, spawnFailure } from "./spawn-failure.ts";

export class Asked {
  /** The launcher runs in a sandbox, where a task may have taken its place. */
  readonly #isInside: boolean;
  readonly #live = new Map<number, LiveProcess>();
  readonly #mounts = new Map<number, (error: string | undefined) => void>();
  readonly #drops = new Map<number, () => void>();
  readonly #found = Promise.withResolvers<HeldProcess[]>();
  readonly #held: HeldProcess[] = [];
  #lastId = 0;

  constructor(isInside: boolean) {
    this.#isInside = isInside;
    // Only who attaches to a holder waits for it.
    this.#found.promise.catch(() => {});
  }

  /** What a holder has, once it has told all of it. */
  get found(): Promise<HeldProcess[]> {
    return this.#found.promise;
  }

  nextId(): number {
    do this.#lastId = (this.#lastId + 1) >>> 0;
    while (this.#live.has(this.#lastId) || this.#mounts.has(this.#lastId));
    return this.#lastId;
  }

  add(id: number, live: LiveProcess): void {
    this.#live.set(id, live);
  }

  has(id: number): boolean {
    return this.#live.has(id);
  }

  mounting(id: number): Promise<string | undefined> {
    const { promise, resolve } = Promise.withResolvers<string | undefined>();
    this.#mounts.set(id, resolve);
    return promise;
  }

  dropping(id: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#drops.set(id, resolve);
    return promise;
  }

  /** Nothing more is told of any process. */
  leave(): void {
    this.#live.clear();
  }

  /** One that has not begun is given back. */
  lose(id: number): void {
    const live = this.#live.get(id);
    if (live?.isToFollow !== true) {
      this.#settle(id, { kind: "lost" });
      return;
    }
    this.#live.delete(id);
    live.returned();
  }

  /** `ended` never comes before `spawn` has returned. */
  endSoon(id: number, end: ProcessEnd): void {
    process.nextTick(() => this.#settle(id, end));
  }

  /** The launcher is gone. */
  end(detail: string): void {
    // A listener may ask for another process at once, hence the copy.
    const lost = [...this.#live.values()];
    this.#live.clear();
    for (const live of lost) {
      // The pids of one inside mean other processes here.
      if (live.pid > 0 && !this.#isInside) killGroup(live.pid);
      // One that has begun without our hearing of it has died with the launcher, and begins again.
      if (live.isToFollow) live.returned();
      else live.ended({ kind: "lost" });
    }
    for (const resolve of this.#mounts.values()) resolve("ECHILD");
    this.#mounts.clear();
    for (const resolve of this.#drops.values()) resolve();
    this.#drops.clear();
    this.#found.reject(new Error(detail));
  }

  events(): Omit<LauncherEvents, "hello"> {
    return {
      started: (id, pid, startedAt) => {
        const live = this.#live.get(id);
        this.#expect(live !== undefined && live.pid === 0 && pid > 0, "started", id);
        if (live === undefined) return;
        live.pid = pid;
        guard(() => live.listener.started({ pid, startedAt }));
      },
      output: (id, stream, bytes) => {
        const live = this.#running(id, stream);
        if (live === undefined) return;
        this.#expect(live.admits(bytes.length), `${stream} beyond the limit`, id);
        guard(() => live.listener.output(stream, bytes));
      },
      mark: (id, stream, markId) => {
        const live = this.#running(id, "a mark");
        if (live !== undefined) guard(() => live.listener.mark(stream, markId));
      },
      channel: (id, bytes) => {
        const live = this.#running(id, "a channel");
        if (live === undefined) return;
        this.#expect(live.window !== undefined, "a channel", id);
        if (bytes === undefined) live.window?.drop();
        guard(() => live.listener.channel?.(bytes));
      },
      room: (id, bytes) => {
        const window = this.#running(id, "room")?.window;
        this.#expect(window?.room(bytes) === true, "room", id);
      },
      sample: (id, usage) => {
        const live = this.#running(id, "a sample");
        if (live !== undefined) guard(() => live.listener.sample?.(usage));
      },
      usage: (id, usage) => {
        this.#expect(this.#running(id, "usage")?.measured(usage) === true, "usage", id);
      },
      done: (id, errno) => {
        const error = errno === 0 ? undefined : errnoName(errno);
        const mounted = this.#mounts.get(id);
        this.#mounts.delete(id);
        const dropped = this.#drops.get(id);
        this.#drops.delete(id);
        if (mounted !== undefined) mounted(error);
        else if (dropped !== undefined) dropped();
        else this.#expect(this.#live.get(id)?.armed(error) === true, "done", id);
      },
      held: (process) => {
        this.#expect(false, "a held process", process?.id ?? 0);
        if (process === undefined) this.#found.resolve(this.#held);
        else this.#held.push(process);
        this.#lastId = Math.max(this.#lastId, process?.id ?? 0);
      },
      ended: (id, end) => {
        const live = this.#running(id, "an end");
        if (live === undefined) return;
        end.facts.pid = live.pid;
        this.#settle(id, end);
      },
      spawnFailed: (id, stage, errno, why) => {
        const live = this.#live.get(id);
        this.#expect(live !== undefined && live.pid === 0, "a failed start", id);
        if (live !== undefined) this.#settle(id, spawnFailure(live.spec, { stage, errno, why }));
      },
      returned: (id) => {
        const live = this.#live.get(id);
        this.#expect(live?.isToFollow === true, "a return", id);
        if (live?.isToFollow === true) this.lose(id);
      },
    };
  }

  #running(id: number, what: string): LiveProcess | undefined {
    const live = this.#live.get(id);
    this.#expect(live !== undefined && live.pid > 0, what, id);
    return live;
  }

  /** The one inside may be a task that has taken its place: then no further frame is read. */
  #expect(isSo: boolean, what: string, id: number): void {
    if (!isSo && this.#isInside) throw new Error(`launcher sent ${what} of process ${id}`);
  }

  #settle(id: number, end: ProcessEnd): void {
    const live = this.#live.get(id);
    if (live === undefined) return;
    this.#live.delete(id);
    live.ended(end);
  }
}

/** PDEATHSIG has killed the leader; the rest of its group would live on without this. */
function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    // ESRCH is the usual answer: nobody is left.
    if (!(error instanceof Error && "code" in error)) throw error;
  }
}
