// Every variable that configures the agent, in one table. Nothing else in `agent/` reads the
// environment; `Config` is frozen and passed in.

import {
  duration,
  type EnvTable,
  integer,
  names,
  oneOf,
  size,
  text,
} from "../protocol/env-table.ts";
import type { Json } from "../protocol/json.ts";
import { type LogLevel, logLevels } from "../protocol/log.ts";
import { type SandboxConfig, sandboxTable } from "./sandbox-config.ts";

export interface Config extends SandboxConfig {
  node: string;
  stateDir: string;
  runtimeDir: string;
  dag: string;
  params: { [name: string]: Json };
  after: "auto" | "exit" | "stay";
  master: string;
  token: string;
  masterCa: string;
  nodeCert: string;
  nodeKey: string;
  enrollToken: string;
  keyRotationMs: number;
  heartbeatMs: number;
  reconnectMs: number;
  uplinkBytes: number;
  uplinkFrames: number;
  uplinkCompression: "on" | "off";
  labels: { [name: string]: string };
  slots: number;
  snippetSlots: number;
  python: string;
  launcher: string;
  passEnv: string[];
  secretsDirs: string[];
  secretValues: { [name: string]: string };
  storeUrl: string;
  storeQuotaBytes: number;
  logLevel: LogLevel;
  logLimitBytes: number;
  outputLimitBytes: number;
  outboxLimitBytes: number;
  durability: "process" | "power";
  trustedKeys: string;
  signatures: "auto" | "require" | "warn" | "off";
  receipts: "auto" | "on" | "off";
  receiptKey: string;
  drainMs: number;
  orphans: "kill" | "adopt";
  orphansForMs: number;
}

export interface Defaults {
  hostname: string;
  cores: number;
  stateDir: string;
  runtimeDir: string;
}

const maxMs = 365 * 86_400_000;
const tebibyte = 2 ** 40;

export function configTable(defaults: Defaults): EnvTable<Config> {
  return {
    node: {
      name: "EDGEDAG_NODE",
      parse: nodeId,
      fallback: defaults.hostname,
      shown: "the host name",
      about: "Name of this node at the master, unique in the fleet.",
    },
    stateDir: {
      name: "EDGEDAG_STATE",
      parse: text,
      fallback: defaults.stateDir,
      shown: "/var/lib/edgedag as root, else ~/.local/state/edgedag",
      about: "Folder of journal, outbox, logs and results. One agent at a time.",
    },
    runtimeDir: {
      name: "EDGEDAG_RUNTIME",
      parse: text,
      fallback: defaults.runtimeDir,
      shown: "$XDG_RUNTIME_DIR, else /tmp",
      about: "Folder for sockets; its path must be short (sockets allow 107 bytes).",
    },
    dag: {
      name: "EDGEDAG_DAG",
      parse: text,
      fallback: "",
      shown: "none: DAGs come from the gateway",
      about: "Path of a DAG document or packed artifact to run at start.",
    },
    params: {
      name: "EDGEDAG_PARAMS",
      parse: jsonObject,
      fallback: {},
      shown: "none",
      about: "JSON object with values for the DAG's params.",
    },
    after: {
      name: "EDGEDAG_AFTER",
      parse: oneOf("auto", "exit", "stay"),
      fallback: "auto",
      shown: "auto",
      about:
        "After the run of EDGEDAG_DAG: exit with its outcome, or stay and keep reporting. auto: stay when there is a master.",
    },
    master: {
      name: "EDGEDAG_MASTER",
      parse: masterUrl,
      fallback: "",
      shown: "none: the node runs alone",
      about: "URL of the master: http(s):// or ws(s)://.",
    },
    token: {
      name: "EDGEDAG_TOKEN",
      parse: text,
      fallback: "",
      shown: "none",
      about: "Token that the node shows to the master.",
      secret: true,
    },
    masterCa: {
      name: "EDGEDAG_MASTER_CA",
      parse: text,
      fallback: "",
      shown: "the system's certificates",
      about: "PEM file with the certificate authority of the master.",
    },
    nodeCert: {
      name: "EDGEDAG_NODE_CERT",
      parse: text,
      fallback: "",
      shown: "none",
      about: "PEM file with this node's certificate, where the master asks for one (mutual TLS).",
    },
    nodeKey: {
      name: "EDGEDAG_NODE_KEY",
      parse: text,
      fallback: "",
      shown: "none",
      about: "PEM file with the key of EDGEDAG_NODE_CERT.",
    },
    enrollToken: {
      name: "EDGEDAG_ENROLL_TOKEN",
      parse: text,
      fallback: "",
      shown: "none",
      about:
        "One-time token of `edgedag nodes enroll` that lets this node in with a key of its own.",
      secret: true,
    },
    keyRotationMs: {
      name: "EDGEDAG_KEY_ROTATION",
      parse: duration({ minMs: 0, maxMs: 10 * maxMs }),
      fallback: 30 * 86_400_000,
      shown: "30d",
      about: "Age at which the node replaces its own key; 0: never.",
    },
    heartbeatMs: {
      name: "EDGEDAG_HEARTBEAT",
      parse: duration({ minMs: 100, maxMs: 3_600_000 }),
      fallback: 10_000,
      shown: "10s",
      about: "Interval of heartbeats.",
    },
    reconnectMs: {
      name: "EDGEDAG_RECONNECT",
      parse: duration({ minMs: 500, maxMs: 3_600_000 }),
      fallback: 4_000,
      shown: "4s",
      about:
        "Longest wait between two tries to reach the master; a longer one saves a radio link's power.",
    },
    uplinkBytes: {
      name: "EDGEDAG_UPLINK_BYTES",
      parse: size({ minBytes: 0, maxBytes: tebibyte }),
      fallback: 0,
      shown: "0: no limit",
      about: "Bytes a second to the master, WebSocket framing included, such as 16KiB.",
    },
    uplinkFrames: {
      name: "EDGEDAG_UPLINK_FRAMES",
      parse: integer(0, 1_000_000),
      fallback: 0,
      shown: "0: no limit",
      about: "WebSocket frames a second to the master.",
    },
    uplinkCompression: {
      name: "EDGEDAG_UPLINK_COMPRESSION",
      parse: oneOf("on", "off"),
      fallback: "on",
      shown: "on",
      about: "Compresses frames of 1 KiB and more, where the master reads that.",
    },
    labels: {
      name: "EDGEDAG_LABELS",
      parse: labelList,
      fallback: {},
      shown: "none",
      about: "Labels of the node: name=value, separated by commas.",
    },
    slots: {
      name: "EDGEDAG_SLOTS",
      parse: integer(1, 4096),
      fallback: defaults.cores,
      shown: "the number of cores",
      about: "Attempts that run at once.",
    },
    snippetSlots: {
      name: "EDGEDAG_SNIPPET_SLOTS",
      parse: integer(0, 4096),
      fallback: 0,
      shown: "0: none; in `edgedag serve` twice the pool's size",
      about: "Snippets of the master's queues that this node runs at once.",
    },
    python: {
      name: "EDGEDAG_PYTHON",
      parse: text,
      fallback: "",
      shown: "python3 on the PATH",
      about: "Python interpreter for python tasks (3.8 or newer).",
    },
    launcher: {
      name: "EDGEDAG_LAUNCHER",
      parse: text,
      fallback: "",
      shown: "build/launcher-<architecture>",
      about: "The C launcher's binary; `none` runs tasks without it.",
    },
    passEnv: {
      name: "EDGEDAG_PASS_ENV",
      parse: names,
      fallback: [],
      shown: "none",
      about: "Further variables of the agent that every task gets, separated by commas.",
    },
    secretsDirs: {
      name: "EDGEDAG_SECRETS_DIR",
      parse: names,
      fallback: [],
      shown: "none",
      about: "Folders with one file a secret, for tasks that name it; separated by commas.",
    },
    secretValues: {
      name: "EDGEDAG_SECRET_",
      parse: () => ({ wrong: "it is read as a prefix" }),
      fallback: {},
      shown: "none",
      about:
        "With a name behind it: the value of that secret, or with _FILE at the end the file that holds it.",
      isPrefix: true,
      secret: true,
    },
    storeUrl: {
      name: "EDGEDAG_STORE_URL",
      parse: text,
      fallback: "",
      shown: "the agent's own store",
      about: "redis:// URL of a Redis or Valkey to use as the tasks' store.",
      secret: true, // it may hold a password
    },
    storeQuotaBytes: {
      name: "EDGEDAG_STORE_QUOTA",
      parse: size({ minBytes: 65_536, maxBytes: tebibyte }),
      fallback: 256 * 2 ** 20,
      shown: "256Mi",
      about: "Most memory of a run's store; writes beyond it are refused.",
    },
    logLevel: {
      name: "EDGEDAG_LOG_LEVEL",
      parse: oneOf(...logLevels),
      fallback: "info",
      shown: "info",
      about: `Lowest level of the agent's own lines: ${logLevels.join(", ")}.`,
    },
    logLimitBytes: {
      name: "EDGEDAG_LOG_LIMIT",
      parse: size({ minBytes: 2 ** 20, maxBytes: tebibyte }),
      fallback: 1024 * 2 ** 20,
      shown: "1Gi",
      about: "Most bytes of combined log kept on the node for a run.",
    },
    outboxLimitBytes: {
      name: "EDGEDAG_OUTBOX_LIMIT",
      parse: size({ minBytes: 2 ** 20, maxBytes: tebibyte }),
      fallback: 2 ** 30,
      shown: "1Gi",
      about:
        "Most bytes that wait for the master; beyond it the oldest log lines are dropped and counted, results never.",
    },
    outputLimitBytes: {
      name: "EDGEDAG_OUTPUT_LIMIT",
      parse: size({ minBytes: 1024, maxBytes: tebibyte }),
      fallback: 16 * 2 ** 30,
      shown: "16Gi",
      about: "Most bytes that one attempt may write to stdout and stderr.",
    },
    durability: {
      name: "EDGEDAG_DURABILITY",
      parse: oneOf("process", "power"),
      fallback: "process",
      shown: "process",
      about: "What is told survives: the end of the agent (process), or also a power loss (power).",
    },
    drainMs: {
      name: "EDGEDAG_DRAIN",
      parse: duration({ minMs: 0, maxMs }),
      fallback: 20_000,
      shown: "20s",
      about: "How long SIGTERM waits for running tasks and for unsent records.",
    },
    trustedKeys: {
      name: "EDGEDAG_TRUSTED_KEYS",
      parse: text,
      fallback: "",
      shown: "none",
      about:
        "Public keys of those who may sign DAGs: files, folders of *.pub, or ed25519:BASE64, separated by commas.",
    },
    signatures: {
      name: "EDGEDAG_SIGNATURES",
      parse: oneOf("auto", "require", "warn", "off"),
      fallback: "auto",
      shown: "require with EDGEDAG_TRUSTED_KEYS, else off",
      about: "Whether DAGs without a good signature are refused, run with a warning, or run.",
    },
    receipts: {
      name: "EDGEDAG_RECEIPTS",
      parse: oneOf("auto", "on", "off"),
      fallback: "auto",
      shown: "on with EDGEDAG_RECEIPT_KEY, else off",
      about: "Whether the node signs a receipt of each run.",
    },
    receiptKey: {
      name: "EDGEDAG_RECEIPT_KEY",
      parse: text,
      fallback: "",
      shown: "receipt.key in EDGEDAG_STATE, made when it is missing",
      about: "PEM file with the private key of receipts.",
    },
    orphans: {
      name: "EDGEDAG_ORPHANS",
      parse: oneOf("kill", "adopt"),
      fallback: "kill",
      shown: "kill",
      about:
        "Command and shell tasks whose agent ends while they run: killed and tried again, or kept by the launcher for the next agent on the same state.",
    },
    orphansForMs: {
      name: "EDGEDAG_ORPHANS_FOR",
      parse: duration({ minMs: 100, maxMs }),
      fallback: 300_000,
      shown: "5m",
      about: "How long they are kept when no agent comes; then they are killed.",
    },
    ...sandboxTable(defaults.cores),
  };
}

function nodeId(value: string): { value: string } | { wrong: string } {
  return /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(value)
    ? { value }
    : { wrong: "it must be letters, digits, dots, dashes and underscores, at most 128" };
}

function masterUrl(value: string): { value: string } | { wrong: string } {
  const wrong = "it must be a URL like http://host:8700 or wss://host";
  if (!URL.canParse(value)) return { wrong };
  const url = new URL(value);
  const protocol = { "http:": "ws:", "https:": "wss:", "ws:": "ws:", "wss:": "wss:" }[url.protocol];
  return protocol === undefined ? { wrong } : { value };
}

function labelList(value: string): { value: { [name: string]: string } } | { wrong: string } {
  const labels: [string, string][] = [];
  for (const part of names(value).value) {
    const match = /^([A-Za-z0-9._-]+)=(.*)$/.exec(part);
    if (match === null) return { wrong: `${JSON.stringify(part)} is not name=value` };
    labels.push([match[1] ?? "", match[2] ?? ""]);
  }
  return { value: Object.fromEntries(labels) };
}

function jsonObject(value: string): { value: { [name: string]: Json } } | { wrong: string } {
  try {
    const parsed: unknown = JSON.parse(value);
    if (typeof parsed === "object" && parsed !== null && !Array.isArray(parsed)) {
      return { value: parsed as { [name: string]: Json } }; // JSON.parse gives nothing but Json
    }
    return { wrong: "it must be a JSON object" };
  } catch (error) {
    return { wrong: `it is not JSON (${String(error)})` };
  }
}
