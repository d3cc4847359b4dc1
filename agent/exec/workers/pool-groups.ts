// Warm workers of their own for calls that share something which no other call may find in a process,
// such as the same secrets. A group has a pool a runtime, made with its first call; it is closed as a
// whole, and its workers are never given to others.
import type { WorkerPool } from "./worker-pool.ts";

export type Runtime = "python" | "node";

export class PoolGroups {
  readonly #make: (runtime: Runtime) => WorkerPool;
  readonly #pools = new Map<string, WorkerPool>();

  constructor(make: (runtime: Runtime) => WorkerPool) {
    this.#make = make;
  }

  pool(group: string, runtime: Runtime): WorkerPool {
    const key = `${runtime}\n${group}`;
    let pool = this.#pools.get(key);
    if (pool === undefined) {
      pool = this.#make(runtime);
      this.#pools.set(key, pool);
    }
    return pool;
  }

  flush(): void {
    for (const pool of this.#pools.values()) pool.flush();
  }

  /** Ends the workers of all groups; resolves when they are gone. */
  async close(): Promise<void> {
    const pools = [...this.#pools.values()];
    this.#pools.clear();
    await Promise.all(pools.map((pool) => pool.close()));
  }
}
