// Limits and usage in the words of the launcher: conversion and sums. Pure; used by the makers.
import type {
  Arming,
  ProcessEnd,
  ProcessSpec,
  ResourceLimits,
  Usage,
} from "../launcher/process.ts";
import { BoxError, type BoxFolder, type BoxLimits } from "./box.ts";

export function resourceLimits({ memoryBytes, cpuTimeMs, cpus, pids }: BoxLimits): ResourceLimits {
  const limits: ResourceLimits = { memoryBytes, pids };
  if (cpuTimeMs !== undefined) limits.cpuTimeMs = cpuTimeMs;
  if (cpus !== undefined) limits.cpus = cpus;
  return limits;
}

/** `errno`: why the launcher could not make the limits hold. */
export function checkArmed(errno: string | undefined): void {
  // It has ended, which its end tells.
  if (errno === undefined || errno === "ESRCH") return;
  throw new BoxError(
    `the limits of a sandbox could not be set (${errno})`,
    "Run edgedag doctor: it says whether this machine has control groups that the agent may use.",
  );
}

/** What each process inside is limited to. */
export function processRlimits(
  limits: BoxLimits,
  folder: BoxFolder,
): NonNullable<Arming["rlimits"]> {
  const rlimits: { name: "core" | "nofile" | "fsize"; soft: number; hard: number }[] = [
    { name: "core", soft: 0, hard: 0 },
  ];
  const { openFiles, fileSizeBytes = Number.POSITIVE_INFINITY, diskBytes } = limits;
  if (openFiles !== undefined) rlimits.push({ name: "nofile", soft: openFiles, hard: openFiles });
  // A folder without a size of its own: no file at least may be larger than all of it.
  const fsize = folder.uid === undefined ? Math.min(fileSizeBytes, diskBytes) : fileSizeBytes;
  if (Number.isFinite(fsize)) rlimits.push({ name: "fsize", soft: fsize, hard: fsize });
  return rlimits;
}

/** The stricter limits of the box, with what the process asked for itself. */
export function mergeRlimits(
  box: NonNullable<Arming["rlimits"]>,
  own: ProcessSpec["rlimits"],
): NonNullable<Arming["rlimits"]> {
  const merged = new Map(box.map((limit) => [limit.name, limit]));
  for (const limit of own ?? []) {
    const known = merged.get(limit.name);
    const soft = Math.min(limit.soft, known?.soft ?? limit.soft);
    const hard = Math.min(limit.hard, known?.hard ?? limit.hard);
    merged.set(limit.name, { name: limit.name, soft, hard });
  }
  return [...merged.values()];
}

/** Of processes that run beside or after each other. */
export function sumUsage(parts: readonly Usage[]): Usage | undefined {
  const [first, ...rest] = parts;
  if (first === undefined) return undefined;
  const sum: Usage = { ...first };
  for (const part of rest) {
    sum.at = Math.max(sum.at, part.at);
    for (const name of added) {
      const value = part[name];
      if (value !== undefined) sum[name] = (sum[name] ?? 0) + value;
    }
    for (const name of peaks) {
      const value = part[name];
      if (value !== undefined) sum[name] = Math.max(sum[name] ?? 0, value);
    }
    if (part.exceeded !== undefined) sum.exceeded = part.exceeded;
  }
  return sum;
}

/** What a process tree had used when it ended. */
export function usageOfEnd(end: ProcessEnd): Usage | undefined {
  if (end.kind !== "exited") return undefined;
  const { facts } = end;
  const usage: Usage = { at: (facts.startedAt ?? 0) + (facts.wallMs ?? 0) };
  const kept = [
    "cpuUserMs",
    "cpuSystemMs",
    "peakMemoryBytes",
    "peakPids",
    "readBytes",
    "writtenBytes",
  ] as const;
  for (const name of kept) {
    const value = facts[name];
    if (value !== undefined) usage[name] = value;
  }
  return usage;
}

const added = [
  "cpuUserMs",
  "cpuSystemMs",
  "memoryBytes",
  "pids",
  "readBytes",
  "writtenBytes",
] as const;
const peaks = ["peakMemoryBytes", "peakPids"] as const;
