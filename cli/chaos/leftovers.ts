// What must not be there when agent and master of a box have ended: processes, sockets, folders in
// shared memory, control groups, mounts.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { processesOf } from "./processes.ts";

export interface BoxTraces {
  /** NAME=value in the environment of every process. */
  mark: string;
  /** Stands in every name outside of the box's folder. */
  tag: string;
  dir: string;
  runtimeDir: string;
}

/** Processes may take a moment to be gone; the rest is judged at once. */
export async function leftovers({ mark, tag, dir, runtimeDir }: BoxTraces): Promise<string[]> {
  let living = processesOf(mark, tag);
  for (let tries = 0; living.length > 0 && tries < 250; tries += 1) {
    await delay(20);
    living = processesOf(mark, tag);
  }
  const named = (folder: string) =>
    (existsSync(folder) ? readdirSync(folder) : []).filter((name) => name.includes(tag));
  const mounts = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
  return [
    ...living.map(({ pid, role, command }) => `process ${pid} (${role}): ${command}`),
    ...readdirSync(runtimeDir).map((name) => `in the runtime folder: ${name}`),
    ...named("/dev/shm").map((name) => `shared memory: /dev/shm/${name}`),
    ...["/run", "/tmp"].flatMap((folder) => named(folder).map((name) => `${folder}/${name}`)),
    ...mounts.filter((line) => line.includes(dir) || line.includes(tag)).map((m) => `mount: ${m}`),
    ...groupsNamed("/sys/fs/cgroup", tag).map((path) => `control group: ${path}`),
  ];
}

function groupsNamed(folder: string, tag: string, depth = 0): string[] {
  if (depth > 6 || !existsSync(folder)) return [];
  const found: string[] = [];
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue;
    const path = join(folder, entry.name);
    if (entry.name.includes(tag)) found.push(path);
    else found.push(...groupsNamed(path, tag, depth + 1));
  }
  return found;
}
