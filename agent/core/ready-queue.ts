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

export const noNeeds: Needs = { key: "", pools: [], cpu: 0, memoryBytes: 0, gpu: 0 };

function isBefore(a: Rank, b: Rank): boolean {
  if (a.priority !== b.priority) return a.priority > b.priority;
  if (a.remaining !== b.remaining) return a.remaining > b.remaining;
  return a.instance < b.instance;
}

export class ReadyQueue {
  readonly #groups = new Map<string, { needs: Needs; heap: Heap<Rank> }>();
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

  /** Takes the best instance whose needs are free, and takes what it needs with it. */
  take(): Instance | undefined {
    if (this.#size === 0) return undefined;
    let best: { needs: Needs; heap: Heap<Rank> } | undefined;
    let bestRank: Rank | undefined;
    for (const group of this.#groups.values()) {
      const rank = group.heap.peek();
      if (rank === undefined || !this.#hasRoom(group.needs)) continue;
      if (bestRank === undefined || isBefore(rank, bestRank)) {
        best = group;
        bestRank = rank;
      }
    }
    if (best === undefined || bestRank === undefined) return undefined;
    best.heap.pop();
    if (best.heap.size === 0 && best.needs.key !== "") this.#groups.delete(best.needs.key);
    this.#size -= 1;
    this.#change(best.needs, -1);
    return bestRank.instance;
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

  /** Places left in a pool: for invariant checks. */
  placesLeft(pool: string): number | undefined {
    return this.#pools.get(pool);
  }

  #hasRoom(needs: Needs): boolean {
    if (needs.key === "") return true;
    for (const pool of needs.pools) if ((this.#pools.get(pool) ?? 0) <= 0) return false;
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
