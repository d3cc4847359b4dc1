// What the tests of isolation share: a folder of their own below /tmp, kinds and limits, one
// process's story in a box, and a look at what is left afterwards.
import { chmodSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Box, BoxKind, BoxLevel, BoxLimits } from "../../agent/exec/isolation/box.ts";
import type { ProcessEnd, ProcessSpec } from "../../agent/exec/launcher/process.ts";

export const root = resolve(import.meta.dirname, "../..");
export const isRoot = process.getuid?.() === 0;
const MiB = 2 ** 20;

export function newFolder(t: { teardown(done: () => unknown): unknown }): string {
  const folder = realpathSync(mkdtempSync("/tmp/edgedag-iso-"));
  // Users of boxes pass through it.
  chmodSync(folder, 0o711);
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export function kindOf(level: BoxLevel, more: Partial<BoxKind> = {}): BoxKind {
  return { level, language: "shell", network: false, mounts: [], syscalls: [], ...more };
}

export const smallLimits: BoxLimits = {
  memoryBytes: 256 * MiB,
  pids: 64,
  diskBytes: 16 * MiB,
};

export interface BoxStory {
  end: ProcessEnd;
  stdout: string;
  stderr: string;
}

/** Runs one process in a box to its end. */
export async function runIn(
  box: Box,
  argv: string[],
  more: Partial<ProcessSpec> = {},
): Promise<BoxStory> {
  const { promise, resolve } = Promise.withResolvers<BoxStory>();
  const chunks = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  box.spawn(
    { argv, env: box.env, cwd: box.inside.work, graceMs: 0, ...more },
    {
      started: () => {},
      output: (stream, bytes) => chunks[stream].push(Buffer.from(bytes)),
      mark: () => {},
      ended: (end) =>
        resolve({
          end,
          stdout: Buffer.concat(chunks.stdout).toString(),
          stderr: Buffer.concat(chunks.stderr).toString(),
        }),
    },
  );
  return await promise;
}

/** Processes whose command line holds `word`. */
export function processesWith(word: string): number[] {
  const found: number[] = [];
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue;
    try {
      const line = readFileSync(join("/proc", name, "cmdline"), "utf8");
      if (line.includes(word)) found.push(Number(name));
    } catch {
      // It has ended since.
    }
  }
  return found;
}
