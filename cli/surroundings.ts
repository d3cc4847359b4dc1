// What the process finds around itself: where it is installed, its version, and its configuration.
// Besides `main.ts` the only place that reads the environment.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { availableParallelism, homedir, hostname, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type Config, configTable } from "../agent/config.ts";
import { type EnvReading, type EnvTable, readEnv } from "../protocol/env-table.ts";
import { serviceNames } from "./service-names.ts";

/** The folder of the installation: the nearest one above with edgedag's package.json. */
export function findRoot(): string {
  for (let folder = import.meta.dirname; ; folder = dirname(folder)) {
    try {
      const text = readFileSync(join(folder, "package.json"), "utf8");
      if (JSON.parse(text).name === "edgedag") return folder;
    } catch (error) {
      // Most folders have none; the root of the file system ends the search.
      if (dirname(folder) === folder) throw error;
    }
  }
}

export function versionOf(root: string): string {
  return String(JSON.parse(readFileSync(join(root, "package.json"), "utf8")).version);
}

export function agentTable(): EnvTable<Config> {
  const isRoot = process.getuid?.() === 0;
  const stateHome = process.env.XDG_STATE_HOME ?? join(homedir(), ".local", "state");
  return configTable({
    hostname: hostname().replace(/[^A-Za-z0-9._-]/g, "-") || "node",
    cores: availableParallelism(),
    stateDir: isRoot ? "/var/lib/edgedag" : join(stateHome, "edgedag"),
    runtimeDir: process.env.XDG_RUNTIME_DIR ?? tmpdir(),
  });
}

/** Folder of the states of `edgedag run`. */
export function localStates(): string {
  return join(process.env.XDG_STATE_HOME ?? join(homedir(), ".local", "state"), "edgedag", "local");
}

/** Names of the runs of `edgedag run` that still have their state, the newest first. */
export function localRuns(parent: string): string[] {
  if (!existsSync(parent)) return [];
  return readdirSync(parent)
    .filter((name) => existsSync(join(parent, name, "journal.db")))
    .map((name) => ({ name, time: /\d{8}-\d{6}/.exec(name)?.[0] ?? "" }))
    .sort((a, b) => (a.time < b.time ? 1 : -1))
    .map(({ name }) => name);
}

/** Variables that other parts than the agent read. */
export const otherNames = [
  "EDGEDAG_LISTEN",
  "EDGEDAG_DATA",
  "EDGEDAG_TLS_CERT",
  "EDGEDAG_TLS_KEY",
  "EDGEDAG_TLS_CLIENT_CA",
  "EDGEDAG_NODE_AUTH",
  "EDGEDAG_AUTH_LIMIT",
  "EDGEDAG_API_RATE",
  "EDGEDAG_LATE_AFTER",
  "EDGEDAG_LOST_AFTER",
  "EDGEDAG_NODEJS",
  "EDGEDAG_FROM_SOURCE",
  "EDGEDAG_CHAOS_POINT",
  "EDGEDAG_CHAOS_DIR",
  ...serviceNames,
];

export function readConfig<C extends object>(
  table: EnvTable<C>,
  env: Readonly<Record<string, string | undefined>>,
  known: readonly string[],
): EnvReading<C> {
  return readEnv(
    table,
    {
      env,
      readFile: (path) => {
        try {
          return { text: readFileSync(path, "utf8") };
        } catch (error) {
          return { problem: error instanceof Error ? error.message : String(error) };
        }
      },
    },
    known,
  );
}
