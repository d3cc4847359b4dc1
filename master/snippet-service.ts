// Puts the code-execution service together: where snippets are kept, what carries their queues, who
// looks at code, and the doors. Started and ended by `main.ts`; reads no environment.
import { randomUUID } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Route } from "./api/route.ts";
import type { Clock, Logger } from "./clock.ts";
import { batchDoor } from "./doors/batch-door.ts";
import { type CallbackRule, isInnerAddress } from "./doors/callback-url.ts";
import type { DoorParts } from "./doors/door-parts.ts";
import { commandsQueue, languages as ownLanguages } from "./doors/languages.ts";
import { queueDoor } from "./doors/queue-door.ts";
import type { SnippetRules } from "./doors/rules.ts";
import { runDoor } from "./doors/run-door.ts";
import { viewOf } from "./doors/snippet-view.ts";
import type { CodePolicy } from "./policy/policy.ts";
import type { Broker } from "./snippets/broker/broker.ts";
import { EmbeddedBroker } from "./snippets/broker/embedded.ts";
import { Callbacks } from "./snippets/callbacks.ts";
import { SnippetMetrics } from "./snippets/metrics.ts";
import { Snippets } from "./snippets/snippets.ts";
import { Statistics } from "./snippets/statistics.ts";
import type { CachedSnippets } from "./snippets/store/cached.ts";
import type { SnippetStore } from "./snippets/store/store.ts";

export interface SnippetServiceOptions {
  rules: SnippetRules;
  /** Further queues, beside those of every service. */
  queues: readonly string[];
  queueLimit: number;
  callLimit: number;
  callWaitMs: number;
  agingMs: number;
  retentionMs: number;
  recentEnds: number;
  durability: "process" | "power";
  deniedCommands: readonly string[];
  callbacks: CallbackRule;
  callbackSecret?: string;
  amqpUrl?: string;
  databaseUrl?: string;
  redisUrl?: string;
  /** Looks at code; absent: nothing does. Closed with the service. */
  policy?: CodePolicy;
}

export interface SnippetService {
  snippets: Snippets;
  routes: readonly Route[];
  metrics: SnippetMetrics;
  close(): Promise<void>;
}

export interface ServiceSurroundings {
  dataDir: string;
  clock: Clock;
  log: Logger;
}

/** Rejects with StoreDown or another error that says what cannot be reached. */
export async function startSnippetService(
  options: SnippetServiceOptions,
  surroundings: ServiceSurroundings,
): Promise<SnippetService> {
  const { clock, log, dataDir } = surroundings;
  const { rules, callbacks: callbackRule } = options;
  const languages = new Set([...ownLanguages, ...options.queues, commandsQueue]);
  const statistics = new Statistics(clock);
  const metrics = new SnippetMetrics();
  const store = await openStore(options, surroundings);
  let callbacks: Callbacks | undefined;
  let snippets: Snippets;
  try {
    const broker = await openBroker(options, store, log);
    snippets = await Snippets.start({
      store,
      broker,
      languages: [...languages],
      master: masterName(dataDir),
      queueLimit: options.queueLimit,
      callLimit: options.callLimit,
      callWaitMs: options.callWaitMs,
      agingMs: options.agingMs,
      retentionMs: options.retentionMs,
      isShared: options.databaseUrl !== undefined,
      clock,
      log,
      events: {
        accepted: (snippet) => {
          statistics.accepted();
          metrics.accepted(snippet);
        },
        busy: (snippet) => {
          statistics.busy();
          metrics.busy(snippet);
        },
        finished: (snippet, _attempt, end) => {
          statistics.finished(snippet, end);
          metrics.finished(snippet, end);
          if (snippet.callback !== undefined) callbacks?.look();
        },
      },
    });
  } catch (error) {
    await store.close();
    throw error;
  }
  metrics.watch(snippets);
  store.onFinished((id) => snippets.heardOf(id));
  if (callbackRule !== "off") {
    callbacks = new Callbacks({
      store,
      view: viewOf,
      mayCall: (address) => callbackRule === "any" || !isInnerAddress(address),
      ...(options.callbackSecret === undefined ? {} : { secret: options.callbackSecret }),
      clock,
      log,
    });
  }
  const policy = rules.codePolicy === "off" ? undefined : options.policy;
  const parts: DoorParts = {
    snippets,
    statistics,
    rules,
    languages,
    callbacks: callbackRule,
    ...(policy === undefined ? {} : { policy }),
    refused: (why) => metrics.refused(why),
    deniedCommands: options.deniedCommands,
    clock,
    log,
  };
  return {
    snippets,
    metrics,
    routes: [runDoor(parts), ...queueDoor(parts), ...batchDoor(parts)],
    close: async () => {
      await callbacks?.close();
      await snippets.close();
      await options.policy?.close();
    },
  };
}

async function openStore(
  { databaseUrl, redisUrl, durability, recentEnds }: SnippetServiceOptions,
  { dataDir, log }: ServiceSurroundings,
): Promise<CachedSnippets> {
  let store: SnippetStore;
  if (databaseUrl === undefined) {
    const { SqliteSnippets } = await import("./snippets/store/sqlite/sqlite-snippets.ts");
    store = await SqliteSnippets.open({ folder: dataDir, durability });
  } else {
    const { PostgresSnippets } = await import("./snippets/store/postgres/postgres-snippets.ts");
    store = await PostgresSnippets.open({ url: databaseUrl });
  }
  const { CachedSnippets } = await import("./snippets/store/cached.ts");
  return await CachedSnippets.open(store, {
    count: recentEnds,
    ...(redisUrl === undefined ? {} : { redisUrl }),
    log,
  });
}

async function openBroker(
  { amqpUrl }: SnippetServiceOptions,
  store: SnippetStore,
  log: Logger,
): Promise<Broker> {
  if (amqpUrl === undefined) return new EmbeddedBroker(store);
  const [{ RabbitBroker }, { AmqpAddress }] = await Promise.all([
    import("./snippets/broker/rabbitmq.ts"),
    import("./snippets/broker/rabbitmq/address.ts"),
  ]);
  const address = AmqpAddress.parse(amqpUrl);
  if ("wrong" in address) throw new Error(`AMQP_URL: ${address.wrong}`);
  return new RabbitBroker({ address: address.value, log });
}

/** The same after a restart, and no other master's: claims are told apart by it. */
function masterName(dataDir: string): string {
  const path = join(dataDir, "master-name");
  if (existsSync(path)) {
    const name = readFileSync(path, "utf8").trim();
    if (name !== "") return name;
  }
  const name = randomUUID();
  writeFileSync(path, `${name}\n`, { mode: 0o600 });
  return name;
}
