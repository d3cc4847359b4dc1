// The refusals of the link with their WebSocket close codes and remedies. The table is repeated in
// PROTOCOL.md for people; a refusal is always a message first and a close code second.
import type { MasterToAgent, RefusalCode } from "../../protocol/link.ts";

export const closeCodes = {
  unauthorized: 4001,
  version: 4002,
  twin: 4003,
  "bad-message": 4004,
  "too-large": 4005,
  gap: 4006,
} as const satisfies Record<RefusalCode, number>;

/** Closings that are no refusal: the agent connects again in its usual rhythm. */
export const closeReplaced = 4007;
export const closeSilent = 4008;
export const closeGoingAway = 1001;
export const closeInternal = 1011;

const remedies = {
  unauthorized: "Give the agent the master's token (EDGEDAG_TOKEN or EDGEDAG_TOKEN_FILE).",
  version: "Run agent and master of releases that speak the same version of the link.",
  twin: "Give every machine its own EDGEDAG_NODE; another agent with this one is connected and alive.",
  "bad-message": "Run agent and master of the same release; report this if they are.",
  "too-large": "Send records in smaller frames: 16 MiB is the limit.",
  gap: "Send the records from the number after the acknowledged one; say hello again if they no longer exist.",
} as const satisfies Record<RefusalCode, string>;

export function refusal(
  code: RefusalCode,
  detail: string,
  remedy: string = remedies[code],
): MasterToAgent & { type: "refused" } {
  return { type: "refused", code, detail, remedy };
}
