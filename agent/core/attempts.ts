// Attempts and the slots that they run in: what starts, what is handed to a worker ahead of time,
// and what the end of an attempt means for its slot and for the next attempt.

import type { CancelledBy } from "../../protocol/outcome.ts";
import type { Arming } from "./arming.ts";
import { at } from "./at.ts";
import type { Books } from "./books.ts";
import type { Ends } from "./ends.ts";
import type { Instance, RunEvent } from "./events.ts";
import { handoverDepth, type Slot } from "./slots.ts";
import { RUNNING, type TaskState, WAITING } from "./task-state.ts";

export class Attempts {
  readonly #books: Books;
  readonly #ends: Ends;
  readonly #arming: Arming;
  readonly #isWaiting: (instance: Instance) => boolean;

  constructor(books: Books, ends: Ends, arming: Arming) {
    this.#books = books;
    this.#ends = ends;
    this.#arming = arming;
    this.#isWaiting = (instance) => books.idOf(instance) === "waiting";
  }

  /** Gives every free slot to the best ready instance that has room. */
  dispatch(): void {
    const { isDraining, slots, admission, table, commands } = this.#books;
    while (!isDraining && slots.used < admission.capacity.slots) {
      const instance = admission.take();
      if (instance === undefined) return;
      const slot = slots.open(instance);
      this.#begin(instance);
      const attempt = table.countAttempt(instance);
      commands.push({ type: "start-attempt", task: instance, attempt });
      this.#handOver(slot);
    }
  }

  /** Of an instance that is running or handed. */
  stop(instance: Instance, by: CancelledBy): void {
    const { table, commands } = this.#books;
    this.#books.move(instance, { id: "stopping", by });
    const attempt = table.attemptOf(instance);
    commands.push({ type: "stop-attempt", task: instance, attempt, by });
  }

  finished(event: Extract<RunEvent, { type: "attempt-finished" }>): void {
    const { table, retries } = this.#books;
    const { task: instance, attempt, outcome } = event;
    const id = this.#books.idOf(instance);
    const expected = table.attemptOf(instance);
    if ((id !== "running" && id !== "stopping") || attempt !== expected) {
      const what = `attempt ${table.keyOf(instance)}#${attempt} finished in state ${id}`;
      throw new Error(`${what}, attempt ${expected} was expected`);
    }
    this.#leaveSlot(instance, outcome.kind === "succeeded");
    if (id === "running" && outcome.kind === "failed") {
      const policy = table.taskOf(instance).retries;
      const { failure } = outcome;
      const delayMs = retries.delayAfter({ instance, policy, failure, random: event.random });
      if (delayMs !== undefined) {
        this.#retry(instance, delayMs);
        return;
      }
    }
    this.#ends.finish(instance, outcome);
  }

  /**
   * The worker gave it back unrun: it is ready again, and the attempt has not happened. What was
   * handed out behind something that did not succeed has been taken back before; nothing follows.
   */
  returned(instance: Instance, attempt: number): void {
    const { table, slots, progress } = this.#books;
    const state = table.stateOf(instance);
    if (state.id !== "running" && state.id !== "stopping") return;
    if (attempt !== table.attemptOf(instance)) return;
    if (slots.isFirst(instance)) progress.counts.attempts -= 1;
    this.#leaveSlot(instance, false);
    table.forgetAttempt(instance);
    if (state.id === "running") this.#arming.makeReady(instance);
    else this.#ends.finish(instance, { kind: "cancelled", by: state.by });
  }

  #begin(instance: Instance): void {
    this.#books.move(instance, RUNNING);
    this.#books.progress.begin();
  }

  /**
   * A chain does not pay a round trip a task: successors that need nothing but the task before
   * them go to the same worker at once, each on the condition that the one before succeeds.
   * Refilled when half of it is done, so that several tasks travel in one frame, and not while
   * something of higher priority waits for a slot.
   */
  #handOver(slot: Slot): void {
    const { isDraining, unmet, admission, table, slots, commands } = this.#books;
    if (isDraining || slot.queue.length > handoverDepth / 2) return;
    let last = at(slot.queue, slot.queue.length - 1);
    let least: number | undefined;
    while (slot.queue.length < handoverDepth) {
      const next = unmet.chainedAfter(last, this.#isWaiting);
      if (next === undefined) return;
      least ??= admission.bestPriority();
      if (table.taskOf(next).priority < least) return;
      this.#books.move(next, { id: "handed", after: last });
      slots.append(slot, next);
      const attempt = table.countAttempt(next);
      commands.push({ type: "start-attempt", task: next, attempt, behind: last });
      last = next;
    }
  }

  #retry(instance: Instance, delayMs: number): void {
    const { table, timers, commands, now } = this.#books;
    const until = now + delayMs;
    const attempt = table.attemptOf(instance);
    commands.push({ type: "announce-retry", task: instance, attempt, at: until });
    if (delayMs === 0) {
      this.#arming.makeReady(instance);
      return;
    }
    const state: TaskState = { id: "delayed", until };
    this.#books.move(instance, state);
    timers.add(until, instance, state);
  }

  /** Frees the slot, or passes it to what was handed out behind the instance. */
  #leaveSlot(instance: Instance, isSuccess: boolean): void {
    const { slots, progress, admission } = this.#books;
    const isFirst = slots.isFirst(instance);
    const slot = slots.remove(instance);
    if (!isFirst) return;
    progress.counts.running -= 1;
    admission.release(instance);
    if (isSuccess) this.#promote(slot);
    else this.#takeBack(slot);
  }

  /** The next instance of the slot is what runs now. */
  #promote(slot: Slot): void {
    const next = slot.queue[0];
    if (next === undefined) return;
    if (this.#books.idOf(next) === "stopping") {
      // It was told to stop while it was still behind: now it occupies the slot until it ends.
      this.#books.progress.begin();
      return;
    }
    this.#begin(next);
    this.#handOver(slot);
  }

  /** The condition of everything that was handed out behind has failed: none of it will run. */
  #takeBack(slot: Slot): void {
    const { slots, table } = this.#books;
    for (const instance of slot.queue.slice()) {
      slots.remove(instance);
      table.forgetAttempt(instance);
      const state = table.stateOf(instance);
      // Told to stop while it was still behind: it never began.
      if (state.id === "stopping") this.#ends.finish(instance, { kind: "cancelled", by: state.by });
      else this.#books.move(instance, WAITING);
    }
  }
}
