// What the operator lets snippets have: levels, limits where a request names none, and the most that
// it may name. Part of the configuration; pure.
import { type SandboxLevel, sandboxLevels } from "../../protocol/outcome.ts";

/** A limit where nothing is said, and the most that may be asked for. */
export interface Bound {
  fallback: number;
  most: number;
}

export interface SnippetRules {
  /** The preferred one first; all at or above the least. */
  levels: readonly SandboxLevel[];
  timeoutMs: Bound;
  memoryBytes: Bound;
  /** stdout and stderr together. */
  outputBytes: Bound;
  /** Of processor time; undefined: only as it is asked for. */
  cpuMs?: number;
  /** Where the code of a language is looked at before it runs. */
  codePolicy: "off" | "run" | "all";
}

export function levelsFrom(
  preferred: readonly SandboxLevel[],
  least: SandboxLevel,
): readonly SandboxLevel[] {
  return preferred.filter((level) => isAtLeast(level, least));
}

export function isAtLeast(level: SandboxLevel, least: SandboxLevel): boolean {
  return sandboxLevels.indexOf(level) >= sandboxLevels.indexOf(least);
}
