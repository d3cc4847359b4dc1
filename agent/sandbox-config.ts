// The variables that configure isolation: which levels, what the policy allows, the limits that a
// task has when it does not say, the pools, and where the engines are. Part of `config.ts`.

import { languagePattern, syscallPattern } from "../protocol/dag.ts";
import {
  duration,
  type EnvTable,
  integer,
  list,
  names,
  number,
  oneOf,
  type Parsed,
  size,
  text,
} from "../protocol/env-table.ts";
import { mountPathProblem } from "../protocol/mount-path.ts";
import { type SandboxLevel, sandboxLevels } from "../protocol/outcome.ts";

/** Where a DAG comes from: EDGEDAG_DAG, the gateway, the command line, or a snippet's sender. */
export const dagSources = ["file", "gateway", "cli", "snippet"] as const;
export type DagSource = (typeof dagSources)[number];

export interface AllowedMount {
  path: string;
  isWritable: boolean;
}

export interface PoolSizes {
  /** Of kinds that are not named. */
  otherwise: number;
  kinds: readonly { level: SandboxLevel; language: string; size: number }[];
}

export interface SandboxConfig {
  levels: "auto" | readonly SandboxLevel[];
  minIsolation: Readonly<Record<DagSource, SandboxLevel>>;
  allowNetwork: "no" | "yes";
  allowMounts: readonly AllowedMount[];
  allowSyscalls: readonly string[];
  sandboxTimeoutMs: number;
  sandboxMemoryBytes: number;
  sandboxPids: number;
  sandboxDiskBytes: number;
  /** Undefined: as many as the host has. */
  sandboxCpus: number | undefined;
  sandboxUid: number;
  poolSizes: PoolSizes;
  poolLifespanMs: number;
  poolRefillPerS: number;
  dockerSocket: string;
  dockerImages: Readonly<Record<string, string>>;
  dockerRuntime: string;
  runsc: string;
  runscPlatform: "auto" | "systrap" | "ptrace";
  /** A folder of the user's own languages; empty: none. */
  languages: string;
  /** Folders of npm packages that sandboxes see, for reading only. */
  nodeModules: readonly string[];
  /** Ids for CUDA_VISIBLE_DEVICES; undefined: those that the host shows. */
  gpus: readonly string[] | undefined;
}

const day = 86_400_000;
const tebibyte = 2 ** 40;

export function sandboxTable(cores: number): EnvTable<SandboxConfig> {
  return {
    levels: {
      name: "EDGEDAG_LEVELS",
      parse: levelList,
      fallback: "auto",
      shown: "auto",
      about:
        "Isolation levels to try at start, separated by commas; auto tries all. Only what passes its check is used.",
    },
    minIsolation: {
      name: "EDGEDAG_MIN_ISOLATION",
      parse: minimum,
      fallback: { file: "none", gateway: "none", cli: "none", snippet: "subprocess" },
      shown: "none; snippet=subprocess",
      about:
        "Lowest isolation level that a task may ask for: one level, or per source of the DAG, like file=none,gateway=seccomp,snippet=gvisor.",
    },
    allowNetwork: {
      name: "EDGEDAG_ALLOW_NETWORK",
      parse: oneOf("no", "yes"),
      fallback: "no",
      shown: "no",
      about: "Whether tasks in sandboxes may ask for the network: yes or no.",
    },
    allowMounts: {
      name: "EDGEDAG_ALLOW_MOUNTS",
      parse: mountList,
      fallback: [],
      shown: "none",
      about:
        "Folders of the host that sandboxes may be given, separated by commas; :rw behind one allows writing.",
    },
    allowSyscalls: {
      name: "EDGEDAG_ALLOW_SYSCALLS",
      parse: list((name) =>
        syscallPattern.test(name)
          ? { value: name }
          : { wrong: `${JSON.stringify(name)} is no name of a system call` },
      ),
      fallback: [],
      shown: "none",
      about: "System calls that tasks may ask for in addition, separated by commas.",
    },
    sandboxTimeoutMs: {
      name: "EDGEDAG_SANDBOX_TIMEOUT",
      parse: duration({ minMs: 100, maxMs: 3650 * day }),
      fallback: 300_000,
      shown: "300s",
      about: "Longest time of an attempt above level none whose task has no timeout.",
    },
    sandboxMemoryBytes: {
      name: "EDGEDAG_SANDBOX_MEMORY",
      parse: size({ minBytes: 16 * 2 ** 20, maxBytes: tebibyte }),
      fallback: 2048 * 2 ** 20,
      shown: "2048Mi",
      about: "Most memory of a task above level none that has no limit of its own.",
    },
    sandboxPids: {
      name: "EDGEDAG_SANDBOX_PIDS",
      parse: integer(4, 4_194_304),
      fallback: 100,
      shown: "100",
      about: "Most processes and threads of a task above level none that has no limit of its own.",
    },
    sandboxDiskBytes: {
      name: "EDGEDAG_SANDBOX_DISK",
      parse: size({ minBytes: 2 ** 20, maxBytes: tebibyte }),
      fallback: 512 * 2 ** 20,
      shown: "512Mi",
      about: "Most bytes in the folders of a task above level none that has no limit of its own.",
    },
    sandboxCpus: {
      name: "EDGEDAG_SANDBOX_CPUS",
      parse: number(0.01, 1024),
      fallback: undefined,
      shown: "none",
      about:
        "Cores that a task above level none without a limit of its own may use at once, like 0.5.",
    },
    sandboxUid: {
      name: "EDGEDAG_SANDBOX_UID",
      parse: integer(1000, 4_000_000_000),
      fallback: 900_000,
      shown: "900000",
      about: "First user id of sandboxes, where the agent runs as root; each has one of its own.",
    },
    poolSizes: {
      name: "EDGEDAG_POOL_SIZE",
      parse: poolSizes,
      fallback: { otherwise: cores, kinds: [] },
      shown: "the number of cores",
      about:
        "Sandboxes that wait for each kind of task: a number, and others for kinds, like 2,seccomp/python=4; 0: none.",
    },
    poolLifespanMs: {
      name: "EDGEDAG_POOL_LIFESPAN",
      parse: duration({ minMs: 1000, maxMs: 365 * day }),
      fallback: 600_000,
      shown: "10m",
      about: "A sandbox that has waited for so long is replaced.",
    },
    poolRefillPerS: {
      name: "EDGEDAG_POOL_REFILL",
      parse: number(0.1, 1000),
      fallback: 20,
      shown: "20",
      about: "Most sandboxes that are started in a second.",
    },
    dockerSocket: {
      name: "EDGEDAG_DOCKER_SOCKET",
      parse: absolutePath,
      fallback: "/var/run/docker.sock",
      shown: "/var/run/docker.sock",
      about: "Socket of the Docker engine.",
    },
    dockerImages: {
      name: "EDGEDAG_DOCKER_IMAGES",
      parse: imageList,
      fallback: {},
      shown: "those of the languages",
      about: "Images per language: python=python:3.12-slim,c=gcc:14, separated by commas.",
    },
    dockerRuntime: {
      name: "EDGEDAG_DOCKER_RUNTIME",
      parse: text,
      fallback: "",
      shown: "the engine's default",
      about: "OCI runtime of the engine for level docker, like runsc.",
    },
    runsc: {
      name: "EDGEDAG_RUNSC",
      parse: text,
      fallback: "",
      shown: "runsc on the PATH",
      about: "The gVisor runtime for level gvisor.",
    },
    runscPlatform: {
      name: "EDGEDAG_RUNSC_PLATFORM",
      parse: oneOf("auto", "systrap", "ptrace"),
      fallback: "auto",
      shown: "auto",
      about: "Platform of runsc: systrap, ptrace, or auto: the first that works.",
    },
    languages: {
      name: "EDGEDAG_LANGUAGES",
      parse: text,
      fallback: "",
      shown: "none",
      about: "Folder of further languages for code tasks, one JSON file each.",
    },
    nodeModules: {
      name: "EDGEDAG_NODE_MODULES",
      parse: list(absolutePath),
      fallback: ["/usr/local/lib/node_modules", "/usr/lib/node_modules"],
      shown: "/usr/local/lib/node_modules,/usr/lib/node_modules",
      about:
        "Folders of npm packages that code in sandboxes may `require`, separated by commas; at level docker those of the image.",
    },
    gpus: {
      name: "EDGEDAG_GPUS",
      parse: gpuList,
      fallback: undefined,
      shown: "those in /dev",
      about: "GPUs for tasks: how many, or their ids separated by commas (one id: `3,`).",
    },
  };
}

function isLevel(word: string): word is SandboxLevel {
  return sandboxLevels.some((level) => level === word);
}

const wrongLevel = (word: string) => ({
  wrong: `${JSON.stringify(word)} is none of ${sandboxLevels.join(", ")}`,
});

function levelList(value: string): Parsed<"auto" | SandboxLevel[]> {
  if (value === "auto") return { value };
  return list((word) => (isLevel(word) ? { value: word } : wrongLevel(word)))(value);
}

function minimum(value: string): Parsed<SandboxConfig["minIsolation"]> {
  if (isLevel(value)) {
    return { value: { file: value, gateway: value, cli: value, snippet: value } };
  }
  const parsed = list(namedLevel)(value);
  if ("wrong" in parsed) return parsed;
  const least: Record<DagSource, SandboxLevel> = {
    file: "none",
    gateway: "none",
    cli: "none",
    snippet: "subprocess",
  };
  for (const { source, level } of parsed.value) least[source] = level;
  return { value: least };
}

function namedLevel(part: string): Parsed<{ source: DagSource; level: SandboxLevel }> {
  const [name = "", level = "", more] = part.split("=");
  const source = dagSources.find((known) => known === name);
  if (source === undefined || more !== undefined) {
    return { wrong: `${JSON.stringify(part)} is neither a level nor like gateway=seccomp` };
  }
  return isLevel(level) ? { value: { source, level } } : wrongLevel(level);
}

function mountList(value: string): Parsed<AllowedMount[]> {
  return list((part): Parsed<AllowedMount> => {
    const isWritable = part.endsWith(":rw");
    const path = part.replace(/:r[wo]$/, "");
    const plain = path.length > 1 && path.endsWith("/") ? path.slice(0, -1) : path;
    // The whole host may be allowed, though no task can mount it as a whole.
    const problem = plain === "/" ? undefined : mountPathProblem(plain);
    if (problem !== undefined) return { wrong: `${JSON.stringify(part)} ${problem}` };
    return { value: { path: plain, isWritable } };
  })(value);
}

function imageList(value: string): Parsed<Record<string, string>> {
  const parsed = list((part): Parsed<[string, string]> => {
    const [, language = "", image = ""] = /^([^=]*)=(\S+)$/.exec(part) ?? [];
    return language === "*" || languagePattern.test(language)
      ? { value: [language, image] }
      : { wrong: `${JSON.stringify(part)} is not language=image` };
  })(value);
  return "wrong" in parsed ? parsed : { value: Object.fromEntries(parsed.value) };
}

function poolSizes(value: string): Parsed<PoolSizes> {
  const wrong = "it must be a number from 0 to 1000, or a list like 2,seccomp/python=4";
  const kinds: PoolSizes["kinds"][number][] = [];
  // Kinds that are not named have a pool only where a number for them is given.
  let otherwise = 0;
  for (const part of names(value).value) {
    const match = /^(?:([a-z]+)\/([^/=]+)=)?(\d{1,4})$/.exec(part);
    const [, level, language, digits = ""] = match ?? [];
    const count = Number(digits);
    if (match === null || count > 1000) return { wrong };
    if (level === undefined || language === undefined) otherwise = count;
    else if (!isLevel(level) || level === "none") return wrongLevel(level);
    else if (!languagePattern.test(language)) return { wrong };
    else kinds.push({ level, language, size: count });
  }
  return { value: { otherwise, kinds } };
}

function absolutePath(value: string): Parsed<string> {
  return value.startsWith("/") ? { value } : { wrong: "it must be an absolute path" };
}

function gpuList(value: string): Parsed<string[]> {
  if (/^\d+$/.test(value)) {
    const count = Number(value);
    if (count > 1024) return { wrong: "it must be at most 1024" };
    return { value: Array.from({ length: count }, (_, i) => String(i)) };
  }
  const ids = names(value).value;
  const bad = ids.find((id) => !/^[A-Za-z0-9:._/-]+$/.test(id));
  if (bad !== undefined) return { wrong: `${JSON.stringify(bad)} is no id of a GPU` };
  return new Set(ids).size === ids.length ? { value: ids } : { wrong: "an id is there twice" };
}
