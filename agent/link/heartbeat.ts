// Makes heartbeats. The thread sends them on its own clock; what the main thread last said about its
// runs may be older, and `loopLagMs` then tells how much.
import { loadavg } from "node:os";
import type { AgentToMaster, NodeState, SandboxPool } from "../../protocol/link.ts";
import type { SharedClock } from "./shared-clock.ts";

/** What only the main thread knows. */
export interface LinkStatus {
  state: NodeState;
  runs: { [run: string]: { done: number; total: number; running: number } };
  sandboxes?: SandboxPool[];
}

/** How often the main thread's timer says that its loop turns; a lag below it is none. */
export const turnEveryMs = 250;

export function makeHeartbeat(
  status: LinkStatus,
  clock: SharedClock,
): Extract<AgentToMaster, { type: "heartbeat" }> {
  const lag = clock.sinceTurnMs() - turnEveryMs;
  return {
    type: "heartbeat",
    state: status.state,
    runs: status.runs,
    ...(status.sandboxes === undefined ? {} : { sandboxes: status.sandboxes }),
    load: Math.round((loadavg()[0] ?? 0) * 100) / 100,
    rssBytes: process.memoryUsage.rss(),
    outbox: clock.outboxDepth,
    // Timers are late by some milliseconds on any loop.
    loopLagMs: lag > turnEveryMs ? lag : 0,
    sentBytes: clock.sentBytes,
  };
}
