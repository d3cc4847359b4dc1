// When a node counts as alive, late or lost. Pure: computed from times, never from timers, so that a
// master that slept or restarted judges the same as one that did not.

export type Liveness = "alive" | "late" | "lost";

export interface LivenessRule {
  heartbeatMs: number;
  /** Missed heartbeats after which a node is late. */
  lateAfter: number;
  /** Missed heartbeats after which a node is lost. */
  lostAfter: number;
}

/** `lastSeenAt` and `now` are Unix milliseconds; a clock that was set back counts as no time passed. */
export function livenessOf(lastSeenAt: number, now: number, rule: LivenessRule): Liveness {
  const missed = Math.floor(Math.max(0, now - lastSeenAt) / rule.heartbeatMs);
  if (missed >= rule.lostAfter) return "lost";
  if (missed >= rule.lateAfter) return "late";
  return "alive";
}
