// Every variable that configures the master, in one table.

import type { Rate } from "../master/access/rate-limit.ts";
import { duration, type EnvTable, integer, oneOf, text } from "../protocol/env-table.ts";
import { type LogLevel, logLevels } from "../protocol/log.ts";
import { rate } from "./rate.ts";

export interface MasterConfig {
  listen: { host: string; port: number };
  dataDir: string;
  token: string;
  tlsCert: string;
  tlsKey: string;
  tlsClientCa: string;
  nodeAuth: "any" | "identity";
  apiRate: Rate | undefined;
  authLimit: Rate | undefined;
  heartbeatMs: number;
  lateAfter: number;
  lostAfter: number;
  logLevel: LogLevel;
  durability: "process" | "power";
}

export interface MasterDefaults {
  dataDir: string;
  port: number;
}

export function masterTable(defaults: MasterDefaults): EnvTable<MasterConfig> {
  return {
    listen: {
      name: "EDGEDAG_LISTEN",
      parse: address,
      fallback: { host: "127.0.0.1", port: defaults.port },
      shown: "127.0.0.1:8700; `edgedag serve`: 127.0.0.1:9385",
      about: "Address of the master: host:port; port 0 takes a free one.",
    },
    dataDir: {
      name: "EDGEDAG_DATA",
      parse: text,
      fallback: defaults.dataDir,
      shown: "/var/lib/edgedag-master as root, else ~/.local/state/edgedag/master",
      about: "Folder of the master's database.",
    },
    token: {
      name: "EDGEDAG_TOKEN",
      parse: text,
      fallback: "",
      shown: "none: only this machine is served",
      about: "Token that nodes and clients must show.",
      secret: true,
    },
    tlsCert: {
      name: "EDGEDAG_TLS_CERT",
      parse: text,
      fallback: "",
      shown: "none: http and ws",
      about: "PEM file with the master's certificate.",
    },
    tlsKey: {
      name: "EDGEDAG_TLS_KEY",
      parse: text,
      fallback: "",
      shown: "none",
      about: "PEM file with the key of EDGEDAG_TLS_CERT.",
    },
    tlsClientCa: {
      name: "EDGEDAG_TLS_CLIENT_CA",
      parse: text,
      fallback: "",
      shown: "none: nodes need no certificate",
      about:
        "PEM file with the authority whose certificates nodes must show (mutual TLS); one that names the node is its identity.",
    },
    nodeAuth: {
      name: "EDGEDAG_NODE_AUTH",
      parse: oneOf("any", "identity"),
      fallback: "any",
      shown: "any",
      about:
        "identity: nodes are let in by their own key or certificate alone, not by EDGEDAG_TOKEN.",
    },
    authLimit: {
      name: "EDGEDAG_AUTH_LIMIT",
      parse: rate,
      fallback: { count: 30, perMs: 60_000 },
      shown: "30/minute",
      about: "Most wrong tokens of one address in a time, before it is not listened to; or off.",
    },
    apiRate: {
      name: "EDGEDAG_API_RATE",
      parse: rate,
      fallback: undefined,
      shown: "none",
      about: "Most calls of one key (or address) to the HTTP API in a time, like 100/s.",
    },
    heartbeatMs: {
      name: "EDGEDAG_HEARTBEAT",
      parse: duration({ minMs: 100, maxMs: 3_600_000 }),
      fallback: 10_000,
      shown: "10s",
      about: "Interval of heartbeats that nodes are told to keep.",
    },
    lateAfter: {
      name: "EDGEDAG_LATE_AFTER",
      parse: integer(1, 1000),
      fallback: 2,
      shown: "2",
      about: "Missed heartbeats after which a node is late.",
    },
    lostAfter: {
      name: "EDGEDAG_LOST_AFTER",
      parse: integer(2, 10_000),
      fallback: 5,
      shown: "5",
      about: "Missed heartbeats after which a node is lost.",
    },
    durability: {
      name: "EDGEDAG_DURABILITY",
      parse: oneOf("process", "power"),
      fallback: "power",
      shown: "power",
      about:
        "What snippets that were taken in survive: a power loss, or only the end of the master (quicker). Records of nodes always survive both.",
    },
    logLevel: {
      name: "EDGEDAG_LOG_LEVEL",
      parse: oneOf(...logLevels),
      fallback: "info",
      shown: "info",
      about: `Lowest level of the master's own lines: ${logLevels.join(", ")}.`,
    },
  };
}

function address(value: string): { value: { host: string; port: number } } | { wrong: string } {
  const match = /^(?:\[([0-9A-Fa-f:]+)\]|([^:\s]+)):(\d{1,5})$/.exec(value);
  const port = Number(match?.[3]);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined || !(port <= 65_535)) {
    return { wrong: "it must be host:port, as 127.0.0.1:8700 or [::1]:8700" };
  }
  return { value: { host, port } };
}
