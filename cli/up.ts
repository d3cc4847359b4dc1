// `edgedag up`: master and one agent on this machine, each what it would be alone.
import { join } from "node:path";
import { exitCodes } from "../protocol/exit-codes.ts";
import { agent } from "./agent.ts";
import type { Io } from "./io.ts";
import { ownLink, startFromEnv } from "./master.ts";
import { agentTable, otherNames, readConfig } from "./surroundings.ts";

export interface UpOptions {
  env: Readonly<Record<string, string | undefined>>;
  /** One folder for both, instead of EDGEDAG_DATA and EDGEDAG_STATE. */
  dir?: string;
}

export async function up({ env, dir }: UpOptions, io: Io): Promise<number> {
  const stop = new AbortController();
  const onSignal = () => stop.abort();
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
  const override = dir === undefined ? {} : { dataDir: join(dir, "master") };
  // What is wrong with it is told by the agent.
  const { config } = readConfig(agentTable(), env, otherNames);
  const started = await startFromEnv(env, io, {
    override,
    ...(config.ok ? { ownNode: config.value } : {}),
  });
  if (!started.ok) return started.code;
  const { master, localUrl } = started;
  io.stdout.write(`edgedag: master and agent are up: ${master.url}\n`);
  const code = await agent(
    {
      env,
      override: {
        ...ownLink(localUrl),
        ...(dir === undefined ? {} : { stateDir: join(dir, "agent") }),
      },
      signal: stop.signal,
    },
    io,
  );
  await master.close();
  process.off("SIGTERM", onSignal);
  process.off("SIGINT", onSignal);
  return code === exitCodes.unfinished ? exitCodes.ok : code;
}
