// Makes heartbeats. The thread sends them on its own clock, and asks the main thread shortly before
// what it is to say of its runs; what is said may be older, and `loopLagMs` then tells how much.
import { loadavg } from "node:os";
import type { AgentToMaster, NodeState, SandboxPool } from "../../protocol/link.ts";
import type { SharedClock } from "./shared-clock.ts";

/** What only the main thread knows. */
export interface LinkStatus {
  state: NodeState;
  runs: { [run: string]: { done: number; total: number; running: number } };
  sandboxes?: SandboxPool[];
}

/** A main thread that answers within this time is not late. */
export const answerMs = 500;

/** `unansweredMs`: for how long the main thread has not answered, and not turned either. */
export function makeHeartbeat(
  status: LinkStatus,
  clock: SharedClock,
  unansweredMs: number,
): Extract<AgentToMaster, { type: "heartbeat" }> {
  return {
    type: "heartbeat",
    state: status.state,
    runs: status.runs,
    ...(status.sandboxes === undefined ? {} : { sandboxes: status.sandboxes }),
    load: Math.round((loadavg()[0] ?? 0) * 100) / 100,
    rssBytes: process.memoryUsage.rss(),
    outbox: clock.outboxDepth,
    loopLagMs: unansweredMs,
    sentBytes: clock.sentBytes,
  };
}
