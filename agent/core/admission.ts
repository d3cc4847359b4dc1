// Who may start next: ready instances by rank, and the pools and resources that they take while
// they run. It never decides that something starts; RunState does, one `take` per free slot.

import type { DagAttributes, TaskAttributes } from "../../protocol/dag.ts";
import { at } from "./at.ts";
import type { Capacity, Instance } from "./events.ts";
import { type Needs, noNeeds, ReadyQueue } from "./ready-queue.ts";
import type { TaskTable } from "./task-table.ts";

const none: Capacity = { slots: 0, cpu: 0, memoryBytes: 0, gpu: 0 };

export class Admission {
  readonly #table: TaskTable;
  readonly #attributes: DagAttributes;
  #capacity: Capacity = none;
  #ready = new ReadyQueue(none);
  /** By task of the document, only of those that need more than a slot. */
  readonly #needs = new Map<Instance, Needs>();

  constructor(table: TaskTable, attributes: DagAttributes) {
    this.#table = table;
    this.#attributes = attributes;
    this.reset(none, []);
  }

  /** What the node and the DAG's `concurrency` allow. */
  get capacity(): Readonly<Capacity> {
    return this.#capacity;
  }

  /**
   * Starts over with this capacity. `holders` run already and keep what they have, even where that
   * is now more than there is. Gives what was ready: the caller puts back what still can run.
   */
  reset(capacity: Capacity, holders: Iterable<Instance>): Instance[] {
    const waiting = this.#ready.instances();
    const { concurrency = capacity.slots, pools = {} } = this.#attributes;
    this.#capacity = { ...capacity, slots: Math.min(capacity.slots, concurrency) };
    this.#ready = new ReadyQueue(capacity);
    for (const [name, places] of Object.entries(pools)) this.#ready.addPool(name, places);
    for (const parent of this.#table.fanOuts.open()) this.openFanOut(parent);
    for (const instance of holders) this.#ready.hold(this.needsOf(instance));
    return waiting;
  }

  /** Why this node can never run the instance; `undefined`: it can. */
  lacking(instance: Instance): string | undefined {
    const { resources } = this.#table.taskOf(instance);
    if (resources === undefined) return undefined;
    for (const name of ["cpu", "memoryBytes", "gpu"] as const) {
      const amount = resources[name] ?? 0;
      if (amount > this.#capacity[name]) {
        return `the task asks for ${amount} of ${name}, this node has ${this.#capacity[name]}`;
      }
    }
    return undefined;
  }

  push(instance: Instance): void {
    const { graph } = this.#table;
    const owner = this.#table.taskIndexOf(instance);
    const { priority } = this.#table.taskOf(instance);
    const remaining = at(graph.remaining, owner);
    this.#ready.push({ instance, priority, remaining }, this.needsOf(instance));
  }

  /** The best one that has room; it holds what it needs until `release`. */
  take(): Instance | undefined {
    return this.#ready.take();
  }

  release(instance: Instance): void {
    this.#ready.giveBack(this.needsOf(instance));
  }

  /** Forgets everything that is ready (not what is held). */
  clear(): void {
    this.#ready.clear();
  }

  get readyCount(): number {
    return this.#ready.size;
  }

  /** The best one that has room, left where it is. */
  best(): Instance | undefined {
    return this.#ready.best()?.instance;
  }

  /** Priority of the best one that has room; `-Infinity` when there is none. */
  bestPriority(): number {
    return this.#ready.best()?.priority ?? Number.NEGATIVE_INFINITY;
  }

  openFanOut(parent: Instance): void {
    const { mapConcurrency } = this.#table.taskOf(parent);
    if (mapConcurrency !== undefined) this.#ready.addPool(mapPool(parent), mapConcurrency);
  }

  closeFanOut(parent: Instance): void {
    this.#ready.removePool(mapPool(parent));
  }

  needsOf(instance: Instance): Needs {
    const task = this.#table.taskOf(instance);
    const { pool, resources, mapConcurrency } = task;
    if (pool === undefined && resources === undefined && mapConcurrency === undefined) {
      return noNeeds;
    }
    const owner = this.#table.taskIndexOf(instance);
    const known = this.#needs.get(owner);
    if (known !== undefined) return known;
    const needs = describe(owner, task);
    this.#needs.set(owner, needs);
    return needs;
  }

  /** Ready instances in the order in which they would start if all had room. */
  order(): Instance[] {
    return this.#ready.order();
  }

  /** What is left of pools and resources. */
  free(): ReturnType<ReadyQueue["free"]> {
    return this.#ready.free();
  }
}

function describe(owner: Instance, { pool, resources, map, mapConcurrency }: TaskAttributes) {
  const pools: string[] = [];
  if (pool !== undefined) pools.push(pool);
  if (map !== undefined && mapConcurrency !== undefined) pools.push(mapPool(owner));
  const { cpu = 0, memoryBytes = 0, gpu = 0 } = resources ?? {};
  const key = JSON.stringify([pools, cpu, memoryBytes, gpu]);
  return { key, pools, cpu, memoryBytes, gpu };
}

/** The pool of a fan-out's own bound. The space: no pool of a user has such a name. */
export function mapPool(parent: Instance): string {
  return ` map ${parent}`;
}
