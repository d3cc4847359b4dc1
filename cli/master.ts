// `edgedag master`: the core services, configured by environment variables.
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import type { Master } from "../master/main.ts";
import type { Diagnostic, Result } from "../protocol/diagnostic.ts";
import { exitCodes } from "../protocol/exit-codes.ts";
import type { LogLevel } from "../protocol/log.ts";
import type { Io } from "./io.ts";
import { type MasterConfig, type MasterDefaults, masterTable } from "./master-config.ts";
import { printDiagnostics } from "./print.ts";
import type { ServiceConfig } from "./service-config.ts";
import { accessOptions, snippetOptions } from "./service-options.ts";
import { agentTable, findRoot, otherNames, readConfig } from "./surroundings.ts";

type Env = Readonly<Record<string, string | undefined>>;

export type StartedMaster =
  | { ok: true; master: Master; config: MasterConfig; service: ServiceConfig }
  | { ok: false; code: number };

export function masterDefaults(env: Env): MasterDefaults {
  const stateHome = env.XDG_STATE_HOME ?? join(homedir(), ".local", "state");
  const isRoot = process.getuid?.() === 0;
  return {
    dataDir: isRoot ? "/var/lib/edgedag-master" : join(stateHome, "edgedag", "master"),
    port: 8700,
  };
}

function withQueues(service: ServiceConfig, queues: readonly string[] = []): ServiceConfig {
  return { ...service, queues: [...service.queues, ...queues] };
}

function problemsOf(result: Result<unknown>): readonly Diagnostic[] {
  return result.ok ? [] : result.diagnostics;
}

export interface StartOptions {
  /** Values of a command line. */
  override?: Partial<MasterConfig>;
  /** Where nothing is said: `edgedag serve` has others. */
  defaults?: Partial<MasterDefaults>;
  /** Doors for snippets, whatever EDGEDAG_DOORS says. */
  hasDoors?: boolean;
  /** Languages that have a queue too. */
  queues?: readonly string[];
  /** What was found wrong before. */
  diagnostics?: readonly Diagnostic[];
  /** Names of variables to those that the operator has given in their place. */
  givenAs?: ReadonlyMap<string, string>;
  /** The token where the operator gives none, and yet not everybody may do everything. */
  ownToken?: string;
}

function namedAsGiven(
  problems: readonly Diagnostic[],
  givenAs: ReadonlyMap<string, string> = new Map(),
): Diagnostic[] {
  return problems.map((problem) => ({
    ...problem,
    path: givenAs.get(problem.path) ?? problem.path,
  }));
}

/** Prints all that is wrong. */
export async function startFromEnv(
  env: Env,
  io: Io,
  options: StartOptions = {},
): Promise<StartedMaster> {
  const { override = {}, defaults = {}, hasDoors = false, diagnostics = [] } = options;
  const known = [...Object.values(agentTable()).map((row) => row.name), ...otherNames];
  const read = readConfig(masterTable({ ...masterDefaults(env), ...defaults }), env, known);
  const { serviceTable } = await import("./service-config.ts");
  // Names that are unknown were told of by the first table.
  const service = readConfig(serviceTable, env, Object.keys(env)).config;
  for (const warning of read.warnings) io.stderr.write(`${warning}\n`);
  if (!read.config.ok || !service.ok || diagnostics.length > 0) {
    const problems = [...diagnostics, ...problemsOf(read.config), ...problemsOf(service)];
    printDiagnostics(io, namedAsGiven(problems, options.givenAs));
    return { ok: false, code: exitCodes.config };
  }
  const config = { ...read.config.value, ...override };
  const { apiKeys, isOpen } = service.value;
  if (config.token === "" && (apiKeys.length > 0 || isOpen === "yes")) {
    config.token = options.ownToken ?? "";
  }
  const { startMaster, MasterStartError } = await import("../master/main.ts");
  const { pino } = await import("../protocol/pino-logger.ts");
  const log = pino({ level: config.logLevel satisfies LogLevel }, pino.destination(2));
  try {
    const tls =
      config.tlsCert === ""
        ? {}
        : { tls: { cert: readFileSync(config.tlsCert), key: readFileSync(config.tlsKey) } };
    const doors = hasDoors || service.value.doors === "on";
    const snippets = doors
      ? {
          snippets: await snippetOptions(withQueues(service.value, options.queues), config, {
            root: findRoot(),
            env,
          }),
        }
      : {};
    const master = await startMaster({
      ...snippets,
      ...accessOptions(service.value, doors),
      listen: config.listen,
      dataDir: config.dataDir,
      ...(config.token === "" ? {} : { token: config.token }),
      ...tls,
      heartbeatMs: config.heartbeatMs,
      lateAfter: config.lateAfter,
      lostAfter: config.lostAfter,
      log,
    });
    return { ok: true, master, config, service: service.value };
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
