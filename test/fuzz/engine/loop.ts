// The fuzzer of one target: replays its corpus, then mutates what is interesting until the time is
// over. Coverage is looked at once for a batch; only a batch with news is run again one by one.
import { openSync, writeSync } from "node:fs";
import { Broken, must, shown, type Target } from "../target.ts";
import { mutateBytes } from "./bytes.ts";
import type { Kept } from "./corpus.ts";
import { Coverage } from "./coverage.ts";
import { MemoryGuard, PrototypeGuard } from "./guard.ts";
import { Random, streamOf } from "./random.ts";
import type { Figures } from "./report.ts";
import { mutateTree } from "./tree.ts";
import { Watchdog } from "./watchdog.ts";

const batchSize = 24;
const defaultMaxBytes = 8 * 1024;
const memoryEvery = 4000;
const mostKeptBytes = 16 * 2 ** 20;

export interface LoopOptions {
  name: string;
  target: Target;
  corpus: readonly Kept[];
  seed: number;
  /** Ends at whichever comes first. */
  seconds: number;
  runs: number;
  /** The input that is being run, for whoever finds this process dead. */
  currentPath: string;
}

/** An input that broke a promise. */
export class Crash extends Error {
  readonly input: Buffer;
  constructor(input: Buffer, detail: string) {
    super(detail);
    this.input = input;
  }
}

export class Loop {
  readonly #options: LoopOptions;
  readonly #target: Target;
  readonly #random: Random;
  readonly #coverage: Coverage | undefined;
  readonly #watchdog: Watchdog;
  readonly #prototypes = new PrototypeGuard();
  readonly #memory = new MemoryGuard();
  readonly #currentFd: number;
  readonly kept: Buffer[] = [];
  #keptBytes = 0;
  #runs = 0;
  #slowest: { ms: number; input: Buffer }[] = [];
  #heapMiB = 0;
  #rssMiB = 0;

  constructor(options: LoopOptions) {
    this.#options = options;
    this.#target = options.target;
    this.#random = new Random(options.seed, streamOf(options.name));
    const { covers } = options.target;
    this.#coverage = covers === undefined ? undefined : new Coverage(covers);
    this.#watchdog = new Watchdog(options.target.boundMs ?? 10_000);
    this.#currentFd = openSync(options.currentPath, "w");
  }

  async run(): Promise<Figures> {
    const begun = performance.now();
    await this.#look();
    await this.#replay();
    const replayed = this.#runs;
    const until = performance.now() + this.#options.seconds * 1000;
    const most = replayed + this.#options.runs;
    let nextMemory = this.#runs + memoryEvery / 4;
    await this.#look();
    while (performance.now() < until && this.#runs < most) {
      await this.#batch();
      if (this.#runs < nextMemory) continue;
      nextMemory = this.#runs + memoryEvery;
      await this.#look();
    }
    await this.#look();
    const isTimed = this.#options.seconds > 0 && this.#options.runs === Number.MAX_SAFE_INTEGER;
    if (isTimed && this.#target.grows !== false) await this.#findGrowth();
    return {
      target: this.#options.name,
      runs: this.#runs,
      replayed,
      kept: this.kept.length,
      blocks: this.#coverage?.size ?? 0,
      seconds: Math.round((performance.now() - begun) / 100) / 10,
      slowestMs: Math.round(this.#slowest[0]?.ms ?? 0),
      heapMiB: this.#heapMiB,
      rssMiB: this.#rssMiB,
    };
  }

  /** The smallest inputs that together reach all that is reached, and the target's own seeds do not. */
  async distil(): Promise<Buffer[]> {
    const coverage = this.#coverage;
    if (coverage === undefined) return [];
    const have = new Set<string>();
    for (const seed of this.#target.seeds?.() ?? []) {
      coverage.take();
      await this.#one(Buffer.from(seed));
      for (const block of coverage.take()) have.add(block);
    }
    const reached: { input: Buffer; blocks: string[] }[] = [];
    for (const input of this.kept.toSorted((a, b) => a.length - b.length)) {
      coverage.take();
      await this.#one(input);
      reached.push({ input, blocks: coverage.take() });
    }
    const chosen: Buffer[] = [];
    let bytes = 0;
    // Greedy by what is new for each byte of the input.
    while (chosen.length < 90) {
      let best: (typeof reached)[number] | undefined;
      let bestScore = 0;
      for (const one of reached) {
        let fresh = 0;
        for (const block of one.blocks) if (!have.has(block)) fresh++;
        const score = fresh / (40 + one.input.length);
        if (score > bestScore && bytes + one.input.length < 180_000)
          [best, bestScore] = [one, score];
      }
      if (best === undefined) break;
      chosen.push(best.input);
      bytes += best.input.length;
      for (const block of best.blocks) have.add(block);
    }
    return chosen;
  }

  async #replay(): Promise<void> {
    const seeds = (this.#target.seeds?.() ?? []).map((seed) => Buffer.from(seed));
    for (const bytes of [...this.#options.corpus.map((kept) => kept.bytes), ...seeds]) {
      this.#coverage?.take();
      await this.#one(bytes);
      this.#learn(bytes, this.#coverage?.take() ?? []);
    }
    if (this.kept.length === 0) this.kept.push(Buffer.from("0"));
    await this.#check(this.kept);
  }

  async #batch(): Promise<void> {
    const inputs = Array.from({ length: batchSize }, () => this.#mutated());
    this.#coverage?.take();
    for (const input of inputs) await this.#one(input);
    const blocks = this.#coverage?.take() ?? [];
    await this.#check(inputs);
    if (this.#coverage?.hasNew(blocks) !== true) return;
    for (const input of inputs) {
      this.#coverage.take();
      await this.#one(input);
      this.#learn(input, this.#coverage.take());
    }
    // What came only together (a state that is left behind) is known as well now.
    this.#coverage.learn(blocks);
  }

  #learn(input: Buffer, blocks: readonly string[]): void {
    const fresh = this.#coverage === undefined ? 1 : this.#coverage.learn(blocks);
    if (fresh === 0 || this.#keptBytes + input.length > mostKeptBytes) return;
    this.kept.push(input);
    this.#keptBytes += input.length;
  }

  #mutated(): Buffer {
    const random = this.#random;
    // Late finds are tried more often: they lead to where nobody was.
    const at = random.once(2)
      ? random.below(this.kept.length)
      : this.kept.length - 1 - random.small(this.kept.length);
    const input = this.kept[at] ?? Buffer.alloc(0);
    const other = random.pick(this.kept);
    const { dictionary = [], maxBytes = defaultMaxBytes } = this.#target;
    const made =
      (random.once(6) ? undefined : this.#target.mutate?.(input, random, other)) ??
      (random.once(2) ? mutateTree(input, random, other, dictionary) : undefined) ??
      mutateBytes(input, random, other, dictionary);
    return made.subarray(0, maxBytes);
  }

  async #one(input: Buffer): Promise<void> {
    const head = Buffer.allocUnsafe(4);
    head.writeUInt32LE(input.length);
    writeSync(this.#currentFd, Buffer.concat([head, input]), 0, input.length + 4, 0);
    this.#runs++;
    this.#watchdog.begin();
    const begun = performance.now();
    try {
      // Not awaited where nothing is to be awaited: a turn of the loop costs more than most inputs.
      const running = this.#target.run(input);
      if (running !== undefined) await running;
      this.#prototypes.quick();
    } catch (error) {
      throw new Crash(input, detailOf(error));
    } finally {
      this.#watchdog.end();
    }
    const ms = performance.now() - begun;
    const last = this.#slowest.at(-1);
    if (this.#slowest.length < 8 || (last !== undefined && ms > last.ms)) {
      this.#slowest.push({ ms, input });
      this.#slowest.sort((a, b) => b.ms - a.ms);
      this.#slowest.length = Math.min(8, this.#slowest.length);
    }
  }

  async #check(inputs: readonly Buffer[]): Promise<void> {
    try {
      this.#prototypes.full();
      await this.#target.check?.();
    } catch (error) {
      // One of them did it, or all of them together: the last one is as good as any.
      throw new Crash(inputs.at(-1) ?? Buffer.alloc(0), `after a batch: ${detailOf(error)}`);
    }
  }

  async #look(): Promise<void> {
    try {
      const { heapBytes, rssBytes } = await this.#memory.check(this.#keptBytes);
      this.#heapMiB = Math.round(heapBytes / 2 ** 20);
      this.#rssMiB = Math.round(rssBytes / 2 ** 20);
    } catch (error) {
      throw new Crash(
        this.kept.at(-1) ?? Buffer.alloc(0),
        `after ${this.#runs} inputs: ${detailOf(error)}`,
      );
    }
  }

  /** Pieces of the slowest inputs are repeated: time must not grow with the square of the size. */
  async #findGrowth(): Promise<void> {
    const until = performance.now() + Math.min(5000, this.#options.seconds * 250);
    const candidates = [...this.#slowest.map(({ input }) => input), ...this.kept.slice(-8)];
    while (performance.now() < until) {
      const input = this.#random.pick(candidates);
      if (input.length === 0) return;
      const from = this.#random.below(input.length);
      const size = 1 + this.#random.small(Math.min(48, input.length - from));
      const grown = (bytes: number): Buffer => {
        const piece = input.subarray(from, from + size);
        const times = Math.ceil(bytes / piece.length);
        const pieces = Array.from({ length: times }, () => piece);
        return Buffer.concat([input.subarray(0, from), ...pieces, input.subarray(from)]);
      };
      const [small, large] = [grown(16 * 1024), grown(64 * 1024)];
      if ((await this.#timed(large, 1)) < 150) continue;
      // Seen once; is it so again?
      const [smallMs, largeMs] = [await this.#timed(small, 3), await this.#timed(large, 2)];
      if (largeMs < 150 || largeMs < smallMs * 9) continue;
      const ms = `${Math.round(smallMs)} ms for ${small.length} bytes, ${Math.round(largeMs)} ms for ${large.length}`;
      throw new Crash(large, `time grows with the square of the size: ${ms}`);
    }
  }

  /** Of the processor: a busy machine must not look like a slow parser. */
  async #timed(input: Buffer, times: number): Promise<number> {
    let least = Number.POSITIVE_INFINITY;
    for (let i = 0; i < times; i++) {
      const { user, system } = process.cpuUsage();
      await this.#one(input);
      const now = process.cpuUsage();
      least = Math.min(least, (now.user + now.system - user - system) / 1000);
    }
    return least;
  }
}

function detailOf(error: unknown): string {
  if (error instanceof Broken) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : `thrown: ${shown(error)}`;
}

/** Fewer and fewer bytes while it still breaks. */
export async function minimise(
  target: Target,
  crash: Crash,
  milliseconds: number,
): Promise<Buffer> {
  const until = performance.now() + milliseconds;
  let best = crash.input;
  const breaks = async (input: Buffer): Promise<boolean> => {
    try {
      await target.run(input);
      return false;
    } catch {
      return true; // whatever it says now: it is looked at by a person
    }
  };
  if (!(await breaks(best))) return best;
  for (let size = best.length >> 1; size >= 1 && performance.now() < until; size >>= 1) {
    for (let at = 0; at + size <= best.length && performance.now() < until; ) {
      const fewer = Buffer.concat([best.subarray(0, at), best.subarray(at + size)]);
      if (await breaks(fewer)) best = fewer;
      else at += size;
    }
  }
  must(best.length <= crash.input.length, "minimising made it larger");
  return best;
}
