// How the agent is, for health checks from outside: a small file that is rewritten with every
// heartbeat. `edgedag health` reads it.
import {
  closeSync,
  ftruncateSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import type { SandboxPool } from "../protocol/link.ts";

export interface Health {
  /** Unix milliseconds of the last sign of life. */
  time: number;
  pid: number;
  heartbeatMs: number;
  state: "starting" | "idle" | "running" | "draining";
  /** Pools of waiting sandboxes; absent while there are none. */
  sandboxes?: SandboxPool[] | undefined;
  /** What stops the agent from doing its work right now, for example a full disk. */
  problem?: string;
  /** What was lost and is past, for example in a damaged journal. */
  notice?: string;
}

export function healthPath(stateDir: string): string {
  return join(stateDir, "health.json");
}

/** Gives the reason when it cannot be written: the caller has to know, the run goes on. */
export function writeHealth(stateDir: string, health: Health): string | undefined {
  const path = healthPath(stateDir);
  const text = JSON.stringify(health);
  try {
    writeFileSync(`${path}.new`, text, { mode: 0o644 });
    renameSync(`${path}.new`, path);
    return undefined;
  } catch {
    return overwrite(path, text);
  }
}

/** On a full disk there is no room for a new file, but the block of the present one is there. */
function overwrite(path: string, text: string): string | undefined {
  try {
    const file = openSync(path, "r+");
    try {
      writeSync(file, text, 0);
      ftruncateSync(file, Buffer.byteLength(text));
    } finally {
      closeSync(file);
    }
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

export type HealthCheck = { healthy: true; health: Health } | { healthy: false; reason: string };

/** An agent that has missed three heartbeats is not healthy, whatever its file says. */
export function checkHealth(stateDir: string, now: number): HealthCheck {
  const path = healthPath(stateDir);
  const read = () => JSON.parse(readFileSync(path, "utf8")) as Health; // writeHealth alone writes
  let health: Health;
  try {
    try {
      health = read();
    } catch (error) {
      // It may have been read in the middle of being overwritten.
      if (!(error instanceof SyntaxError)) throw error;
      health = read();
    }
  } catch (error) {
    return { healthy: false, reason: `${path} cannot be read: ${String(error)}` };
  }
  const silentMs = now - health.time;
  if (silentMs > 3 * health.heartbeatMs + 1000) {
    return { healthy: false, reason: `no sign of life for ${Math.round(silentMs / 1000)} s` };
  }
  if (health.problem !== undefined) return { healthy: false, reason: health.problem };
  return { healthy: true, health };
}
