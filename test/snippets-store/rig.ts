// Snippets and ends for the tests of stores, and what all of these tests ask for.

import { createHash } from "node:crypto";
import type { Logger } from "../../master/clock.ts";
import type { Snippet, SnippetEnd } from "../../master/snippets/snippet.ts";
import type { SnippetStore } from "../../master/snippets/store/store.ts";
import type { TaskAttributes } from "../../protocol/dag.ts";

export const here = { master: "here", boot: "first" };
export const there = { master: "there", boot: "first" };

let made = 0;

/** Sorts after all that were made before in this process. */
export function newId(prefix = ""): string {
  made++;
  return `${prefix}${String(made).padStart(9, "0")}`;
}

export function task(more: Partial<TaskAttributes> = {}): TaskAttributes {
  return {
    run: { kind: "python", code: "def main():\n    return 1\n", function: "main" },
    graceMs: 5000,
    retries: { limit: 0, lost: 2, backoffMs: 0, factor: 1, maxBackoffMs: 0, jitter: 0 },
    priority: 5,
    isolation: "seccomp",
    limits: { memoryBytes: 2 ** 28 },
    ...more,
  };
}

export function snippet(more: Partial<Snippet> = {}): Snippet {
  return {
    id: newId(),
    owner: "ann",
    language: "python",
    priority: 5,
    task: task(),
    files: [],
    levels: ["seccomp", "docker"],
    createdAt: 1_795_440_000_000 + made,
    ...more,
  };
}

export function end(more: Partial<SnippetEnd> = {}): SnippetEnd {
  return {
    outcome: { kind: "succeeded" },
    facts: { startedAt: 1_795_440_001_000.25, wallMs: 12.5, exitCode: 0, isolation: "seccomp" },
    stdout: Buffer.from("out\n"),
    stderr: new Uint8Array(),
    files: [],
    refused: [],
    node: "edge-1",
    finishedAt: 1_795_440_002_000,
    ...more,
  };
}

/** Kept and queued. */
export async function insert(store: SnippetStore, more: Partial<Snippet> = {}): Promise<Snippet> {
  const one = snippet(more);
  await store.insert([{ snippet: one }], { isPublished: true });
  return one;
}

/** Kept, claimed by `here`, and ended. */
export async function finished(
  store: SnippetStore,
  more: Partial<Snippet> = {},
  how: Partial<SnippetEnd> = {},
): Promise<Snippet> {
  const one = await insert(store, more);
  const claim = await store.claim(one.id, here);
  if (claim.kind !== "claimed") throw new Error(`not claimed but ${claim.kind}`);
  if (!(await store.finish(one.id, claim.attempt, end(how)))) throw new Error("not finished");
  return one;
}

export async function live(store: SnippetStore, by: { master: string; boot: string }) {
  await store.renewLease(by.master, by.boot, Date.now() + 60_000);
}

/** Its lease is over. */
export async function dead(store: SnippetStore, by: { master: string; boot: string }) {
  await store.renewLease(by.master, by.boot, Date.now() - 60_000);
}

/** Bytes as their digest, whatever class holds them: tap compares byte by byte, which takes seconds. */
export function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) {
    return `${value.length} bytes ${createHash("sha256").update(value).digest("hex")}`;
  }
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  // Not by assignment: a field may be called __proto__.
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, plain(field)]));
}

/** A logger that keeps what it is told. */
export function logOf(): { log: Logger; said: string[] } {
  const said: string[] = [];
  const say = (_fields: object, text: string): void => {
    said.push(text);
  };
  return { log: { debug: say, info: say, warn: say, error: say }, said };
}
