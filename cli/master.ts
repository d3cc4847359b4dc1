// `edgedag master`: the core services, configured by environment variables.
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import type { Master } from "../master/main.ts";
import { exitCodes } from "../protocol/exit-codes.ts";
import type { LogLevel } from "../protocol/log.ts";
import type { Io } from "./io.ts";
import { type MasterConfig, masterTable } from "./master-config.ts";
import { printDiagnostics } from "./print.ts";
import { agentTable, otherNames, readConfig } from "./surroundings.ts";

type Env = Readonly<Record<string, string | undefined>>;

export type StartedMaster =
  | { ok: true; master: Master; config: MasterConfig }
  | { ok: false; code: number };

export function masterDefaults(env: Env): { dataDir: string } {
  const stateHome = env.XDG_STATE_HOME ?? join(homedir(), ".local", "state");
  const isRoot = process.getuid?.() === 0;
  return { dataDir: isRoot ? "/var/lib/edgedag-master" : join(stateHome, "edgedag", "master") };
}

/** Prints what is wrong; `override` comes from a command line. */
export async function startFromEnv(
  env: Env,
  io: Io,
  override: Partial<MasterConfig> = {},
): Promise<StartedMaster> {
  const known = [...Object.values(agentTable()).map((row) => row.name), ...otherNames];
  const read = readConfig(masterTable(masterDefaults(env)), env, known);
  for (const warning of read.warnings) io.stderr.write(`${warning}\n`);
  if (!read.config.ok) {
    printDiagnostics(io, read.config.diagnostics);
    return { ok: false, code: exitCodes.config };
  }
  const config = { ...read.config.value, ...override };
  const { startMaster, MasterStartError } = await import("../master/main.ts");
  const { pino } = await import("../protocol/pino-logger.ts");
  const log = pino({ level: config.logLevel satisfies LogLevel }, pino.destination(2));
  try {
    const tls =
      config.tlsCert === ""
        ? {}
        : { tls: { cert: readFileSync(config.tlsCert), key: readFileSync(config.tlsKey) } };
    const master = await startMaster({
      listen: config.listen,
      dataDir: config.dataDir,
      ...(config.token === "" ? {} : { token: config.token }),
      ...tls,
      heartbeatMs: config.heartbeatMs,
      lateAfter: config.lateAfter,
      lostAfter: config.lostAfter,
      log,
    });
    return { ok: true, master, config };
  } catch (error) {
    if (error instanceof MasterStartError) {
      printDiagnostics(io, [
        { code: error.code, path: "", message: error.message, remedy: error.remedy },
      ]);
      return { ok: false, code: exitCodes.config };
    }
    if (error instanceof Error && "code" in error && "path" in error) {
      const remedy = "Name files that can be read in EDGEDAG_TLS_CERT and EDGEDAG_TLS_KEY.";
      const diagnostic = { code: "E_MASTER_TLS", path: "", message: error.message, remedy };
      printDiagnostics(io, [diagnostic]);
      return { ok: false, code: exitCodes.config };
    }
    throw error;
  }
}

export async function master(env: Env, io: Io): Promise<number> {
  const stop = Promise.withResolvers<void>();
  const onSignal = () => stop.resolve();
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
  const started = await startFromEnv(env, io);
  if (!started.ok) return started.code;
  await stop.promise;
  await started.master.close();
  return exitCodes.ok;
}
