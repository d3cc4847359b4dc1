// From the variables of the code-execution service to what its parts take.
import type { ApiKey } from "../master/access/identity.ts";
import type { Rate } from "../master/access/rate-limit.ts";
import type { CodePolicy } from "../master/policy/policy.ts";
import type { SnippetServiceOptions } from "../master/snippet-service.ts";
import type { MasterConfig } from "./master-config.ts";
import type { ServiceConfig } from "./service-config.ts";

export interface Surroundings {
  /** The folder of the installation. */
  root: string;
  env: Readonly<Record<string, string | undefined>>;
}

export async function snippetOptions(
  service: ServiceConfig,
  { durability }: MasterConfig,
  { root, env }: Surroundings,
): Promise<SnippetServiceOptions> {
  return {
    rules: {
      levels: service.levels,
      timeoutMs: bound(service.timeoutMs, service.mostTimeoutMs),
      memoryBytes: bound(service.memoryBytes, service.mostMemoryBytes),
      outputBytes: bound(service.outputBytes, service.mostOutputBytes),
      codePolicy: service.codePolicy,
    },
    queues: service.queues,
    queueLimit: service.queueLimit,
    callLimit: service.callLimit,
    callWaitMs: service.callWaitMs,
    agingMs: service.agingMs,
    retentionMs: service.retentionMs,
    recentEnds: service.recentEnds,
    durability,
    deniedCommands: service.deniedCommands.filter((name) => name !== "-"),
    callbacks: service.callbacks,
    ...given("callbackSecret", service.callbackSecret),
    ...given("amqpUrl", service.amqpUrl),
    ...given("databaseUrl", service.databaseUrl),
    ...given("redisUrl", service.redisUrl),
    ...(service.codePolicy === "off" ? {} : { policy: await openPolicy({ root, env }) }),
  };
}

async function openPolicy({ root, env }: Surroundings): Promise<CodePolicy> {
  const { openCodePolicy } = await import("../master/policy/code-policy.ts");
  return openCodePolicy({ python: env.EDGEDAG_PYTHON || "python3", root });
}

/** Who is let in, and how often. */
export function accessOptions(
  service: ServiceConfig,
  hasDoors: boolean,
): { apiKeys?: readonly ApiKey[]; isOpen?: boolean; rateLimit?: Rate; hasAccessLog?: boolean } {
  if (!hasDoors) return { apiKeys: service.apiKeys };
  return {
    apiKeys: service.apiKeys,
    isOpen: service.isOpen === "yes",
    hasAccessLog: service.accessLog === "on",
    ...(service.rateLimit === undefined ? {} : { rateLimit: service.rateLimit }),
  };
}

/** The most is never below what is given without being asked for. */
function bound(fallback: number, most: number): { fallback: number; most: number } {
  return { fallback, most: Math.max(fallback, most) };
}

function given<K extends string>(key: K, value: string): { [k in K]?: string } {
  return value === "" ? {} : ({ [key]: value } as { [k in K]: string });
}
