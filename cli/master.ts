// `edgedag master`: the core services, configured by environment variables.
import { createHash } from "node:crypto";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import type { Config } from "../agent/config.ts";
import type { Master } from "../master/main.ts";
import type { TlsPaths } from "../master/tls/tls-files.ts";
import type { Diagnostic, Result } from "../protocol/diagnostic.ts";
import type { EnvRow } from "../protocol/env-table.ts";
import { exitCodes } from "../protocol/exit-codes.ts";
import type { LogLevel } from "../protocol/log.ts";
import type { Io } from "./io.ts";
import { type MasterConfig, type MasterDefaults, masterTable } from "./master-config.ts";
import { printDiagnostics } from "./print.ts";
import type { ServiceConfig } from "./service-config.ts";
import { accessOptions, snippetOptions } from "./service-options.ts";
import { agentTable, findRoot, otherNames, readConfig } from "./surroundings.ts";

/** Sockets allow 107 bytes. */
const longestSocketPath = 100;

type Env = Readonly<Record<string, string | undefined>>;

export type StartedMaster =
  | {
      ok: true;
      master: Master;
      config: MasterConfig;
      service: ServiceConfig;
      /** Where the node of this process connects. */
      localUrl: string;
    }
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
  /** A node in this process: it connects by the master's own socket, whatever TLS and tokens others need. */
  ownNode?: { node: string; runtimeDir: string };
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
  const agentNames = Object.values<EnvRow<unknown>>(agentTable()).flatMap(({ name, secret }) =>
    secret ? [name, `${name}_FILE`] : [name],
  );
  const known = [...agentNames, ...otherNames];
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
  const local =
    options.ownNode === undefined ? undefined : ownSocket(options.ownNode, config.dataDir);
  const doors = hasDoors || service.value.doors === "on";
  const snippets = doors
    ? await snippetOptions(withQueues(service.value, options.queues), config, {
        root: findRoot(),
        env,
      })
    : undefined;
  try {
    const master = await startMaster({
      ...(snippets === undefined ? {} : { snippets }),
      ...accessOptions(service.value, doors),
      listen: config.listen,
      dataDir: config.dataDir,
      ...(config.token === "" ? {} : { token: config.token }),
      ...tlsOptions(config),
      ...(local === undefined ? {} : { local }),
      needsNodeIdentity: config.nodeAuth === "identity",
      failureRate: config.authLimit ?? null,
      ...(config.apiRate === undefined ? {} : { apiRate: config.apiRate }),
      heartbeatMs: config.heartbeatMs,
      lateAfter: config.lateAfter,
      lostAfter: config.lostAfter,
      log,
    });
    const localUrl = local === undefined ? master.url : `ws+unix:${local.socketPath}:/link`;
    return { ok: true, master, config, service: service.value, localUrl };
  } catch (error) {
    // Its processes would keep this one alive.
    await snippets?.policy?.close();
    if (error instanceof MasterStartError) {
      printDiagnostics(io, [
        { code: error.code, path: "", message: error.message, remedy: error.remedy },
      ]);
      return { ok: false, code: exitCodes.config };
    }
    throw error;
  }
}

/** In the data folder, which one master holds; where its path is too long for a socket, beside others. */
function ownSocket({ node, runtimeDir }: { node: string; runtimeDir: string }, dataDir: string) {
  const path = join(resolve(dataDir), "link.sock");
  if (Buffer.byteLength(path) <= longestSocketPath) return { node, socketPath: path };
  const tag = createHash("sha256").update(path).digest("hex").slice(0, 16);
  return { node, socketPath: join(resolve(runtimeDir), `edgedag-link-${tag}.sock`) };
}

/** What the node of this process connects with: no secret and no TLS, whatever others need. */
export function ownLink(localUrl: string): Partial<Config> {
  return { master: localUrl, token: "", masterCa: "", nodeCert: "", nodeKey: "", enrollToken: "" };
}

function tlsOptions({ tlsCert, tlsKey, tlsClientCa }: MasterConfig): { tlsFiles?: TlsPaths } {
  if (tlsCert === "" && tlsKey === "" && tlsClientCa === "") return {};
  return {
    tlsFiles: {
      cert: tlsCert,
      key: tlsKey,
      ...(tlsClientCa === "" ? {} : { clientCa: tlsClientCa }),
    },
  };
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
