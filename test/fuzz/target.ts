// What a target of the fuzzer is: something that eats bytes, and the promises that it must keep
// while it does. A promise that is broken is a throw.
import type { Random } from "./engine/random.ts";

export interface Target {
  /** Sources whose coverage guides; nothing: inputs are only mutated. */
  covers?: RegExp;
  /** One input may take so long; the watchdog ends the process then. */
  boundMs?: number;
  /** Inputs are cut to this. */
  maxBytes?: number;
  /** Texts that are spliced in. */
  dictionary?: readonly string[];
  /** Inputs to begin with, beside those of the corpus. */
  seeds?(): readonly (Buffer | string)[];
  /** Structure-aware; mutation of bytes and of JSON trees when absent or when it says undefined. */
  mutate?(input: Buffer, random: Random, other: Buffer): Buffer | undefined;
  run(input: Buffer): void | Promise<void>;
  /** Between batches: is whatever served the inputs still as it was? */
  check?(): void | Promise<void>;
  close?(): void | Promise<void>;
  /** False where time says nothing about the code: no search for quadratic time. */
  grows?: false;
}

export type OpenTarget = () => Target | Promise<Target>;

/** A target that cannot be had on this machine says why. */
export class Missing extends Error {}

export class Broken extends Error {}

export function must(holds: boolean, sentence: string): asserts holds {
  if (!holds) throw new Broken(sentence);
}

export function shown(value: unknown): string {
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? String(value));
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}
