// `edgedag up`: master and one agent on this machine, each what it would be alone.
import { join } from "node:path";
import { exitCodes } from "../protocol/exit-codes.ts";
import { agent } from "./agent.ts";
import type { Io } from "./io.ts";
import { startFromEnv } from "./master.ts";

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
  const started = await startFromEnv(env, io, { override });
  if (!started.ok) return started.code;
  const { master, config } = started;
  io.stdout.write(`edgedag: master and agent are up: ${master.url}\n`);
  const code = await agent(
    {
      env,
      override: {
        master: master.url,
        token: config.token,
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
