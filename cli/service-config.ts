// Every variable that configures the code-execution service, in one table: `edgedag serve`, and
// `edgedag master` where EDGEDAG_DOORS is on.
import type { ApiKey } from "../master/access/identity.ts";
import type { Rate } from "../master/access/rate-limit.ts";
import { roles } from "../master/access/roles.ts";
import type { CallbackRule } from "../master/doors/callback-url.ts";
import { usuallyDenied } from "../master/doors/command-policy.ts";
import {
  duration,
  type EnvTable,
  integer,
  list,
  names,
  oneOf,
  type Parsed,
  size,
  text,
} from "../protocol/env-table.ts";
import { type SandboxLevel, sandboxLevels } from "../protocol/outcome.ts";
import { rate } from "./rate.ts";

export interface ServiceConfig {
  doors: "on" | "off";
  apiKeys: readonly ApiKey[];
  isOpen: "no" | "yes";
  rateLimit: Rate | undefined;
  levels: readonly SandboxLevel[];
  timeoutMs: number;
  mostTimeoutMs: number;
  memoryBytes: number;
  mostMemoryBytes: number;
  outputBytes: number;
  mostOutputBytes: number;
  codePolicy: "off" | "run" | "all";
  deniedCommands: readonly string[];
  queueLimit: number;
  callLimit: number;
  callWaitMs: number;
  agingMs: number;
  retentionMs: number;
  recentEnds: number;
  queues: readonly string[];
  callbacks: CallbackRule;
  callbackSecret: string;
  accessLog: "on" | "off";
  amqpUrl: string;
  databaseUrl: string;
  redisUrl: string;
}

const day = 86_400_000;
const mebibyte = 2 ** 20;
const tebibyte = 2 ** 40;

export const serviceTable: EnvTable<ServiceConfig> = {
  doors: {
    name: "EDGEDAG_DOORS",
    parse: oneOf("on", "off"),
    fallback: "off",
    shown: "off; on in `edgedag serve`",
    about: "Whether `edgedag master` takes snippets in, for agents with EDGEDAG_SNIPPET_SLOTS.",
  },
  apiKeys: {
    name: "EDGEDAG_API_KEYS",
    parse: keyList,
    fallback: [],
    shown: "none: EDGEDAG_TOKEN is asked for",
    about:
      "Keys: name:role=key, separated by commas; the role is snippets (unless told), read, submit or admin, the key may be given as sha256:HEX.",
    secret: true,
  },
  isOpen: {
    name: "EDGEDAG_OPEN",
    parse: oneOf("no", "yes"),
    fallback: "no",
    shown: "no",
    about: "yes: everybody who can reach the service may send snippets, without any key.",
  },
  rateLimit: {
    name: "EDGEDAG_RATE_LIMIT",
    parse: rate,
    fallback: undefined,
    shown: "none",
    about: "Most submissions of one key (or address) in a time, like 10/s or 120/minute.",
  },
  levels: {
    name: "EDGEDAG_SNIPPET_ISOLATION",
    parse: levelOrder,
    fallback: ["gvisor", "docker", "seccomp", "subprocess"],
    shown: "gvisor,docker,seccomp,subprocess",
    about: "Levels that will do for a snippet, the preferred one first; the last is the least.",
  },
  timeoutMs: {
    name: "EDGEDAG_SNIPPET_TIMEOUT",
    parse: duration({ minMs: 10, maxMs: 30 * day }),
    fallback: 10_000,
    shown: "10s",
    about: "Longest time of a snippet that asks for none.",
  },
  mostTimeoutMs: {
    name: "EDGEDAG_SNIPPET_TIMEOUT_MAX",
    parse: duration({ minMs: 10, maxMs: 30 * day }),
    fallback: 300_000,
    shown: "5m",
    about: "Longest time that a snippet may ask for.",
  },
  memoryBytes: {
    name: "EDGEDAG_SNIPPET_MEMORY",
    parse: size({ minBytes: 16 * mebibyte, maxBytes: tebibyte }),
    fallback: 256 * mebibyte,
    shown: "256Mi",
    about: "Most memory of a snippet that asks for none.",
  },
  mostMemoryBytes: {
    name: "EDGEDAG_SNIPPET_MEMORY_MAX",
    parse: size({ minBytes: 16 * mebibyte, maxBytes: tebibyte }),
    fallback: 2048 * mebibyte,
    shown: "2048Mi",
    about: "Most memory that a snippet may ask for.",
  },
  outputBytes: {
    name: "EDGEDAG_SNIPPET_OUTPUT",
    parse: size({ minBytes: 1024, maxBytes: 64 * mebibyte }),
    fallback: mebibyte,
    shown: "1Mi",
    about: "Most bytes that a snippet may write to stdout and stderr, unless it asks for more.",
  },
  mostOutputBytes: {
    name: "EDGEDAG_SNIPPET_OUTPUT_MAX",
    parse: size({ minBytes: 1024, maxBytes: 64 * mebibyte }),
    fallback: 16 * mebibyte,
    shown: "16Mi",
    about: "Most bytes of output that a snippet may ask for.",
  },
  codePolicy: {
    name: "EDGEDAG_CODE_POLICY",
    parse: oneOf("off", "run", "all"),
    fallback: "run",
    shown: "run",
    about:
      "Where code that reaches for the operating system is refused before it runs: at /run, at all doors, or nowhere.",
  },
  deniedCommands: {
    name: "EDGEDAG_DENIED_COMMANDS",
    parse: names,
    fallback: usuallyDenied,
    shown: "those of docs/self-host.md",
    about: "Programs that commands must not begin with, separated by commas; `-` for none.",
  },
  queueLimit: {
    name: "EDGEDAG_QUEUE_SIZE",
    parse: integer(1, 10_000_000),
    fallback: 10_000,
    shown: "10000",
    about: "Most snippets that wait in all queues; what comes beyond is told that it is full.",
  },
  callLimit: {
    name: "EDGEDAG_RUN_WAITING",
    parse: integer(0, 100_000),
    fallback: 64,
    shown: "64",
    about: "Most callers of /run that wait for a free sandbox; the others are told at once: busy.",
  },
  callWaitMs: {
    name: "EDGEDAG_RUN_WAIT",
    parse: duration({ minMs: 1, maxMs: day }),
    fallback: 10_000,
    shown: "10s",
    about: "How long a caller of /run waits for a free sandbox.",
  },
  agingMs: {
    name: "EDGEDAG_QUEUE_AGING",
    parse: duration({ minMs: 100, maxMs: day }),
    fallback: 30_000,
    shown: "30s",
    about: "Waiting of this time is worth one priority, so that the lowest has its turn.",
  },
  retentionMs: {
    name: "EDGEDAG_RETENTION",
    parse: duration({ minMs: 1000, maxMs: 3650 * day }),
    fallback: 7 * day,
    shown: "7d",
    about: "How long ends of snippets are kept.",
  },
  recentEnds: {
    name: "EDGEDAG_RECENT_RESULTS",
    parse: integer(0, 1_000_000),
    fallback: 1000,
    shown: "1000",
    about: "Ends that are kept in memory.",
  },
  queues: {
    name: "EDGEDAG_QUEUES",
    parse: names,
    fallback: [],
    shown: "none",
    about:
      "Further languages that have a queue, beside those of docs/self-host.md and of the node.",
  },
  callbacks: {
    name: "EDGEDAG_CALLBACKS",
    parse: oneOf("off", "public", "any"),
    fallback: "public",
    shown: "public",
    about: "Which URLs may be told of ends: none, those of the internet, or any.",
  },
  callbackSecret: {
    name: "EDGEDAG_CALLBACK_SECRET",
    parse: text,
    fallback: "",
    shown: "none: callbacks are not signed",
    about: "Key of the HMAC-SHA256 in the header X-Edgedag-Signature of callbacks.",
    secret: true,
  },
  accessLog: {
    name: "EDGEDAG_ACCESS_LOG",
    parse: oneOf("on", "off"),
    fallback: "on",
    shown: "on",
    about: "One line of log for each request.",
  },
  amqpUrl: {
    name: "AMQP_URL",
    parse: url("amqp:", "amqps:"),
    fallback: "",
    shown: "none: the queues are the service's own",
    about: "RabbitMQ that carries the queues.",
    secret: true,
  },
  databaseUrl: {
    name: "DATABASE_URL",
    parse: url("postgres:", "postgresql:"),
    fallback: "",
    shown: "none: SQLite in EDGEDAG_DATA",
    about: "PostgreSQL that keeps snippets and their ends.",
    secret: true,
  },
  redisUrl: {
    name: "REDIS_URL",
    parse: url("redis:", "rediss:"),
    fallback: "",
    shown: "none",
    about: "Redis that holds recent ends for all masters.",
    secret: true,
  },
};

function keyList(value: string): Parsed<ApiKey[]> {
  const parsed = list((part): Parsed<ApiKey> => {
    const match = /^([A-Za-z0-9][A-Za-z0-9._-]{0,63})(?::([a-z]+))?=(\S{8,})$/.exec(part);
    if (match === null) {
      return {
        wrong: "a part is not name=key or name:role=key with a key of 8 or more characters",
      };
    }
    const [, name = "", word, key = ""] = match;
    const role = roles.find((known) => known === word);
    if (word !== undefined && role === undefined) {
      return { wrong: `the role ${word} is none of ${roles.join(", ")}` };
    }
    if (key.startsWith("sha256:") && !/^sha256:[0-9a-f]{64}$/.test(key)) {
      return { wrong: `the digest of ${name} is not sha256: and 64 small hex digits` };
    }
    return { value: { name, key, ...(role === undefined ? {} : { role }) } };
  })(value);
  if ("wrong" in parsed) return parsed;
  const seen = new Set(parsed.value.map(({ name }) => name));
  return seen.size === parsed.value.length ? parsed : { wrong: "a name is there twice" };
}

function levelOrder(value: string): Parsed<SandboxLevel[]> {
  const parsed = list((word): Parsed<SandboxLevel> => {
    const level = sandboxLevels.find((known) => known === word);
    if (level !== undefined) return { value: level };
    return { wrong: `${JSON.stringify(word)} is none of ${sandboxLevels.join(", ")}` };
  })(value);
  if ("wrong" in parsed) return parsed;
  return parsed.value.length > 0 ? parsed : { wrong: "it must name at least one level" };
}

function url(...schemes: readonly string[]): (value: string) => Parsed<string> {
  return (value) => {
    const wrong = `it must be a URL that begins with ${schemes.map((s) => `${s}//`).join(" or ")}`;
    return URL.canParse(value) && schemes.includes(new URL(value).protocol) ? { value } : { wrong };
  };
}
