// `edgedag health`: for health checks of containers and of systemd.
import { checkHealth } from "../agent/health.ts";
import { exitCodes } from "../protocol/exit-codes.ts";
import type { Io } from "./io.ts";
import { agentTable } from "./surroundings.ts";

export interface HealthOptions {
  state?: string;
  env: Readonly<Record<string, string | undefined>>;
}

export function health({ state, env }: HealthOptions, io: Io): number {
  const folder = state ?? env.EDGEDAG_STATE ?? agentTable().stateDir.fallback;
  const check = checkHealth(folder, Date.now());
  if (check.healthy) {
    io.stdout.write(`the agent is ${check.health.state}\n`);
    const { notice } = check.health;
    if (notice !== undefined) io.stdout.write(`since its start: ${notice}\n`);
    return exitCodes.ok;
  }
  io.stderr.write(`edgedag: the agent is not well: ${check.reason}\n`);
  return exitCodes.unavailable;
}
