// `edgedag serve`: the code-execution service in one process: a master with its doors, and a node
// with warm pools that runs what comes in. The node is also an agent of the master, so that DAGs can be submitted too.
import { randomBytes } from "node:crypto";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { Agent } from "../agent/agent.ts";
import { hostMemoryBytes } from "../agent/capabilities.ts";
import type { Config } from "../agent/config.ts";
import {
  type LanguageRegistry,
  loadLanguages,
} from "../agent/exec/isolation/languages/languages.ts";
import { openAgentLog } from "../agent/log/agent-log.ts";
import { keepMemoryPrivate } from "../agent/private-memory.ts";
import { isAtLeast } from "../master/doors/rules.ts";
import type { SnippetNode } from "../master/snippets/node.ts";
import type { Diagnostic } from "../protocol/diagnostic.ts";
import { exitCodes } from "../protocol/exit-codes.ts";
import type { SandboxLevel } from "../protocol/outcome.ts";
import { withExecutorManagerNames } from "./executor-manager-env.ts";
import type { Io } from "./io.ts";
import { ownLink, startFromEnv } from "./master.ts";
import { printDiagnostics, startExitCode } from "./print.ts";
import { snippetNode, warmTasks } from "./snippet-node.ts";
import { agentTable, findRoot, otherNames, readConfig, versionOf } from "./surroundings.ts";

export interface ServeOptions {
  env: Readonly<Record<string, string | undefined>>;
  /** One folder for the data of both, instead of EDGEDAG_DATA and EDGEDAG_STATE. */
  dir?: string;
}

export const servePort = 9385;
const defaultPoolSize = 5;
/** Boxes that were used up are replaced as fast as the machine makes them. */
const defaultRefillPerS = 1000;

export async function serve({ env: given, dir }: ServeOptions, io: Io): Promise<number> {
  const stop = Promise.withResolvers<string>();
  let signals = 0;
  const hurry = new AbortController();
  const onSignal = (signal: string) => {
    signals += 1;
    if (signals === 1) stop.resolve(signal);
    else hurry.abort();
  };
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
  const { env, diagnostics, givenAs } = withExecutorManagerNames(given);
  const read = readConfig(agentTable(), env, otherNames);
  const registry = loadLanguages(read.config.ok ? read.config.value.languages : "");
  const problems = [
    ...diagnostics,
    ...(read.config.ok ? [] : read.config.diagnostics),
    ...(registry.ok ? [] : registry.diagnostics),
  ];
  const started = await startFromEnv(env, io, {
    hasDoors: true,
    defaults: { port: servePort },
    override: dir === undefined ? {} : { dataDir: join(dir, "master") },
    diagnostics: problems,
    queues: registry.ok ? ownQueues(registry.value) : [],
    givenAs,
    // Where others come with keys or without, nobody may do everything.
    ownToken: randomBytes(32).toString("hex"),
    ...(read.config.ok ? { ownNode: read.config.value } : {}),
  });
  if (!started.ok || !read.config.ok) return started.ok ? exitCodes.config : started.code;
  const { master, localUrl, service } = started;
  const config = nodeConfig(read.config.value, env, {
    ...ownLink(localUrl),
    ...(dir === undefined ? {} : { stateDir: join(dir, "agent") }),
  });
  const node = await startNode({ config, preferred: service.levels, env }, io);
  if (typeof node === "number") {
    await master.close();
    return node;
  }
  master.snippets?.addNode(node.node);
  io.stdout.write(`edgedag: the service is up: ${master.url}\n`);
  const signal = await stop.promise;
  node.say(`${signal}: draining for at most ${config.drainMs} ms`);
  const drained = master.snippets?.drain(config.drainMs) ?? Promise.resolve();
  const hurried = new Promise((resolve) => hurry.signal.addEventListener("abort", resolve));
  await Promise.race([drained, hurried]);
  // What still runs is put back before its sandboxes are ended.
  master.snippets?.leave();
  await node.close(signals > 1 ? 0 : config.drainMs);
  await master.close();
  process.off("SIGTERM", onSignal);
  process.off("SIGINT", onSignal);
  return exitCodes.ok;
}

/** Languages of the operator's own files; those of the agent have queues by other names. */
function ownQueues(registry: LanguageRegistry): string[] {
  return registry
    .list()
    .map(({ name }) => name)
    .filter((name) => name !== "javascript");
}

function nodeConfig(read: Config, env: ServeOptions["env"], override: Partial<Config>): Config {
  const poolSizes =
    (env.EDGEDAG_POOL_SIZE ?? "") === ""
      ? { ...read.poolSizes, otherwise: defaultPoolSize }
      : read.poolSizes;
  const isRefillSaid = (env.EDGEDAG_POOL_REFILL ?? "") !== "";
  const slots = read.snippetSlots > 0 ? read.snippetSlots : Math.max(1, poolSizes.otherwise) * 2;
  return Object.freeze({
    ...read,
    poolSizes,
    poolRefillPerS: isRefillSaid ? read.poolRefillPerS : defaultRefillPerS,
    snippetSlots: slots,
    ...override,
  });
}

interface NodeOptions {
  config: Config;
  /** Levels for snippets, the best first. */
  preferred: readonly SandboxLevel[];
  env: ServeOptions["env"];
}

interface StartedNode {
  node: SnippetNode;
  say(text: string): void;
  close(flushMs: number): Promise<void>;
}

/** A number: the exit code, with everything said. */
async function startNode(
  { config, preferred, env }: NodeOptions,
  io: Io,
): Promise<StartedNode | number> {
  const root = findRoot();
  const opened = await openAgentLog({ stateDir: config.stateDir, level: config.logLevel, io });
  if (!opened.ok) {
    printDiagnostics(io, opened.diagnostics);
    return exitCodes.state;
  }
  const log = opened.value;
  keepMemoryPrivate();
  const started = await Agent.start({
    config,
    root,
    version: versionOf(root),
    hostEnv: env,
    say: log.say,
  });
  if (!started.ok) {
    printDiagnostics(io, started.diagnostics);
    await log.close();
    return startExitCode(started.diagnostics);
  }
  const agent = started.value;
  const close = async (flushMs: number): Promise<void> => {
    await agent.close({ flushMs });
    await log.close();
  };
  const snippets = await agent.openSnippets({ isLinked: false });
  if (!snippets.ok) {
    printDiagnostics(io, snippets.diagnostics);
    await close(0);
    return exitCodes.unavailable;
  }
  const { levels, runtimes } = snippets.value.abilities;
  const usable = preferred.filter(
    (level) => levels.includes(level) && isAtLeast(level, config.minIsolation.snippet),
  );
  if (usable.length === 0) {
    printDiagnostics(io, [noLevel(preferred, levels)]);
    await close(0);
    return exitCodes.unavailable;
  }
  log.say("info", `snippets run at ${levels.join(", ")}; languages: ${runtimes.join(", ")}`);
  snippets.value.warm(warmTasks(levels, preferred, config.poolSizes.otherwise));
  await agent.connect(await agent.capabilities());
  const node = snippetNode(snippets.value, {
    id: config.node,
    slots: config.snippetSlots,
    cpus: availableParallelism(),
    memoryBytes: hostMemoryBytes(),
  });
  return { node, say: (text) => log.say("info", text), close };
}

function noLevel(preferred: readonly SandboxLevel[], held: readonly SandboxLevel[]): Diagnostic {
  return {
    code: "E_SANDBOX",
    path: "EDGEDAG_SNIPPET_ISOLATION",
    message: `none of ${preferred.join(", ")} can be had for a snippet here; this machine holds ${held.join(", ")}`,
    remedy: "The log says what each level lacks; put it right, or name a level that is held.",
  };
}
