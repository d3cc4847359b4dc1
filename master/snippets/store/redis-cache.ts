// Finished records in Redis, and the word that a snippet has ended, from one master to the others. It is
// a cache and a hint only: Redis away or slow is the same as Redis empty, within some milliseconds.
import { randomBytes } from "node:crypto";
import { createClient, RESP_TYPES } from "redis";
import type { Logger } from "../../clock.ts";
import type { SnippetRecord } from "../snippet.ts";
import { Circuit } from "./circuit.ts";
import { bytesOf, recordFrom } from "./record-bytes.ts";
import { StoreDown } from "./store.ts";

export interface RedisCacheOptions {
  /** redis://user:password@host:port/0, or rediss:// */
  url: string;
  log: Logger;
  /** Before every key and channel; "edgedag:" when absent. */
  prefix?: string;
  /** How long a record is kept there. */
  ttlMs?: number;
  /** How long a caller waits for Redis. */
  timeoutMs?: number;
}

const defaults = { prefix: "edgedag:", ttlMs: 3_600_000, timeoutMs: 50 };
/** Nobody waits for what is put there. */
const putTimeoutMs = 2000;
/** Larger ones are read from the store. */
const largestBytes = 4 * 1024 * 1024;
const underWayBytes = 16 * 1024 * 1024;
const startMs = 1000;
const closeMs = 500;

type Client = ReturnType<typeof makeClient>;

export class RedisCache {
  readonly #options: Required<RedisCacheOptions>;
  readonly #client: Client;
  readonly #subscriber: Client;
  readonly #circuit = new Circuit();
  readonly #name = randomBytes(8).toString("hex");
  readonly #listeners = new Set<(id: string) => void>();
  #toTell: string[] = [];
  #underWay = 0;
  #lastProblem = "";

  private constructor(options: RedisCacheOptions) {
    this.#options = { ...defaults, ...options };
    this.#client = makeClient(options.url);
    this.#subscriber = makeClient(options.url);
    for (const client of [this.#client, this.#subscriber]) {
      client.on("error", (error: Error) => this.#problem(error));
    }
  }

  /**
   * Waits a moment for the connection; without one it goes on trying, and is empty meanwhile. Rejects
   * with StoreDown only when the URL cannot be one.
   */
  static async open(options: RedisCacheOptions): Promise<RedisCache> {
    const isUrl = URL.canParse(options.url);
    if (!isUrl || !["redis:", "rediss:"].includes(new URL(options.url).protocol)) {
      throw new StoreDown(
        "the URL of Redis cannot be read",
        "Give REDIS_URL the form redis://user:password@host:port, or leave it out.",
      );
    }
    const cache = new RedisCache(options);
    // Resolves when the first connection stands, however late that is.
    const begun = Promise.all([cache.#client.connect(), cache.#subscribe()]).catch(() => {});
    await within(startMs, begun);
    return cache;
  }

  /** Undefined: it is not there, or Redis does not answer in time. Never rejects. */
  async get(id: string): Promise<SnippetRecord | undefined> {
    const asked = await this.#ask(this.#options.timeoutMs, () => this.#client.get(this.#key(id)));
    return asked instanceof Buffer ? recordFrom(asked, id) : undefined;
  }

  /** In the background; finished ones only. */
  put(record: SnippetRecord): void {
    if (!this.#client.isReady) return;
    const bytes = bytesOf(record);
    if (bytes === undefined || bytes.length > largestBytes) return;
    if (this.#underWay + bytes.length > underWayBytes) return;
    this.#underWay += bytes.length;
    const { ttlMs } = this.#options;
    const expiration = { type: "PX", value: ttlMs } as const;
    void this.#ask(putTimeoutMs, () =>
      this.#client.set(this.#key(record.snippet.id), bytes, { expiration }),
    ).finally(() => {
      this.#underWay -= bytes.length;
    });
  }

  /** Tells the other masters that these have ended: all of one turn in one message. */
  tell(id: string): void {
    if (this.#toTell.push(id) > 1) return;
    setImmediate(() => {
      const message = JSON.stringify({ from: this.#name, ids: this.#toTell });
      this.#toTell = [];
      void this.#ask(putTimeoutMs, () => this.#client.publish(this.#channel, message));
    });
  }

  /** Hears of ends at other masters; gives the way to stop it. */
  onTold(listener: (id: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    for (const client of [this.#client, this.#subscriber]) {
      if (client.isReady)
        await within(
          closeMs,
          client.close().catch(() => {}),
        );
      if (client.isOpen) client.destroy();
    }
  }

  /** Never rejects, and never takes longer than `timeoutMs`. */
  async #ask<T>(timeoutMs: number, ask: () => Promise<T>): Promise<T | undefined> {
    const { log } = this.#options;
    // Without a connection there is nothing to find out.
    if (!this.#client.isReady || !this.#circuit.mayAsk(performance.now())) return undefined;
    const answer = await within(
      timeoutMs,
      ask().then(
        (value) => ({ value }),
        () => undefined,
      ),
    );
    if (answer === undefined) {
      if (this.#circuit.failed(performance.now())) log.warn({}, "Redis is slow: left out for now");
      return undefined;
    }
    if (this.#circuit.succeeded()) log.info({}, "Redis answers again");
    return answer.value;
  }

  async #subscribe(): Promise<void> {
    await this.#subscriber.connect();
    await this.#subscriber.subscribe(this.#channel, (message) => {
      for (const id of this.#idsOf(String(message))) {
        for (const listener of this.#listeners) listener(id);
      }
    });
  }

  /** What others than masters say there is nothing. */
  #idsOf(message: string): string[] {
    try {
      const told: unknown = JSON.parse(message);
      if (typeof told !== "object" || told === null || !("ids" in told) || !("from" in told))
        return [];
      if (told.from === this.#name || !Array.isArray(told.ids)) return [];
      return told.ids.filter((id) => typeof id === "string");
    } catch {
      return [];
    }
  }

  /** Every attempt to connect fails with the same words; no text of these holds the password. */
  #problem(error: Error): void {
    if (error.message === this.#lastProblem) return;
    this.#lastProblem = error.message;
    const { url, log } = this.#options;
    log.warn({}, `Redis at ${new URL(url).host}: ${error.message}`);
  }

  #key(id: string): string {
    return `${this.#options.prefix}snippet:${id}`;
  }

  get #channel(): string {
    return `${this.#options.prefix}finished`;
  }
}

function makeClient(url: string) {
  return createClient({
    url,
    // What cannot be asked now is not asked later.
    disableOfflineQueue: true,
    socket: {
      connectTimeout: 2000,
      reconnectStrategy: (retries) => Math.min(2000, 50 * 2 ** Math.min(retries, 6)),
    },
    commandOptions: { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } },
  });
}

/** Undefined when it takes longer. */
async function within<T>(ms: number, work: Promise<T>): Promise<T | undefined> {
  const timeout = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => timeout.resolve(undefined), ms);
  try {
    return await Promise.race([work, timeout.promise]);
  } finally {
    clearTimeout(timer);
  }
}
