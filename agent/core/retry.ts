// Whether a failed attempt is followed by another one, and after which delay.
import type { RetryPolicy } from "../../protocol/dag.ts";
import { type Failure, faultOf } from "../../protocol/outcome.ts";
import type { Instance } from "./events.ts";

/**
 * What a failure counts against: `own` the policy's `limit` (the task or a limit is at fault, or
 * the policy names the reason), `lost` the policy's `lost` (platform or agent), `none` never
 * retried.
 */
export type RetryClass = "own" | "lost" | "none";

export function retryClass(policy: RetryPolicy, failure: Failure): RetryClass {
  const fault = faultOf[failure.reason];
  const isNamed = policy.on?.includes(fault) || policy.on?.includes(failure.reason);
  if (isNamed) return "own";
  if (fault === "platform" || fault === "agent") return "lost";
  return policy.on === undefined ? "own" : "none";
}

/**
 * The delay before attempt `n + 1` after the n-th failure of a class, in milliseconds:
 * `backoff * factor^(n-1)`, capped, of which the share `jitter` is random ("equal jitter" when it
 * is 0.5; AWS Architecture Blog, "Exponential Backoff And Jitter").
 */
export function retryDelay(policy: RetryPolicy, n: number, random: number): number {
  if (policy.backoffMs === 0) return 0; // 0 * Infinity, after enough attempts, would be NaN
  const full = Math.min(policy.backoffMs * policy.factor ** (n - 1), policy.maxBackoffMs);
  return Math.round(full * (1 - policy.jitter) + full * policy.jitter * random);
}

export interface Tries {
  own: number;
  lost: number;
}

/** Counts failures; instances that never failed cost nothing. */
export class Retries {
  readonly #tries = new Map<Instance, Tries>();

  /** The delay before the next attempt in milliseconds; `undefined`: there is none. */
  delayAfter({ instance, policy, failure, random }: FailedAttempt): number | undefined {
    const kind = retryClass(policy, failure);
    if (kind === "none") return undefined;
    const tries = this.#tries.get(instance) ?? { own: 0, lost: 0 };
    tries[kind] += 1;
    this.#tries.set(instance, tries);
    if (tries[kind] > (kind === "own" ? policy.limit : policy.lost)) return undefined;
    return retryDelay(policy, tries[kind], random);
  }

  all(): ReadonlyMap<Instance, Readonly<Tries>> {
    return this.#tries;
  }
}

export interface FailedAttempt {
  instance: Instance;
  policy: RetryPolicy;
  failure: Failure;
  /** In [0, 1). */
  random: number;
}
