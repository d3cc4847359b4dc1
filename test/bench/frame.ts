// The frame of every benchmark: contenders take turns in the same run, so that a busy moment of the
// machine meets all of them; what counts is the median of the rounds, with its spread. A row prints
// its progress on stderr and, last, one line of JSON on stdout that scripts/bench.ts reads.
import { performance } from "node:perf_hooks";

export interface Contender {
  name: string;
  /** Ours is compared with every other one; the first is the one that the goal is about. */
  isOurs?: true;
  /** One round; gives the figure in the question's unit. */
  round(): number | Promise<number>;
  /** Keeps processors busy even between its rounds: it begins when the others have ended. */
  isBusy?: true;
  /** After the last round. */
  end?(): Promise<void>;
}

export interface Question {
  question: string;
  unit: string;
  better: "less" | "more";
  goal?: number;
  /** What is switched on while ours is measured. */
  on?: string;
  rounds: number;
  contenders: readonly Contender[];
  /** Rounds before the ones that count: they warm caches and compilers. */
  warmUps?: number;
}

export interface Figure {
  name: string;
  isOurs: boolean;
  samples: number[];
}

export interface Answer {
  question: string;
  unit: string;
  better: "less" | "more";
  goal?: number;
  on?: string;
  figures: Figure[];
  /** Peers that are not on this machine or failed, each with the reason. */
  absent: string[];
  notes: string[];
}

/** What a row prints. */
export interface RowResult {
  answers: Answer[];
}

/** Small sizes and few rounds: to see that a row works, not to quote its figures. */
export const isQuick = process.argv.includes("--quick");

export function sized(full: number, quick: number): number {
  return isQuick ? quick : full;
}

/** A peer that fails is left out with its reason; ours must not fail. */
export async function ask(question: Question): Promise<Answer> {
  const { contenders, rounds, warmUps = 1, ...asked } = question;
  const answer: Answer = { ...asked, figures: [], absent: [], notes: [] };
  say(question.question);
  const all = contenders.map((contender) => ({ contender, samples: [] as number[] }));
  const calm = all.filter(({ contender }) => contender.isBusy !== true);
  const busy = all.filter(({ contender }) => contender.isBusy === true);
  const kept = [];
  for (const group of [calm, ...busy.map((one) => [one])]) {
    kept.push(...(await inTurns(group)));
    for (const { contender } of group) await contender.end?.();
  }
  for (const { contender, samples } of kept) {
    answer.figures.push({ name: contender.name, isOurs: contender.isOurs === true, samples });
    say(`  ${contender.name}: ${short(median(samples))} ${question.unit}`);
  }
  return answer;

  async function inTurns(group: typeof all): Promise<typeof all> {
    let left = group;
    for (let round = -warmUps; round < rounds; round += 1) {
      for (const entry of rotated(left, round)) await take(entry, round);
    }
    return left;

    async function take(entry: (typeof all)[number], round: number) {
      const { contender, samples } = entry;
      globalThis.gc?.();
      try {
        const value = await contender.round();
        if (!Number.isFinite(value)) throw new Error(`${value} is no figure`);
        if (round >= 0) samples.push(value);
      } catch (error) {
        if (contender.isOurs) throw error;
        answer.absent.push(`${contender.name} (failed: ${messageOf(error)})`);
        left = left.filter((other) => other !== entry);
      }
    }
  }
}

export function tell(...answers: Answer[]): void {
  const result: RowResult = { answers };
  process.stdout.write(`${JSON.stringify(result)}\n`);
}

export function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Milliseconds that it takes. */
export async function timed(work: () => unknown): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2;
}

/** Three significant digits. */
export function short(value: number): string {
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString("en-US");
  return String(Number(value.toPrecision(3)));
}

export function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n", 1)[0] ?? "";
}

/** No contender is always the one behind the same other. */
function rotated<T>(list: readonly T[], by: number): T[] {
  const at = list.length === 0 ? 0 : (by + list.length) % list.length;
  return [...list.slice(at), ...list.slice(0, at)];
}
