// How an executor is configured, with what holds where nothing is said.
import type { Diagnostic, Result } from "../protocol/diagnostic.ts";
import { type SandboxLevel, sandboxLevels } from "../protocol/outcome.ts";

export interface ExecutorConfig {
  /** Tasks that run at once: 10. */
  maxConcurrentTasks?: number;
  /** Longest time of a task that asks for none, milliseconds: 30,000. */
  timeoutMs?: number;
  /** Most memory of a task that asks for none, bytes: 512 MiB. */
  memoryBytes?: number;
  /** Most processor time of a task that asks for none, milliseconds: 30,000. */
  cpuMs?: number;
  /** Most bytes of output of a task that asks for none: 1 MiB. */
  outputBytes?: number;
  /** Results that are kept: 1,000; older ones are forgotten. */
  resultCacheSize?: number;
  /** Sandboxes that wait ready for a task: 4. */
  workerPoolSize?: number;
  /** Tasks that may wait; one more is refused: 100. */
  queueSize?: number;
  /** Whether statistics are kept: yes. */
  monitoring?: boolean;
  /**
   * Levels that will do, the preferred one first. Only those that hold on this machine are used, and
   * every result says which one did. Unless said otherwise: subprocess, and none where it does not hold.
   */
  isolation?: readonly SandboxLevel[];
  /** Programs that commands must not begin with, beside those that usually are not allowed. */
  deniedCommands?: readonly string[];
  /** Folder for sockets and what runs need; made, and removed at the end. */
  folder?: string;
  /** What the executor has to say of itself; nothing is printed otherwise. */
  log?(level: string, text: string): void;
}

export type Settings = Required<Omit<ExecutorConfig, "folder" | "log">> &
  Pick<ExecutorConfig, "folder" | "log">;

const defaults = {
  maxConcurrentTasks: 10,
  timeoutMs: 30_000,
  memoryBytes: 512 * 2 ** 20,
  cpuMs: 30_000,
  outputBytes: 2 ** 20,
  resultCacheSize: 1000,
  workerPoolSize: 4,
  queueSize: 100,
  monitoring: true,
  isolation: ["subprocess", "none"],
  deniedCommands: [],
} as const satisfies ExecutorConfig;

const ranges: { readonly [name: string]: readonly [least: number, most: number] } = {
  maxConcurrentTasks: [1, 4096],
  timeoutMs: [1, 30 * 86_400_000],
  memoryBytes: [2 ** 20, 2 ** 40],
  cpuMs: [1, 30 * 86_400_000],
  outputBytes: [1, 64 * 2 ** 20],
  resultCacheSize: [0, 10_000_000],
  workerPoolSize: [0, 1000],
  queueSize: [1, 10_000_000],
};
const otherNames = ["monitoring", "isolation", "deniedCommands", "folder", "log"];

/** Everything that is wrong, at once. */
export function readSettings(config: ExecutorConfig): Result<Settings> {
  const diagnostics: Diagnostic[] = [];
  const add = (path: string, message: string, remedy: string) =>
    diagnostics.push({ code: "E_CONFIG_VALUE", path, message, remedy });
  for (const [name, value] of Object.entries(config)) {
    const range = ranges[name];
    if (value === undefined || otherNames.includes(name)) continue;
    if (range === undefined) {
      const known = [...Object.keys(ranges), ...otherNames].join(", ");
      add(name, "is not known", `Known: ${known}.`);
    } else if (!Number.isInteger(value) || value < range[0] || value > range[1]) {
      add(
        name,
        `must be a whole number from ${range[0]} to ${range[1]}`,
        "Leave it out for the default.",
      );
    }
  }
  const { isolation = defaults.isolation } = config;
  if (isolation.length === 0) add("isolation", "names no level", "Leave it out for the default.");
  for (const [index, level] of isolation.entries()) {
    if (sandboxLevels.includes(level)) continue;
    add(`isolation[${index}]`, "is no level", `Choose of ${sandboxLevels.join(", ")}.`);
  }
  if (diagnostics.length > 0) return { ok: false, diagnostics };
  const given = Object.fromEntries(
    Object.entries(config).filter(([, value]) => value !== undefined),
  );
  return { ok: true, value: { ...defaults, ...given } };
}
