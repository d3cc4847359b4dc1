// The items of expanded fan-outs: their numbers, their parents, and the outcome that they add up
// to. Items are instances from the size of the DAG on, in the order of expansion.
import type { Outcome } from "../../protocol/outcome.ts";
import type { Instance } from "./events.ts";

/** An item of a fan-out. */
export interface Item {
  parent: Instance;
  index: number;
}

export interface Expansion {
  first: Instance;
  count: number;
  /** Items without an outcome. */
  left: number;
  /** Of the first item (by index) that ended so. */
  failed?: { index: number; outcome: Outcome };
  cancelled?: { index: number; outcome: Outcome };
}

export class FanOuts {
  readonly #size: number;
  readonly #items: Item[] = [];
  readonly #expansions = new Map<Instance, Expansion>();

  constructor(size: number) {
    this.#size = size;
  }

  itemOf(instance: Instance): Item | undefined {
    return instance < this.#size ? undefined : this.#items[instance - this.#size];
  }

  expansionOf(parent: Instance): Readonly<Expansion> | undefined {
    return this.#expansions.get(parent);
  }

  expand(parent: Instance, count: number): Instance {
    const first = this.#size + this.#items.length;
    this.#expansions.set(parent, { first, count, left: count });
    for (let index = 0; index < count; index += 1) this.#items.push({ parent, index });
    return first;
  }

  /** Items of an expanded fan-out, in order; `undefined` when it has not been expanded. */
  itemsOf(parent: Instance): Instance[] | undefined {
    const expansion = this.#expansions.get(parent);
    if (expansion === undefined) return undefined;
    return Array.from({ length: expansion.count }, (_, i) => expansion.first + i);
  }

  /** Records the outcome of an item; gives the outcome of the whole when it was the last. */
  finish({ parent, index }: Item, outcome: Outcome): Outcome | undefined {
    const expansion = this.#expansions.get(parent);
    if (expansion === undefined) throw new Error(`instance ${parent} has no items`);
    expansion.left -= 1;
    const { kind } = outcome;
    if (kind === "failed" || kind === "cancelled") {
      const known = expansion[kind];
      if (known === undefined || index < known.index) expansion[kind] = { index, outcome };
    }
    if (expansion.left > 0) return undefined;
    return expansion.failed?.outcome ?? expansion.cancelled?.outcome ?? { kind: "succeeded" };
  }

  /** Fan-outs whose items have not all finished. */
  open(): Instance[] {
    return [...this.#expansions].filter(([, { left }]) => left > 0).map(([parent]) => parent);
  }
}
