// `createExecutor`: the code-execution service as a library, in the caller's own process: the same
// queue, scheduler, sandboxes and limits, without HTTP, and with nothing kept beyond its end.
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { Agent } from "../agent/agent.ts";
import { hostMemoryBytes } from "../agent/capabilities.ts";
import { configTable } from "../agent/config.ts";
import type { Snippets as NodeSnippets } from "../agent/snippets.ts";
import { snippetNode } from "../cli/snippet-node.ts";
import { findRoot, versionOf } from "../cli/surroundings.ts";
import { usuallyDenied } from "../master/doors/command-policy.ts";
import { commandsQueue } from "../master/doors/languages.ts";
import { EmbeddedBroker } from "../master/snippets/broker/embedded.ts";
import { Snippets } from "../master/snippets/snippets.ts";
import { Statistics } from "../master/snippets/statistics.ts";
import { SqliteSnippets } from "../master/snippets/store/sqlite/sqlite-snippets.ts";
import { readEnv } from "../protocol/env-table.ts";
import { guardJson } from "../protocol/json-guard.ts";
import { sandboxLevels } from "../protocol/outcome.ts";
import { type ExecutorConfig, readSettings, type Settings } from "./config.ts";
import { errorOfDiagnostics } from "./diagnostics.ts";
import { ConfigurationError, SandboxError } from "./errors.js";
import { Executor } from "./executor.ts";

const day = 86_400_000;
/** So many ends beyond what is kept are forgotten together. */
const forgetAtOnce = 100;

/**
 * Starts an executor; `shutdown` (or `await using`) ends it. Rejects with ConfigurationError, or with
 * SandboxError where none of the levels holds on this machine. From then on JSON.parse of this thread
 * refuses texts of more than 2,000 levels (protocol/json-guard.ts says why).
 */
export async function createExecutor(config: ExecutorConfig = {}): Promise<Executor> {
  guardJson();
  const read = readSettings(config);
  if (!read.ok) throw errorOfDiagnostics(read.diagnostics, "Configuration");
  const settings = read.value;
  const folder = settings.folder ?? mkdtempSync(join(tmpdir(), "edgedag-executor-"));
  const say = (level: string, text: string) => settings.log?.(level, text);
  const agent = await startAgent(settings, folder, say);
  try {
    const opened = await agent.openSnippets({ isLinked: false });
    if (!opened.ok) throw errorOfDiagnostics(opened.diagnostics, "Sandbox");
    const node = opened.value;
    const levels = settings.isolation.filter((level) => node.abilities.levels.includes(level));
    if (levels.length === 0) {
      const asked = settings.isolation.join(", ");
      throw new SandboxError(
        "E_SANDBOX",
        `none of these levels holds on this machine: ${asked}`,
        "`edgedag doctor` says why, and what would help.",
      );
    }
    return await assemble({ settings, levels, agent, node, folder, say });
  } catch (error) {
    await agent.close({ flushMs: 0 });
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

interface Parts {
  settings: Settings;
  levels: Settings["isolation"];
  agent: Agent;
  node: NodeSnippets;
  folder: string;
  say(level: string, text: string): void;
}

async function assemble({ settings, levels, agent, node, folder, say }: Parts): Promise<Executor> {
  const { maxConcurrentTasks, resultCacheSize, queueSize, monitoring } = settings;
  const log = {
    debug: () => {},
    info: (_: object, text: string) => say("info", text),
    warn: (fields: object, text: string) => say("warn", `${text} ${JSON.stringify(fields)}`),
    error: (fields: object, text: string) => say("error", `${text} ${JSON.stringify(fields)}`),
  };
  const statistics = monitoring ? new Statistics(Date.now) : undefined;
  const store = await SqliteSnippets.open({ folder: ":memory:", durability: "process" });
  const recent = new RecentEnds(store, resultCacheSize);
  const snippets = await Snippets.start({
    store,
    broker: new EmbeddedBroker(store),
    languages: [commandsQueue],
    master: "executor",
    queueLimit: queueSize,
    callLimit: 0,
    callWaitMs: 0,
    agingMs: 30_000,
    retentionMs: 3650 * day,
    isShared: false,
    clock: Date.now,
    log,
    events: {
      accepted: () => statistics?.accepted(),
      finished: (snippet, _attempt, end) => {
        statistics?.finished(snippet, end);
        recent.add(end.finishedAt);
      },
    },
  });
  snippets.addNode(
    snippetNode(node, {
      id: hostname() || "local",
      slots: maxConcurrentTasks,
      cpus: availableParallelism(),
      memoryBytes: hostMemoryBytes(),
    }),
  );
  return new Executor({
    snippets,
    statistics,
    rules: {
      levels,
      timeoutMs: { fallback: settings.timeoutMs, most: 30 * day },
      memoryBytes: { fallback: settings.memoryBytes, most: 2 ** 40 },
      outputBytes: { fallback: settings.outputBytes, most: 64 * 2 ** 20 },
      cpuMs: settings.cpuMs,
      codePolicy: "off",
    },
    deniedCommands: [...usuallyDenied, ...settings.deniedCommands],
    close: async () => {
      await agent.close({ flushMs: 0 });
      await snippets.close();
      rmSync(folder, { recursive: true, force: true });
    },
  });
}

/** Keeps the last so many ends, and has the others forgotten. */
class RecentEnds {
  readonly #store: Pick<SqliteSnippets, "prune">;
  readonly #count: number;
  #endedAt: number[] = [];

  constructor(store: Pick<SqliteSnippets, "prune">, count: number) {
    this.#store = store;
    this.#count = count;
  }

  add(endedAt: number): void {
    this.#endedAt.push(endedAt);
    const tooMany = this.#endedAt.length - this.#count;
    if (tooMany < forgetAtOnce) return;
    this.#endedAt = this.#endedAt.slice(tooMany);
    // In memory: it cannot fail but by a bug, which the next call of the store shows too.
    this.#store.prune(this.#endedAt[0] ?? endedAt + 1, tooMany).catch(() => {});
  }
}

async function startAgent(
  settings: Settings,
  folder: string,
  say: (level: string, text: string) => void,
): Promise<Agent> {
  const table = configTable({
    hostname: "executor",
    cores: availableParallelism(),
    stateDir: join(folder, "state"),
    // Sockets are named below it, so it must be short.
    runtimeDir: tmpdir(),
  });
  const read = readEnv(table, { env: {}, readFile: () => ({ problem: "no file is read" }) });
  if (!read.config.ok) throw new ConfigurationError("E_INTERNAL", "the defaults are not valid", "");
  const lowest = sandboxLevels.find((level) => settings.isolation.includes(level)) ?? "gvisor";
  const root = findRoot();
  const started = await Agent.start({
    config: {
      ...read.config.value,
      slots: settings.maxConcurrentTasks,
      snippetSlots: settings.maxConcurrentTasks,
      levels: settings.isolation.filter((level) => level !== "none"),
      minIsolation: { ...read.config.value.minIsolation, snippet: lowest },
      poolSizes: { otherwise: settings.workerPoolSize, kinds: [] },
      poolRefillPerS: 1000,
    },
    root,
    version: versionOf(root),
    isOneOff: true,
    hostEnv: process.env,
    say: (level, text) => say(level, text),
  });
  if (!started.ok) throw errorOfDiagnostics(started.diagnostics, "Configuration");
  return started.value;
}
