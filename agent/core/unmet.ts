// How many needs of each task are still open, and what the end of a task means for the tasks after
// it. Readiness comes from these counts alone; nothing is ever rescanned.

import type { Outcome } from "../../protocol/outcome.ts";
import { at } from "./at.ts";
import type { Instance } from "./events.ts";
import { isSatisfied, type RunGraph } from "./graph.ts";

/** Told about a successor that waits: its need can never be met, or all of its needs are met. */
export interface Successors {
  isWaiting(instance: Instance): boolean;
  unreachable(instance: Instance): void;
  met(instance: Instance): void;
}

export class Unmet {
  readonly #graph: RunGraph;
  readonly #counts: Int32Array;

  constructor(graph: RunGraph) {
    this.#graph = graph;
    this.#counts = graph.unmet.slice();
  }

  /** Items of a fan-out need nothing. */
  of(instance: Instance): number {
    return this.#counts[instance] ?? 0;
  }

  settle(instance: Instance, kind: Outcome["kind"], successors: Successors): void {
    const { rows, targets, conditions } = this.#graph;
    const end = at(rows, instance + 1);
    for (let e = at(rows, instance); e < end; e += 1) {
      const target = at(targets, e);
      if (!successors.isWaiting(target)) continue;
      if (!isSatisfied(at(conditions, e), kind)) {
        successors.unreachable(target);
        continue;
      }
      const left = this.of(target) - 1;
      this.#counts[target] = left;
      if (left === 0) successors.met(target);
    }
  }

  /**
   * The successor to hand to the worker that has `instance`: one that waits for nothing else, can
   * run on the same worker, and is the best of those; `undefined` when there is none.
   */
  chainedAfter(
    instance: Instance,
    isWaiting: (instance: Instance) => boolean,
  ): Instance | undefined {
    const { size, lanes, rows, targets, conditions } = this.#graph;
    const lane = instance < size ? lanes[instance] : 0;
    if (lane === 0) return undefined;
    let best: Instance | undefined;
    const end = at(rows, instance + 1);
    for (let e = at(rows, instance); e < end; e += 1) {
      const target = at(targets, e);
      if (lanes[target] !== lane || conditions[e] !== 0) continue;
      if (this.of(target) !== 1 || !isWaiting(target)) continue;
      if (best === undefined || this.#outranks(target, best)) best = target;
    }
    return best;
  }

  #outranks(a: Instance, b: Instance): boolean {
    const { tasks, remaining } = this.#graph;
    const byPriority = at(tasks, a).priority - at(tasks, b).priority;
    if (byPriority !== 0) return byPriority > 0;
    return at(remaining, a) > at(remaining, b);
  }
}
