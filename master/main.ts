// Starts and ends the master: opens the storage, makes the services, serves HTTP and the link on one
// port. The only file that knows all services. Reads no environment; the caller gives options.
import { lookup } from "node:dns/promises";
import type { Server } from "node:http";
import { Server as TlsServer } from "node:https";
import { type AddressInfo, isIP } from "node:net";
import { FailedAttempts } from "./access/failed-attempts.ts";
import { type ApiKey, identityCheck } from "./access/identity.ts";
import { LinkAccess } from "./access/link-access.ts";
import { NodeKeys } from "./access/node-keys.ts";
import { type Rate, RateLimit } from "./access/rate-limit.ts";
import { enrollRoutes } from "./api/enroll-routes.ts";
import { metaRoutes } from "./api/meta-routes.ts";
import { nodeRoutes } from "./api/node-routes.ts";
import { resultRoutes } from "./api/result-routes.ts";
import { runRoutes } from "./api/run-routes.ts";
import { makeServer } from "./api/server.ts";
import { type Clock, type Logger, steadyMs } from "./clock.ts";
import { ClockJump } from "./clock-jump.ts";
import { Gateway } from "./gateway/gateway.ts";
import { Ingest } from "./link/ingest.ts";
import { LinkServer } from "./link/link-server.ts";
import { listenLocally } from "./link/local-socket.ts";
import type { LivenessRule } from "./nodes/liveness.ts";
import { Nodes } from "./nodes/nodes.ts";
import { Results } from "./results/results.ts";
import { Verifier } from "./results/verify.ts";
import { RunSignals } from "./runs/run-signals.ts";
import { Runs } from "./runs/runs.ts";
import type { SnippetService, SnippetServiceOptions } from "./snippet-service.ts";
import { LinkNodes } from "./snippets/link-nodes.ts";
import type { Snippets } from "./snippets/snippets.ts";
import { openDatabase } from "./storage/sqlite/database.ts";
import { SqliteIdentityStorage } from "./storage/sqlite/identity-storage.ts";
import { SqliteStorage } from "./storage/sqlite/sqlite-storage.ts";
import { answerPlain } from "./tls/plain-answer.ts";
import { contextOf, readTls, type TlsPaths, type TlsTexts, TlsWatch } from "./tls/tls-files.ts";

/** How long a node that runs snippets may be gone before they are given to another. */
const longestGraceMs = 10_000;

export interface MasterOptions {
  /** Port 0: any free one. */
  listen: { host: string; port: number };
  dataDir: string;
  /** Without it, only a loopback address is served. */
  token?: string;
  /** PEM texts. */
  tls?: TlsTexts;
  /** In place of `tls`: files, which may be replaced while the master runs. */
  tlsFiles?: TlsPaths;
  /** How often those files are looked at. */
  tlsCheckMs?: number;
  /** Nodes must show a certificate of `clientCa`, or a key of their own: the token is not enough. */
  needsNodeIdentity?: boolean;
  /** A socket of the master's own, for the node in this process, which needs neither TLS nor secret. */
  local?: { socketPath: string; node: string };
  /** How often agents are told to send heartbeats. */
  heartbeatMs?: number;
  /** Missed heartbeats after which a node is late. */
  lateAfter?: number;
  /** Missed heartbeats after which a node is lost. */
  lostAfter?: number;
  log: Logger;
  /** For tests; the system's clock otherwise. */
  clock?: Clock;
  /** For tests: a clock that cannot be set. */
  steady?: Clock;
  /** How long a connection may take to say hello. */
  helloTimeoutMs?: number;
  /** Who may send snippets, beside the holder of the token. */
  apiKeys?: readonly ApiKey[];
  /** Everybody may, without any key. */
  isOpen?: boolean;
  /** Of submissions. */
  rateLimit?: Rate;
  /** Of all calls of a key. */
  apiRate?: Rate;
  /** Wrong secrets of an address; undefined: 30 a minute; null: no limit. */
  failureRate?: Rate | null;
  hasAccessLog?: boolean;
  /** How long a reader of the API may take nothing before it is given up. */
  stallMs?: number;
  /** Makes it a code-execution service too. */
  snippets?: SnippetServiceOptions;
}

export interface Master {
  /** `http://host:port` or `https://host:port`; the link is at `ws(s)://host:port/link`. */
  url: string;
  /** Of a code-execution service. */
  snippets?: Snippets;
  /** Judges now who is late or lost; it also happens twice a heartbeat. */
  check(): Promise<void>;
  /** Stores what is on its way, acknowledges it, and ends. */
  close(): Promise<void>;
}

export type MasterStartCode =
  | "E_MASTER_AUTH"
  | "E_MASTER_STORAGE"
  | "E_MASTER_LISTEN"
  | "E_MASTER_TLS";

/** Why a master cannot start: all are the configuration's or the machine's (exit code 78). */
export class MasterStartError extends Error {
  readonly code: MasterStartCode;
  readonly remedy: string;

  constructor(code: MasterStartCode, message: string, remedy: string) {
    super(message);
    this.name = "MasterStartError";
    this.code = code;
    this.remedy = remedy;
  }
}

const defaultFailureRate: Rate = { count: 30, perMs: 60_000 };
const defaultTlsCheckMs = 5_000;

/** Rejects with `MasterStartError` for everything that the operator can put right. */
export async function startMaster(options: MasterOptions): Promise<Master> {
  const { listen, token, log } = options;
  const clock = options.clock ?? Date.now;
  const rule: LivenessRule = {
    heartbeatMs: options.heartbeatMs ?? 10_000,
    lateAfter: options.lateAfter ?? 2,
    lostAfter: options.lostAfter ?? 5,
  };
  const { apiKeys = [], isOpen = false } = options;
  const hasSecret = token !== undefined || apiKeys.length > 0;
  const isLocal = await isLoopback(listen.host);
  if (!hasSecret && !isOpen && !isLocal) {
    throw new MasterStartError(
      "E_MASTER_AUTH",
      `a master without a token must not listen on ${listen.host}`,
      options.snippets === undefined
        ? "Set EDGEDAG_TOKEN (or EDGEDAG_TOKEN_FILE), or listen on 127.0.0.1."
        : "Set EDGEDAG_TOKEN or EDGEDAG_API_KEYS (or a _FILE of them), say EDGEDAG_OPEN=yes to let everybody send snippets, or listen on 127.0.0.1.",
    );
  }
  const tls = tlsOf(options);
  const opened = openDatabase(options.dataDir);
  if (!opened.ok) throw new MasterStartError(opened.code, opened.message, opened.remedy);
  const storage = new SqliteStorage(opened.database);

  const signals = new RunSignals();
  const nodes = await Nodes.load(storage, rule, clock, log);
  const gateway = new Gateway({ storage, nodes, signals, clock, log });
  const runs = new Runs(storage, nodes, gateway);
  const results = new Results(storage);
  const verifier = new Verifier(storage, log);
  const ingest = new Ingest(storage, log);
  const failureRate = options.failureRate === undefined ? defaultFailureRate : options.failureRate;
  const failures = failureRate === null ? undefined : new FailedAttempts(failureRate);
  const keys = await NodeKeys.load(new SqliteIdentityStorage(opened.database), clock);
  const access = new LinkAccess({
    keys,
    clock,
    // Without a token agents connect from this machine only, whoever else may send snippets.
    isOpen: token === undefined && isLocal,
    needsIdentity: options.needsNodeIdentity ?? false,
    needsCertificate: tls?.clientCa !== undefined,
    ...(token === undefined ? {} : { token }),
    ...(failures === undefined ? {} : { failures }),
    ...(options.local === undefined ? {} : { localNode: options.local.node }),
  });
  let service: SnippetService | undefined;
  if (options.snippets !== undefined) {
    try {
      const { startSnippetService } = await import("./snippet-service.ts");
      service = await startSnippetService(options.snippets, {
        dataDir: options.dataDir,
        clock,
        log,
      });
    } catch (error) {
      await storage.close();
      throw serviceErrorOf(error);
    }
  }
  const snippetNodes =
    service === undefined
      ? undefined
      : new LinkNodes(service.snippets, {
          graceMs: Math.min(longestGraceMs, rule.heartbeatMs * rule.lostAfter),
          log,
        });
  const link = new LinkServer({
    rule,
    nodes,
    gateway,
    ingest,
    clock,
    log,
    access,
    ...(snippetNodes === undefined ? {} : { snippetNodes }),
    ...(options.helloTimeoutMs === undefined ? {} : { helloTimeoutMs: options.helloTimeoutMs }),
    stored: (node, result) => {
      signals.notify(result.runs);
      if (result.finishedRuns.length > 0) gateway.place();
      if (result.wholeObject) verifier.start();
      if (result.lost > 0) {
        nodes
          .lost(node, result.lost)
          .catch((error: unknown) => log.error({ error: String(error) }, "noting an event failed"));
      }
      for (const run of result.foreignRuns) {
        nodes
          .note(node, "foreign-run", `records of run ${run}, which another node has, were dropped`)
          .catch((error: unknown) => log.error({ error: String(error) }, "noting an event failed"));
      }
    },
  });

  const listening = await serve();
  verifier.start();
  const clockJump = new ClockJump(clock, options.steady ?? options.clock ?? steadyMs);
  const check = async (): Promise<void> => {
    const jumpMs = clockJump.look();
    if (jumpMs !== 0) {
      log.warn({ jumpMs }, "this machine's clock was set; nodes are not taken for silent by it");
      nodes.shiftTimes(jumpMs);
      link.shiftTimes(jumpMs);
    }
    await nodes.check();
    link.check();
  };
  const timer = setInterval(() => {
    check().catch((error: unknown) => log.error({ error: String(error) }, "checking nodes failed"));
  }, rule.heartbeatMs / 2);
  log.info({ url: listening.url }, `master listens on ${listening.url}`);

  return {
    url: listening.url,
    ...(service === undefined ? {} : { snippets: service.snippets }),
    check,
    close: async () => {
      clearInterval(timer);
      service?.snippets.leave();
      await link.close();
      snippetNodes?.close();
      await service?.close();
      await listening.close();
      await gateway.settled();
      await verifier.close();
      await nodes.check();
      await storage.close();
      log.info({}, "master has ended");
    },
  };

  async function serve(): Promise<{ url: string; close(): Promise<void> }> {
    const closers: (() => Promise<void> | void)[] = [];
    const close = async (): Promise<void> => {
      for (const closeOne of closers.reverse()) await closeOne();
    };
    try {
      const app = makeServer({
        routes: [
          ...nodeRoutes({ storage, nodes, gateway, keys }),
          ...enrollRoutes({ nodes, keys, link }),
          ...runRoutes({ storage, gateway, runs, signals }),
          ...resultRoutes(storage, runs, results),
          ...(service?.routes ?? []),
          ...metaRoutes({ storage, nodes, link, service }),
        ],
        log,
        clock,
        identify: identityCheck({ apiKeys, isOpen, ...(token === undefined ? {} : { token }) }),
        isLocalOnly: !hasSecret && !isOpen,
        hasAccessLog: options.hasAccessLog ?? false,
        ...(options.stallMs === undefined ? {} : { stallMs: options.stallMs }),
        onLimited: () => service?.metrics.refused("rate"),
        ...(options.rateLimit === undefined ? {} : { rateLimit: new RateLimit(options.rateLimit) }),
        ...(options.apiRate === undefined ? {} : { calls: new RateLimit(options.apiRate) }),
        ...(failures === undefined ? {} : { failures }),
        ...(tls === undefined ? {} : { tls }),
      });
      closers.push(() => app.close());
      link.attach(app.server);
      if (app.server instanceof TlsServer) closers.push(keepTls(app.server));
      const local = await openLocal();
      if (local !== undefined) closers.push(local);
      await app.listen({ host: listen.host, port: listen.port });
      const scheme = tls === undefined ? "http" : "https";
      return { url: `${scheme}://${addressOf(app.server)}`, close };
    } catch (error) {
      await close();
      await service?.close();
      await storage.close();
      throw startErrorOf(error, options);
    }
  }

  /** Files that are replaced are used from the next connection on; what is connected stays. */
  function keepTls(server: TlsServer): () => void {
    const hangUp = answerPlain(server);
    if (options.tlsFiles === undefined || tls === undefined) return hangUp;
    const watch = new TlsWatch(options.tlsFiles, tls, options.tlsCheckMs ?? defaultTlsCheckMs, {
      changed: (texts) => {
        server.setSecureContext(contextOf(texts));
        log.info({}, "the certificate files have changed and are in use");
      },
      failed: (message) =>
        log.error(
          { error: message },
          "the changed certificate files cannot be used; the ones before stay",
        ),
    });
    return () => {
      watch.close();
      hangUp();
    };
  }

  async function openLocal(): Promise<(() => Promise<void>) | undefined> {
    if (options.local === undefined) return undefined;
    const server = await listenLocally(options.local.socketPath);
    link.attach(server, { isLocal: true });
    return async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    };
  }
}

function serviceErrorOf(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const remedy = "remedy" in error ? String(error.remedy) : undefined;
  if (remedy === undefined) return error;
  return new MasterStartError("E_MASTER_STORAGE", error.message, remedy);
}

/** Of a name, what it stands for is looked at: `localhost` can be made to mean anything. */
async function isLoopback(host: string): Promise<boolean> {
  if (isIP(host) !== 0) return isLoopbackAddress(host);
  if (host !== "localhost" && !host.endsWith(".localhost")) return false;
  try {
    const found = await lookup(host, { all: true });
    return found.length > 0 && found.every(({ address }) => isLoopbackAddress(address));
  } catch {
    // Nobody can listen on it either; that is told when it is tried.
    return true;
  }
}

function isLoopbackAddress(address: string): boolean {
  return address === "::1" || (isIP(address) === 4 && address.startsWith("127."));
}

function tlsOf({ tls, tlsFiles }: MasterOptions): TlsTexts | undefined {
  if (tlsFiles === undefined) return tls;
  const read = readTls(tlsFiles);
  if (read.ok) return read.texts;
  throw tlsError(read.message);
}

function tlsError(message: string): MasterStartError {
  return new MasterStartError(
    "E_MASTER_TLS",
    `the certificate or its key cannot be used: ${message}`,
    "Give a certificate and the key that belongs to it in EDGEDAG_TLS_CERT and EDGEDAG_TLS_KEY, both as PEM files that can be read.",
  );
}

function addressOf(server: Server): string {
  // A TCP server that listens has an address with a port, never a string.
  const { address, family, port } = server.address() as AddressInfo;
  return family === "IPv6" ? `[${address}]:${port}` : `${address}:${port}`;
}

function startErrorOf(error: unknown, { listen, tls }: MasterOptions): unknown {
  if (!(error instanceof Error)) return error;
  const code = "code" in error ? String(error.code) : "";
  const where = `${listen.host}:${listen.port}`;
  if (tls !== undefined && (code.startsWith("ERR_OSSL") || code.startsWith("ERR_TLS"))) {
    return tlsError(error.message);
  }
  if (
    code === "EADDRINUSE" ||
    code === "EACCES" ||
    code === "EPERM" ||
    code === "EADDRNOTAVAIL" ||
    code === "ENOTFOUND"
  ) {
    return new MasterStartError(
      "E_MASTER_LISTEN",
      `cannot listen on ${where}: ${error.message}`,
      "Choose another address or port, or end the program that has it.",
    );
  }
  return error;
}
