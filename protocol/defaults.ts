// The values that a task has when its document does not say otherwise.
import type { RetryPolicy, TaskAttributes } from "./dag.ts";

export const retryDefaults = {
  limit: 0,
  lost: 3,
  backoffMs: 1000,
  factor: 2,
  maxBackoffMs: 300_000,
  jitter: 0.2,
} as const satisfies RetryPolicy;

export const taskDefaults = {
  graceMs: 5000,
  priority: 0,
  isolation: "none",
} as const satisfies Partial<TaskAttributes>;
