// Lets a line pass unless ones like it came too often lately, so that a fault that repeats for days
// neither hides the rest of the log nor wears out a flash disk. Lines are alike when they differ only
// in digits. Pure: the clock comes from outside.

export class RepeatLimit {
  readonly #seen = new Map<string, Bucket>();

  /** The number of lines like it that were held back since the last one passed; undefined: hold back. */
  pass(text: string, now: number): number | undefined {
    const key = text.slice(0, 200).replace(/\d+/g, "0");
    const bucket = this.#bucket(key, now);
    bucket.tokens = Math.min(burst, bucket.tokens + (now - bucket.at) / refillMs);
    bucket.at = now;
    if (bucket.tokens < 1) {
      bucket.held += 1;
      return undefined;
    }
    bucket.tokens -= 1;
    const { held } = bucket;
    bucket.held = 0;
    return held;
  }

  #bucket(key: string, now: number): Bucket {
    const known = this.#seen.get(key);
    if (known !== undefined) {
      // Moved to the end: the first one is the least recently used.
      this.#seen.delete(key);
    } else if (this.#seen.size >= mostKinds) {
      const oldest = this.#seen.keys().next();
      if (!oldest.done) {
        this.#seen.delete(oldest.value);
      }
    }
    const bucket = known ?? { tokens: burst, at: now, held: 0 };
    this.#seen.set(key, bucket);
    return bucket;
  }
}

interface Bucket {
  tokens: number;
  at: number;
  held: number;
}

const burst = 20;
const refillMs = 1_000;
const mostKinds = 200;
