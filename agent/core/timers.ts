// What waits for time: back-offs and the timeouts of `wait_for`. A timer belongs to one state
// object; when the instance has left that state, the timer is dead and is dropped unseen.
import type { Instance, Millis } from "./events.ts";
import { Heap } from "./heap.ts";
import type { TaskState } from "./task-state.ts";

export interface Timer {
  at: Millis;
  instance: Instance;
  state: TaskState;
}

export class Timers {
  readonly #heap = new Heap<Timer>((a, b) => a.at < b.at);
  readonly #stateOf: (instance: Instance) => TaskState;
  #wakeAt: Millis | undefined;

  constructor(stateOf: (instance: Instance) => TaskState) {
    this.#stateOf = stateOf;
  }

  add(at: Millis, instance: Instance, state: TaskState): void {
    this.#heap.push({ at, instance, state });
  }

  /** Takes the next timer that is due. */
  takeDue(now: Millis): Timer | undefined {
    const timer = this.#next();
    if (timer === undefined || timer.at > now) return undefined;
    return this.#heap.pop();
  }

  /** The time to ask the shell for, when it is not the one that was asked for last. */
  nextWake(): Millis | undefined {
    const at = this.#next()?.at;
    if (at === undefined || at === this.#wakeAt) return undefined;
    this.#wakeAt = at;
    return at;
  }

  /**
   * The shell's timer is gone: it has fired, or the process is a new one. Also when it fired too
   * early (Node.js timers may, by a millisecond of the wall clock): then the same time is asked for
   * again.
   */
  forgetWake(): void {
    this.#wakeAt = undefined;
  }

  /** Timers that still matter, by time. */
  live(): Timer[] {
    return this.#heap
      .values()
      .filter((timer) => this.#isLive(timer))
      .sort((a, b) => a.at - b.at || a.instance - b.instance);
  }

  #next(): Timer | undefined {
    for (;;) {
      const timer = this.#heap.peek();
      if (timer === undefined || this.#isLive(timer)) return timer;
      this.#heap.pop();
    }
  }

  #isLive({ instance, state }: Timer): boolean {
    return this.#stateOf(instance) === state;
  }
}
