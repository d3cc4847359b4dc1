// What holds for every target after every input: prototypes are as they were. And what holds over
// many inputs: memory does not grow.
import { must } from "../target.ts";

const watched: readonly (readonly [string, object])[] = [
  ["Object.prototype", Object.prototype],
  ["Array.prototype", Array.prototype],
  ["Function.prototype", Function.prototype],
  ["String.prototype", String.prototype],
  ["Number.prototype", Number.prototype],
  ["Promise.prototype", Promise.prototype],
  ["Object", Object],
  ["Array", Array],
];

type Picture = (readonly [PropertyKey, PropertyDescriptor | undefined])[];

function picture(of: object): Picture {
  return Reflect.ownKeys(of).map((key) => [key, Object.getOwnPropertyDescriptor(of, key)] as const);
}

export class PrototypeGuard {
  readonly #counts = watched.map(([, of]) => Reflect.ownKeys(of).length);
  readonly #pictures = watched.map(([, of]) => picture(of));

  /** Cheap: after every input. */
  quick(): void {
    for (const [i, [name, of]] of watched.entries()) {
      must(Reflect.ownKeys(of).length === this.#counts[i], `${name} has another member`);
    }
    must(Object.getPrototypeOf({}) === Object.prototype, "objects have another prototype");
    must(Object.getPrototypeOf([]) === Array.prototype, "lists have another prototype");
    must(Object.getPrototypeOf(Object.prototype) === null, "Object.prototype has a prototype");
  }

  /** Every member is the same one. */
  full(): void {
    for (const [i, [name, of]] of watched.entries()) {
      for (const [key, was] of this.#pictures[i] ?? []) {
        const is = Object.getOwnPropertyDescriptor(of, key);
        const same =
          is?.value === was?.value &&
          is?.get === was?.get &&
          is?.set === was?.set &&
          is?.writable === was?.writable;
        must(same, `${name}.${String(key)} has changed`);
      }
    }
  }
}

const mebibyte = 2 ** 20;
const heapGrowthBytes = 48 * mebibyte;
const rssBytes = 1536 * mebibyte;

/** Needs --expose-gc. */
export class MemoryGuard {
  #base: number | undefined;

  /** `ownBytes`: what the fuzzer itself has kept since. */
  async check(ownBytes: number): Promise<{ heapBytes: number; rssBytes: number }> {
    globalThis.gc?.();
    await new Promise((resolve) => setImmediate(resolve));
    globalThis.gc?.();
    const { heapUsed, external, rss } = process.memoryUsage();
    const held = heapUsed + external - ownBytes;
    this.#base ??= held;
    const growth = held - this.#base;
    must(growth < heapGrowthBytes, `memory grew by ${Math.round(growth / mebibyte)} MiB`);
    must(rss < rssBytes, `the process has ${Math.round(rss / mebibyte)} MiB`);
    return { heapBytes: held, rssBytes: rss };
  }
}
