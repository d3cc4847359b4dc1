// A store with a memory for ends: what ended lately is answered without asking the database, from this
// process or from Redis, and who waits for an end hears of it at once, whichever master it came to.
// Only finished records are remembered, since those never change; the truth stays in the store.
import type { CancelledBy } from "../../../protocol/outcome.ts";
import type { Clock, Logger } from "../../clock.ts";
import type { Snippet, SnippetEnd, SnippetRecord } from "../snippet.ts";
import { RecentEnds } from "./recent-ends.ts";
import { RedisCache } from "./redis-cache.ts";
import type {
  Claim,
  Inserted,
  NewSnippet,
  QueueItem,
  SnippetQuery,
  SnippetStore,
  SnippetSummary,
} from "./store.ts";

export interface CachedSnippetsOptions {
  /** Most records that are held here; 1,000 when absent. */
  count?: number;
  /** Most bytes of them; 64 MiB when absent. */
  bytes?: number;
  /** With it, records are held there too, for an hour, and ends are told to other masters. */
  redisUrl?: string;
  /** Before every key and channel in Redis. */
  redisPrefix?: string;
  log: Logger;
  /** By which leases are judged; the system's when absent. */
  clock?: Clock;
}

/** What is known of a claim of this process: enough to know its record when it ends. */
interface Claimed {
  snippet: Snippet;
  attempt: number;
  lease: string;
  startedAt?: number;
  /** Its start is on its way to the store: whether it comes before its end is not known. */
  isStarting: boolean;
}

const claimsHeld = 10_000;

export class CachedSnippets implements SnippetStore {
  readonly #store: SnippetStore;
  readonly #recent: RecentEnds;
  readonly #redis: RedisCache | undefined;
  readonly #clock: Clock;
  readonly #claims = new Map<string, Claimed>();
  readonly #leases = new Map<string, number>();
  readonly #listeners = new Set<(id: string) => void>();
  #prunedBefore = Number.NEGATIVE_INFINITY;

  private constructor(
    store: SnippetStore,
    redis: RedisCache | undefined,
    options: CachedSnippetsOptions,
  ) {
    const { count = 1000, bytes = 64 * 1024 * 1024, clock = Date.now } = options;
    this.#store = store;
    this.#redis = redis;
    this.#recent = new RecentEnds({ count, bytes });
    this.#clock = clock;
    redis?.onTold((id) => this.#tellHere(id));
  }

  /** The store is this one's to close. Rejects with StoreDown when the URL of Redis cannot be one. */
  static async open(store: SnippetStore, options: CachedSnippetsOptions): Promise<CachedSnippets> {
    const { redisUrl: url, redisPrefix: prefix, log } = options;
    const redis =
      url === undefined
        ? undefined
        : await RedisCache.open({ url, log, ...(prefix === undefined ? {} : { prefix }) });
    return new CachedSnippets(store, redis, options);
  }

  /**
   * Hears of ends: of those that came here and, with Redis, of those at other masters. A hint: it may
   * come more than once, and what Redis loses is not told. Gives the way to stop it.
   */
  onFinished(listener: (id: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async get(id: string): Promise<SnippetRecord | undefined> {
    const held = this.#recent.get(id);
    if (held !== undefined && this.#isKept(held)) return held;
    const shared = await this.#redis?.get(id);
    if (shared !== undefined && this.#isKept(shared)) {
      this.#recent.put(shared);
      return shared;
    }
    const record = await this.#store.get(id);
    if (record?.end !== undefined) this.#remember(record);
    else this.#recent.delete(id);
    return record;
  }

  async claim(id: string, by: { master: string; boot: string }): Promise<Claim> {
    const claim = await this.#store.claim(id, by);
    if (claim.kind === "claimed") {
      const { snippet, attempt } = claim;
      this.#claims.set(id, { snippet, attempt, lease: leaseOf(by), isStarting: false });
      for (const oldest of this.#claims.keys()) {
        if (this.#claims.size <= claimsHeld) break;
        this.#claims.delete(oldest);
      }
    } else if (claim.kind === "finished") this.#tellHere(id); // the claim itself may have ended it
    return claim;
  }

  async started(id: string, attempt: number, at: number): Promise<void> {
    const claimed = this.#claims.get(id);
    if (claimed?.attempt !== attempt) return await this.#store.started(id, attempt, at);
    claimed.isStarting = true;
    await this.#store.started(id, attempt, at);
    claimed.startedAt = at;
    claimed.isStarting = false;
  }

  async release(id: string, attempt: number): Promise<boolean> {
    this.#claims.delete(id);
    return await this.#store.release(id, attempt);
  }

  async finish(id: string, attempt: number, end: SnippetEnd): Promise<boolean> {
    const claimed = this.#claims.get(id);
    const isFirst = await this.#store.finish(id, attempt, end);
    this.#claims.delete(id);
    if (!isFirst) return false;
    if (claimed?.attempt === attempt && !claimed.isStarting && this.#lives(claimed.lease)) {
      this.#remember(recordOf(claimed, end));
    }
    this.#tell(id);
    return true;
  }

  async cancel(
    id: string,
    by: CancelledBy,
    now: number,
  ): Promise<"cancelled" | "requested" | "over" | "unknown"> {
    const how = await this.#store.cancel(id, by, now);
    if (how === "cancelled") this.#tell(id);
    return how;
  }

  async renewLease(master: string, boot: string, untilMs: number): Promise<void> {
    await this.#store.renewLease(master, boot, untilMs);
    this.#leases.set(leaseOf({ master, boot }), untilMs);
  }

  async prune(finishedBefore: number, limit: number): Promise<number> {
    this.#prunedBefore = Math.max(this.#prunedBefore, finishedBefore);
    return await this.#store.prune(finishedBefore, limit);
  }

  async close(): Promise<void> {
    await this.#store.close();
    await this.#redis?.close();
  }

  // ---- what needs no memory ----

  insert(snippets: readonly NewSnippet[], options: { isPublished: boolean }): Promise<Inserted[]> {
    return this.#store.insert(snippets, options);
  }

  markPublished(ids: readonly string[]): Promise<void> {
    return this.#store.markPublished(ids);
  }

  unpublished(limit: number): Promise<QueueItem[]> {
    return this.#store.unpublished(limit);
  }

  queued(after: string | undefined, limit: number): Promise<QueueItem[]> {
    return this.#store.queued(after, limit);
  }

  cancelAsked(master: string): Promise<string[]> {
    return this.#store.cancelAsked(master);
  }

  list(query: SnippetQuery): Promise<SnippetSummary[]> {
    return this.#store.list(query);
  }

  depths(): Promise<{ [language: string]: { count: number; oldestAt: number } }> {
    return this.#store.depths();
  }

  dueCallbacks(now: number, limit: number): Promise<{ id: string; url: string; tries: number }[]> {
    return this.#store.dueCallbacks(now, limit);
  }

  callbackTried(id: string, next: number | undefined): Promise<void> {
    return this.#store.callbackTried(id, next);
  }

  abandoned(now: number, limit: number): Promise<QueueItem[]> {
    return this.#store.abandoned(now, limit);
  }

  // ---- within ----

  #remember(record: SnippetRecord): void {
    if (!this.#isKept(record)) return;
    this.#recent.put(record);
    this.#redis?.put(record);
  }

  /** What was pruned meanwhile, the store knows better. */
  #isKept(record: SnippetRecord): boolean {
    return (record.end?.finishedAt ?? 0) >= this.#prunedBefore;
  }

  /** While its lease holds, nobody else can have claimed it since. */
  #lives(lease: string): boolean {
    return this.#clock() < (this.#leases.get(lease) ?? 0);
  }

  #tell(id: string): void {
    this.#redis?.tell(id);
    this.#tellHere(id);
  }

  #tellHere(id: string): void {
    for (const listener of [...this.#listeners]) listener(id);
  }
}

/** As the store has it now. */
function recordOf({ snippet, attempt, startedAt }: Claimed, end: SnippetEnd): SnippetRecord {
  const began = startedAt ?? end.facts.startedAt;
  return {
    snippet,
    state: "finished",
    attempt,
    ...(began === undefined ? {} : { startedAt: began }),
    // Copies: the bytes may be the caller's to use again, or pieces of a much larger buffer.
    end: {
      ...end,
      stdout: new Uint8Array(end.stdout),
      stderr: new Uint8Array(end.stderr),
      files: end.files.map((file) => ({ ...file, content: new Uint8Array(file.content) })),
    },
  };
}

function leaseOf({ master, boot }: { master: string; boot: string }): string {
  return JSON.stringify([master, boot]);
}
