// The last moves of a run, for the message of a bug and for a dump. Recording one stores four
// values in a ring and allocates nothing; text is made only when somebody asks for it.
import { at } from "./at.ts";
import type { Instance, Millis } from "./events.ts";
import type { StateId } from "./task-state.ts";

const length = 256; // a power of two: the ring's index is a mask

export class Story {
  readonly #times = new Float64Array(length);
  readonly #instances = new Int32Array(length);
  readonly #from: StateId[] = new Array<StateId>(length).fill("waiting");
  readonly #to: StateId[] = new Array<StateId>(length).fill("waiting");
  #count = 0;

  record(now: Millis, instance: Instance, from: StateId, to: StateId): void {
    const place = this.#count & (length - 1);
    this.#times[place] = now;
    this.#instances[place] = instance;
    this.#from[place] = from;
    this.#to[place] = to;
    this.#count += 1;
  }

  /** Oldest first, as `<time> <task key> <from> -> <to>`. */
  lines(keyOf: (instance: Instance) => string): string[] {
    const lines: string[] = [];
    for (let n = Math.max(0, this.#count - length); n < this.#count; n += 1) {
      const place = n & (length - 1);
      const key = keyOf(at(this.#instances, place));
      const move = `${this.#from[place]} -> ${this.#to[place]}`;
      lines.push(`${this.#times[place]} ${key} ${move}`);
    }
    return lines;
  }
}
