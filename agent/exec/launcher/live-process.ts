// One process as the launcher's client keeps it until its end: who listens, what was asked of it
// and not answered, what may still come from it.
import type { ChannelWindow } from "./channel-window.ts";
import type { Arming, ProcessEnd, ProcessListener, ProcessSpec, Usage } from "./process.ts";

export class LiveProcess {
  readonly spec: ProcessSpec;
  readonly listener: ProcessListener;
  readonly window: ChannelWindow | undefined;
  /** 0 until the launcher has told it. */
  pid = 0;
  /** Told instead of the listener's `ended` when it has not begun; of one that is to follow. */
  readonly #returned: (() => void) | undefined;
  /** Bytes of output that the launcher may still pass on. */
  #outputLeft: number;
  readonly #arms: ((error: string | undefined) => void)[] = [];
  readonly #usages: ((usage: Usage | undefined) => void)[] = [];

  constructor(
    spec: ProcessSpec,
    listener: ProcessListener,
    { window, returned }: { window?: ChannelWindow | undefined; returned?: () => void } = {},
  ) {
    this.spec = spec;
    this.listener = listener;
    this.window = window;
    this.#returned = returned;
    this.#outputLeft = spec.outputLimitBytes ?? Number.POSITIVE_INFINITY;
  }

  arming({ outputLimitBytes }: Arming): Promise<string | undefined> {
    this.#outputLeft += outputLimitBytes ?? Number.POSITIVE_INFINITY;
    const { promise, resolve } = Promise.withResolvers<string | undefined>();
    this.#arms.push(resolve);
    return promise;
  }

  asking(): Promise<Usage | undefined> {
    const { promise, resolve } = Promise.withResolvers<Usage | undefined>();
    this.#usages.push(resolve);
    return promise;
  }

  /** False: nothing was asked. */
  armed(error: string | undefined): boolean {
    const resolve = this.#arms.shift();
    resolve?.(error);
    return resolve !== undefined;
  }

  /** False: nothing was asked. */
  measured(usage: Usage): boolean {
    const resolve = this.#usages.shift();
    // Of a process that is not measured only the time is known.
    resolve?.(Object.keys(usage).length > 1 ? usage : undefined);
    return resolve !== undefined;
  }

  /** False: there is more output than its limit lets through. */
  admits(bytes: number): boolean {
    this.#outputLeft -= bytes;
    return this.#outputLeft >= 0;
  }

  /** It is to follow another process, and is not known to have begun. */
  get isToFollow(): boolean {
    return this.#returned !== undefined && this.pid === 0;
  }

  returned(): void {
    for (const resolve of this.#arms.splice(0)) resolve("ESRCH");
    guard(() => this.#returned?.());
  }

  ended(end: ProcessEnd): void {
    for (const resolve of this.#arms.splice(0)) resolve("ESRCH");
    for (const resolve of this.#usages.splice(0)) resolve(undefined);
    this.window?.drop();
    guard(() => this.listener.ended(end));
  }
}

/** A listener that throws is a bug, but it must not cost the other processes their frames. */
export function guard(tell: () => void): void {
  try {
    tell();
  } catch (error) {
    process.nextTick(() => {
      throw error;
    });
  }
}
