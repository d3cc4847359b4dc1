// The last samples of a running attempt: a ring, so that an attempt of days costs as much memory as
// one of minutes. Written by the attempt, read by whoever asks.
import type { Usage } from "../../launcher/process.ts";
import type { Samples } from "../sandbox-spec.ts";

export const maxSamples = 1_000;

export class SampleRing {
  readonly #samples: Usage[] = [];
  /** Where the oldest stands, once the ring is full. */
  #next = 0;

  add(usage: Usage): void {
    if (this.#samples.length < maxSamples) {
      this.#samples.push(usage);
      return;
    }
    this.#samples[this.#next] = usage;
    this.#next = (this.#next + 1) % maxSamples;
  }

  get last(): Usage | undefined {
    return this.#samples.at(this.#next - 1);
  }

  /** Oldest first; a copy. */
  list(): Samples {
    return [...this.#samples.slice(this.#next), ...this.#samples.slice(0, this.#next)];
  }
}
