// Commands that ask about the server: INFO, CONFIG GET, TIME, and the few that only clients send.

import type { Client } from "../client.ts";
import { type Args, arg, arityError, type Command, command } from "../command.ts";
import { notInteger } from "../errors.ts";
import { matchesGlob } from "../glob.ts";
import { int64 } from "../numbers.ts";

/** The Redis whose replies ours are compared with; clients choose their features by it. */
export const redisVersion = "7.0.15";

function info(client: Client, args: Args): void {
  const wanted = new Set(args.slice(1).map((section) => section.toLowerCase()));
  const isAll = wanted.size === 0 || ["all", "default", "everything"].some((w) => wanted.has(w));
  const text = Object.entries(sections(client))
    .filter(([name]) => isAll || wanted.has(name.toLowerCase()))
    .map(([name, lines]) => `# ${name}\r\n${lines.map((line) => `${line}\r\n`).join("")}`)
    .join("\r\n");
  client.verbatim(text);
}

function sections(client: Client): Record<string, string[]> {
  const { keyspace } = client;
  const blocked = [...client.peers.values()].filter((peer) => peer.unblock !== undefined).length;
  const uptimeSeconds = Math.floor(process.uptime());
  const keys = keyspace.entries.size;
  return {
    Server: [
      `redis_version:${redisVersion}`,
      "server_name:edgedag",
      "redis_mode:standalone",
      `os:${process.platform} ${process.arch}`,
      "arch_bits:64",
      `process_id:${process.pid}`,
      "tcp_port:0",
      `uptime_in_seconds:${uptimeSeconds}`,
      `uptime_in_days:${Math.floor(uptimeSeconds / 86_400)}`,
    ],
    Clients: [`connected_clients:${client.peers.size}`, `blocked_clients:${blocked}`],
    Memory: [
      `used_memory:${keyspace.bytes}`,
      `maxmemory:${keyspace.quotaBytes}`,
      "maxmemory_policy:noeviction",
    ],
    Persistence: ["loading:0", "async_loading:0", "rdb_bgsave_in_progress:0", "aof_enabled:0"],
    Stats: [
      `pubsub_channels:${client.pubsub.channels.size}`,
      `pubsub_patterns:${client.pubsub.patterns.size}`,
    ],
    Replication: ["role:master", "connected_slaves:0"],
    Cluster: ["cluster_enabled:0"],
    Keyspace: keys === 0 ? [] : [`db0:keys=${keys},expires=${keyspace.expiry.size},avg_ttl=0`],
  };
}

function config(client: Client, args: Args): void {
  const subcommand = arg(args, 1);
  if (subcommand.toUpperCase() === "GET" && args.length < 3) {
    arityError(client, "config|get");
    return;
  }
  if (subcommand.toUpperCase() !== "GET") {
    client.error(`ERR unknown subcommand '${subcommand.slice(0, 128)}'. Try CONFIG HELP.`);
    return;
  }
  const settings: readonly (readonly [string, string])[] = [
    ["save", ""],
    ["appendonly", "no"],
    ["databases", "1"],
    ["maxmemory", String(client.keyspace.quotaBytes)],
    ["maxmemory-policy", "noeviction"],
    ["proto-max-bulk-len", String(client.commandLimitBytes)],
    ["notify-keyspace-events", ""],
  ];
  const patterns = args.slice(2).map((pattern) => pattern.toLowerCase());
  const found = settings.filter(([name]) => patterns.some((p) => matchesGlob(p, name)));
  client.map(found.length);
  for (const [name, value] of found) {
    client.bulk(name);
    client.bulk(value);
  }
}

function time(client: Client): void {
  const now = Date.now();
  client.bulks([String(Math.floor(now / 1000)), String((now % 1000) * 1000)]);
}

function wait(client: Client, args: Args): void {
  const replicas = int64(arg(args, 1));
  const timeoutMs = int64(arg(args, 2));
  if (replicas === undefined) client.error(notInteger);
  else if (timeoutMs === undefined) client.error("ERR timeout is not an integer or out of range");
  else if (timeoutMs < 0n) client.error("ERR timeout is negative");
  else client.integer(0);
}

export const serverCommands: readonly Command[] = [
  command("info", -1, 0, info),
  command("config", -2, 0, config),
  command("time", 1, 0, time),
  command("wait", 3, 0, wait),
  command("debug", -2, 0, (client) => {
    client.error("ERR DEBUG command not allowed. The store of a run has no debug commands.");
  }),
];
