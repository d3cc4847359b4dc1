// Which slot holds which instances: the one that runs first, then what was handed to the same
// worker behind it. Bookkeeping only: what a change of place means is decided by RunState.
import type { Instance } from "./events.ts";

/**
 * Instances that a worker has at most, the running one included; more are handed over when `batch` of
 * them are done, so that several travel in one frame.
 */
export interface Handover {
  depth: number;
  batch: number;
}

/**
 * Of functions that have been quick. A worker that sends its answers 32 at a time then still has 64
 * to go on with, longer than a sleeping agent needs to wake up and to answer.
 */
export const quickHandover: Handover = { depth: 96, batch: 32 };
/** Of those of which nothing is known yet. */
export const firstHandover: Handover = { depth: 32, batch: 16 };
/** A round trip is nothing beside them, and more urgent tasks may be waiting for their slot. */
export const slowHandover: Handover = { depth: 2, batch: 1 };

/** Of processes that have been quick: so many that the agent need not wake up for each. */
export const processHandover: Handover = { depth: 16, batch: 8 };
/** Of other processes: what is best then is known when they have ended. */
export const noHandover: Handover = { depth: 1, batch: 1 };

export interface Slot {
  readonly queue: Instance[];
  /** Its worker gives back what it has: nothing more is handed to it. */
  isClosed: boolean;
}

export class Slots {
  readonly #slotOf = new Map<Instance, Slot>();
  #used = 0;

  /** Slots that hold something. */
  get used(): number {
    return this.#used;
  }

  has(instance: Instance): boolean {
    return this.#slotOf.has(instance);
  }

  isFirst(instance: Instance): boolean {
    return this.#slotOf.get(instance)?.queue[0] === instance;
  }

  /** The instance right before this one in its slot. */
  before(instance: Instance): Instance | undefined {
    const queue = this.#slotOf.get(instance)?.queue;
    return queue?.[queue.indexOf(instance) - 1];
  }

  /** Nothing more is to be handed out behind this one. */
  close(instance: Instance): void {
    const slot = this.#slotOf.get(instance);
    if (slot !== undefined) slot.isClosed = true;
  }

  /** What was handed to the same worker behind this one, in order. */
  behind(instance: Instance): Instance[] {
    const queue = this.#slotOf.get(instance)?.queue ?? [];
    return queue.slice(queue.indexOf(instance) + 1);
  }

  open(instance: Instance): Slot {
    const slot: Slot = { queue: [instance], isClosed: false };
    this.#slotOf.set(instance, slot);
    this.#used += 1;
    return slot;
  }

  append(slot: Slot, instance: Instance): void {
    slot.queue.push(instance);
    this.#slotOf.set(instance, slot);
  }

  /** Takes one instance out; the slot is free once it is empty. */
  remove(instance: Instance): Slot {
    const slot = this.#slotOf.get(instance);
    if (slot === undefined) throw new Error(`instance ${instance} has no slot`);
    this.#slotOf.delete(instance);
    if (slot.queue[0] === instance) slot.queue.shift();
    else slot.queue.splice(slot.queue.indexOf(instance), 1);
    if (slot.queue.length === 0) this.#used -= 1;
    return slot;
  }

  /** Every instance that has a place: running first, then those behind, slot by slot. */
  queues(): Instance[][] {
    return [...new Set(this.#slotOf.values())].map((slot) => [...slot.queue]);
  }
}
