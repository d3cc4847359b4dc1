// Which GPUs of the node the attempts that run hold. The scheduler counts how many are free; this
// says which, so that no two tasks are told the same one unless both asked for a share of it.

import { readdirSync } from "node:fs";

/** Ids of the GPUs that the host shows. */
export function findGpus(): string[] {
  return readdirSync("/dev")
    .flatMap((name) => /^nvidia(\d+)$/.exec(name)?.[1] ?? [])
    .sort((a, b) => Number(a) - Number(b));
}

export interface GpuShare {
  /** For CUDA_VISIBLE_DEVICES: ids with commas, empty for none. */
  readonly visible: string;
  release(): void;
}

/** Shares are sums of fractions such as 0.1. */
const tolerance = 1e-9;

export class Gpus {
  readonly #free: { id: string; share: number }[];

  constructor(ids: readonly string[]) {
    this.#free = ids.map((id) => ({ id, share: 1 }));
  }

  get count(): number {
    return this.#free.length;
  }

  /**
   * `amount` GPUs: whole ones are exclusive, a fraction shares the fullest one that has room for
   * it. `undefined`: there is no such room, although the sum may suffice.
   */
  take(amount: number): GpuShare | undefined {
    const whole = Math.floor(amount + tolerance);
    const rest = amount - whole;
    const taken = this.#free.filter(({ share }) => share > 1 - tolerance).slice(0, whole);
    if (taken.length < whole) return undefined;
    const shared =
      rest < tolerance
        ? undefined
        : this.#free
            .filter((gpu) => !taken.includes(gpu) && gpu.share > rest - tolerance)
            .sort((a, b) => a.share - b.share)[0];
    if (rest >= tolerance && shared === undefined) return undefined;
    for (const gpu of taken) gpu.share -= 1;
    if (shared !== undefined) shared.share -= rest;
    let isHeld = true;
    return {
      visible: [...taken, ...(shared === undefined ? [] : [shared])].map(({ id }) => id).join(","),
      release: () => {
        if (!isHeld) return;
        isHeld = false;
        for (const gpu of taken) gpu.share += 1;
        if (shared !== undefined) shared.share += rest;
      },
    };
  }
}
