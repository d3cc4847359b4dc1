// Ready instances in the order of priority, then longest remaining path, then index, kept apart by
// what they need besides a slot, so that a full pool never makes others wait or be rescanned.
import type { Capacity, Instance } from "./events.ts";
import { Heap } from "./heap.ts";

export interface Needs {
  /** Instances with equal keys need the same. */
  key: string;
  pools: readonly string[];
  cpu: number;
  memoryBytes: number;
  gpu: number;
}

export interface Rank {
  instance: Instance;
  priority: number;
  remaining: number;
}

interface Group {
  needs: Needs;
  heap: Heap<Rank>;
}

export const noNeeds: Needs = { key: "", pools: [], cpu: 0, memoryBytes: 0, gpu: 0 };

function isBefore(a: Rank, b: Rank): boolean {
  if (a.priority !== b.priority) return a.priority > b.priority;
  if (a.remaining !== b.remaining) return a.remaining > b.remaining;
  return a.instance < b.instance;
}

export class ReadyQueue {
  readonly #groups = new Map<string, Group>();
  readonly #free: { cpu: number; memoryBytes: number; gpu: number };
  readonly #pools = new Map<string, number>();
  #size = 0;

  constructor(capacity: Capacity) {
    this.#free = { cpu: capacity.cpu, memoryBytes: capacity.memoryBytes, gpu: capacity.gpu };
  }

  get size(): number {
    return this.#size;
  }

  addPool(name: string, places: number): void {
    this.#pools.set(name, places);
  }

  removePool(name: string): void {
    this.#pools.delete(name);
  }

  push(rank: Rank, needs: Needs): void {
    let group = this.#groups.get(needs.key);
    if (group === undefined) {
      group = { needs, heap: new Heap(isBefore) };
      this.#groups.set(needs.key, group);
    }
    group.heap.push(rank);
    this.#size += 1;
  }

  /** The best instance whose needs are free. */
  best(): Readonly<Rank> | undefined {
    return this.#bestGroup()?.heap.peek();
  }

  /** Takes the best instance whose needs are free, and takes what it needs with it. */
  take(): Instance | undefined {
    const group = this.#bestGroup();
    const rank = group?.heap.pop();
    if (group === undefined || rank === undefined) return undefined;
    if (group.heap.size === 0 && group.needs.key !== "") this.#groups.delete(group.needs.key);
    this.#size -= 1;
    this.#change(group.needs, -1);
    return rank.instance;
  }

  /** Takes what somebody needs who runs already, whether it is free or not. */
  hold(needs: Needs): void {
    this.#change(needs, -1);
  }

  giveBack(needs: Needs): void {
    this.#change(needs, 1);
  }

  /** Forgets everything that waits (not what was taken). */
  clear(): void {
    this.#groups.clear();
    this.#size = 0;
  }

  instances(): Instance[] {
    return [...this.#groups.values()].flatMap((g) => g.heap.values().map((r) => r.instance));
  }

  /** Instances by rank alone. */
  order(): Instance[] {
    return [...this.#groups.values()]
      .flatMap((g) => g.heap.values())
      .sort((a, b) => (isBefore(a, b) ? -1 : 1))
      .map((rank) => rank.instance);
  }

  /** Places and amounts that are left. */
  free(): { pools: Record<string, number>; cpu: number; memoryBytes: number; gpu: number } {
    return { pools: Object.fromEntries(this.#pools), ...this.#free };
  }

  #bestGroup(): Group | undefined {
    if (this.#size === 0) return undefined;
    let best: Group | undefined;
    let bestRank: Rank | undefined;
    for (const group of this.#groups.values()) {
      const rank = group.heap.peek();
      if (rank === undefined || !this.#hasRoom(group.needs)) continue;
      if (bestRank === undefined || isBefore(rank, bestRank)) {
        best = group;
        bestRank = rank;
      }
    }
    return best;
  }

  #hasRoom(needs: Needs): boolean {
    if (needs.key === "") return true;
    for (const pool of needs.pools) {
      const places = this.#pools.get(pool);
      if (places === undefined || places <= 0) return false;
    }
    const { cpu, memoryBytes, gpu } = this.#free;
    // Shares like 0.1 do not add up exactly; a thousandth of a core decides nothing.
    return needs.cpu <= cpu + 1e-3 && needs.memoryBytes <= memoryBytes && needs.gpu <= gpu + 1e-3;
  }

  #change(needs: Needs, sign: 1 | -1): void {
    if (needs.key === "") return;
    for (const pool of needs.pools) {
      const left = this.#pools.get(pool);
      if (left !== undefined) this.#pools.set(pool, left + sign);
    }
    this.#free.cpu += sign * needs.cpu;
    this.#free.memoryBytes += sign * needs.memoryBytes;
    this.#free.gpu += sign * needs.gpu;
  }
}
