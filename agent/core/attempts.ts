// Attempts and the slots that they run in: what starts, what is handed to a worker ahead of time,
// and what the end of an attempt means for its slot and for the next attempt.

import type { CancelledBy } from "../../protocol/outcome.ts";
import type { Arming } from "./arming.ts";
import { at } from "./at.ts";
import type { Books } from "./books.ts";
import type { Ends } from "./ends.ts";
import type { Instance, RunEvent } from "./events.ts";
import {
  firstHandover,
  type Handover,
  noHandover,
  processHandover,
  quickHandover,
  type Slot,
  slowHandover,
} from "./slots.ts";
import { QUEUED, RUNNING, type TaskState, WAITING } from "./task-state.ts";

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
      this.#queueBehind(slot);
    }
  }

  /** Of an instance that is running, handed or queued. */
  stop(instance: Instance, by: CancelledBy): void {
    const { table, commands } = this.#books;
    const wasQueued = this.#books.idOf(instance) === "queued";
    this.#books.move(
      instance,
      wasQueued ? { id: "stopping", by, wasQueued } : { id: "stopping", by },
    );
    const attempt = table.attemptOf(instance);
    commands.push({ type: "stop-attempt", task: instance, attempt, by });
  }

  finished(event: Extract<RunEvent, { type: "attempt-finished" }>): void {
    const { table, retries } = this.#books;
    const { task: instance, attempt, outcome } = event;
    const id = this.#books.idOf(instance);
    const expected = table.attemptOf(instance);
    const isInFlight = id === "running" || id === "stopping" || id === "queued";
    if (!isInFlight || attempt !== expected) {
      const what = `attempt ${table.keyOf(instance)}#${attempt} finished in state ${id}`;
      throw new Error(`${what}, attempt ${expected} was expected`);
    }
    const { pace, graph, slots, progress } = this.#books;
    // Another worker has taken it before its turn came here.
    const hasBegun = this.#isQueued(instance) && outcome.kind !== "cancelled";
    if (hasBegun && !slots.isFirst(instance)) progress.counts.attempts += 1;
    pace.note(at(graph.functions, table.taskIndexOf(instance)), event.wallMs);
    this.#leaveSlot(instance, outcome.kind === "succeeded");
    if (id !== "stopping" && outcome.kind === "failed") {
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
   * What is handed and still behind something unfinished stays: its turn has not come.
   */
  returned(instance: Instance, attempt: number): void {
    const { table, slots, progress } = this.#books;
    const state = table.stateOf(instance);
    if (state.id !== "running" && state.id !== "stopping" && state.id !== "queued") return;
    if (attempt !== table.attemptOf(instance)) return;
    if (slots.isFirst(instance)) {
      progress.counts.attempts -= 1;
      // Its worker retires: what is behind comes back too.
      slots.close(instance);
    }
    this.#leaveSlot(instance, false);
    table.forgetAttempt(instance);
    if (state.id === "stopping") this.#ends.finish(instance, { kind: "cancelled", by: state.by });
    else this.#arming.makeReady(instance);
  }

  /** It keeps its slot and what it holds: nothing changes, but only of what is in flight. */
  adopted(instance: Instance, attempt: number): void {
    const { table } = this.#books;
    const { id } = table.stateOf(instance);
    const isInFlight = id === "running" || id === "stopping";
    if (isInFlight && attempt === table.attemptOf(instance)) return;
    throw new Error(`attempt ${table.keyOf(instance)}#${attempt} was adopted in state ${id}`);
  }

  /** Takes back everything that has not begun: after a crash no worker has it any more. */
  restarted(): void {
    const { slots, table } = this.#books;
    for (const [, ...behind] of slots.queues()) {
      for (const instance of behind) {
        const state = table.stateOf(instance);
        slots.remove(instance);
        table.forgetAttempt(instance);
        if (state.id === "queued") this.#arming.makeReady(instance);
        else this.#neverBegan(instance);
      }
    }
  }

  #begin(instance: Instance): void {
    this.#books.move(instance, RUNNING);
    this.#books.progress.begin();
  }

  /**
   * A chain does not pay a round trip a task: successors that need nothing but the task before
   * them go to the same worker at once, each on the condition that the one before succeeds.
   * Refilled in batches, so that several tasks travel in one frame, and not while something of
   * higher priority waits for a slot.
   */
  #handOver(slot: Slot): void {
    const { isDraining, unmet, admission, table, slots, commands } = this.#books;
    if (isDraining || slot.isClosed) return;
    let last = at(slot.queue, slot.queue.length - 1);
    const { depth, batch } = this.#handoverOf(last);
    if (slot.queue.length > depth - batch) return;
    let least: number | undefined;
    while (slot.queue.length < depth) {
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

  /**
   * Calls of functions that have been quick so far do not pay a round trip each: they wait behind
   * others at a worker, which gives them back when the one before them takes long after all.
   */
  #queueBehind(slot: Slot): void {
    const { isDraining, admission, table, slots, commands } = this.#books;
    const head = slot.queue[0];
    if (isDraining || slot.isClosed || head === undefined) return;
    const handover = this.#handoverOf(head);
    if (slot.queue.length > handover.depth - handover.batch || !this.#isQuick(head)) return;
    const lane = this.#queueLaneOf(head);
    // What is ready beyond the free slots is shared out evenly over all of them.
    const places = admission.capacity.slots;
    const free = Math.max(0, places - slots.used);
    const share = Math.ceil(Math.max(0, admission.readyCount - free) / places);
    const depth = Math.min(handover.depth, slot.queue.length + share);
    let last = at(slot.queue, slot.queue.length - 1);
    while (slot.queue.length < depth) {
      const next = admission.best();
      if (next === undefined || this.#queueLaneOf(next) !== lane) return;
      if (!this.#isQuick(next)) return;
      admission.take();
      this.#books.move(next, QUEUED);
      slots.append(slot, next);
      const attempt = table.countAttempt(next);
      commands.push({ type: "start-attempt", task: next, attempt, behind: last, isFree: true });
      last = next;
    }
  }

  #handoverOf(instance: Instance): Handover {
    const { pace, graph, table, admission } = this.#books;
    const fn = at(graph.functions, table.taskIndexOf(instance));
    if (fn === graph.processes) {
      return pace.isQuick(fn) && admission.capacity.lines === true ? processHandover : noHandover;
    }
    if (pace.isQuick(fn)) return quickHandover;
    return pace.isSlow(fn) ? slowHandover : firstHandover;
  }

  #isQuick(instance: Instance): boolean {
    const { pace, graph, table } = this.#books;
    return pace.isQuick(at(graph.functions, table.taskIndexOf(instance)));
  }

  #queueLaneOf(instance: Instance): number {
    const { graph, table } = this.#books;
    return at(graph.queueLanes, table.taskIndexOf(instance));
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
    // A handed one that comes back was told to stop, and so was everything behind it.
    const isCondition = isFirst || this.#isQueued(instance);
    const behind = isCondition ? slots.behind(instance) : [];
    const slot = slots.remove(instance);
    if (!isSuccess) this.#takeBack(behind);
    if (!isFirst) {
      if (isSuccess) this.#freeNext(behind);
      return;
    }
    progress.counts.running -= 1;
    admission.release(instance);
    this.#promote(slot);
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
    this.#queueBehind(slot);
  }

  /** Their condition has failed: none of them will run, up to the next that has no condition. */
  #takeBack(behind: readonly Instance[]): void {
    const { slots, table } = this.#books;
    for (const instance of behind) {
      if (this.#isQueued(instance)) return;
      slots.remove(instance);
      table.forgetAttempt(instance);
      this.#neverBegan(instance);
    }
  }

  /** The condition of the first of them is met before its turn comes: it has none any more. */
  #freeNext([next]: readonly Instance[]): void {
    if (next !== undefined && this.#books.idOf(next) === "handed") this.#books.move(next, QUEUED);
  }

  #isQueued(instance: Instance): boolean {
    const state = this.#books.table.stateOf(instance);
    return state.id === "queued" || (state.id === "stopping" && state.wasQueued === true);
  }

  /** Handed, or told to stop while it was still behind. */
  #neverBegan(instance: Instance): void {
    const state = this.#books.table.stateOf(instance);
    if (state.id === "stopping") this.#ends.finish(instance, { kind: "cancelled", by: state.by });
    else this.#books.move(instance, WAITING);
  }
}
