// Inputs on disk: the corpus of a target, and what broke it.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export const corpusRoot = join(import.meta.dirname, "../corpus");

export interface Kept {
  name: string;
  bytes: Buffer;
}

export function readCorpus(target: string, root = corpusRoot): Kept[] {
  const folder = join(root, target);
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .sort()
    .map((name) => ({ name, bytes: readFileSync(join(folder, name)) }));
}

export function nameOf(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex").slice(0, 12);
}

/** Regressions have names of words and stay; all others are replaced. */
export function replaceCorpus(target: string, inputs: readonly Buffer[]): void {
  const folder = join(corpusRoot, target);
  mkdirSync(folder, { recursive: true });
  for (const name of readdirSync(folder)) {
    if (/^[0-9a-f]{12}$/.test(name)) rmSync(join(folder, name));
  }
  for (const bytes of inputs) writeFileSync(join(folder, nameOf(bytes)), bytes);
}
