// Counts wrong secrets by the address that they came from. An address that has shown too many
// different ones is not listened to for a while, whatever it shows: guessing has a pace. One wrong
// secret that is shown again and again (a device with an old token behind the same router as others)
// is only slowed down itself. Pure: the clock comes with each call.
import { type Rate, RateLimit } from "./rate-limit.ts";

/** Different wrong secrets that are remembered of an address: more than it may show are not needed. */
const mostRemembered = 1000;
const mostAddresses = 10_000;

export class FailedAttempts {
  readonly #byAddress: RateLimit;
  readonly #bySecret: RateLimit;
  readonly #perMs: number;
  readonly #count: number;
  /** Digests of the wrong secrets of each address, with when the oldest was shown. */
  readonly #shown = new Map<string, { since: number; digests: Set<string> }>();

  constructor(rate: Rate) {
    this.#byAddress = new RateLimit(rate);
    this.#bySecret = new RateLimit(rate);
    this.#perMs = rate.perMs;
    this.#count = Math.min(rate.count, mostRemembered);
  }

  /** Before the secret is looked at. 0: look; else milliseconds until one would. */
  blockedMs(address: string, now: number): number {
    return this.#byAddress.peek(networkOf(address), now);
  }

  /** It was wrong. 0: say so; else milliseconds for which this secret needs not be shown again. */
  failed(address: string, digest: Uint8Array, now: number): number {
    const network = networkOf(address);
    const secret = Buffer.from(digest).toString("base64");
    if (this.#isNew(network, secret, now)) this.#byAddress.take(network, now);
    return this.#bySecret.take(`${network} ${secret}`, now);
  }

  #isNew(network: string, secret: string, now: number): boolean {
    let shown = this.#shown.get(network);
    if (shown === undefined || now - shown.since >= this.#perMs) {
      if (this.#shown.size >= mostAddresses) this.#forget(now);
      shown = { since: now, digests: new Set() };
      this.#shown.set(network, shown);
    }
    if (shown.digests.has(secret)) return false;
    if (shown.digests.size < this.#count) shown.digests.add(secret);
    return true;
  }

  #forget(now: number): void {
    for (const [network, { since }] of this.#shown) {
      if (now - since >= this.#perMs) this.#shown.delete(network);
    }
    // All of them are fresh: an attack from everywhere. What is remembered must not grow with it.
    if (this.#shown.size >= mostAddresses) this.#shown.clear();
  }
}

/** Of IPv6 the network: whoever has one address has 2^64. */
export function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!address.includes(":")) return address;
  const [head = "", tail] = address.split("%")[0]?.split("::") ?? [];
  const before = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - before.length - after.length);
  const groups = [...before, ...Array<string>(zeros).fill("0"), ...after];
  return groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(":");
}
