// The service of snippets: takes them in, keeps them, has them run, and gives what became of them.
// The doors (HTTP, library) speak to this and to nothing behind it. It owns the promise that what it
// has accepted gets exactly one end, whatever is killed; store, broker and dispatcher own their parts.
import { randomBytes } from "node:crypto";
import type { CancelledBy } from "../../protocol/outcome.ts";
import type { Clock, Logger } from "../clock.ts";
import { type Broker, BrokerDown, type Delivery } from "./broker/broker.ts";
import { CallTicket } from "./call-ticket.ts";
import { Dispatcher } from "./dispatcher.ts";
import type { Flight } from "./flight.ts";
import { KeptTicket, type KeptTicketParts } from "./kept-ticket.ts";
import type { SnippetNode } from "./node.ts";
import type { Snippet, SnippetEnd, SnippetRecord } from "./snippet.ts";
import type {
  Inserted,
  NewSnippet,
  QueueItem,
  SnippetQuery,
  SnippetStore,
  SnippetSummary,
} from "./store/store.ts";
import { Waiters } from "./waiters.ts";

export interface SnippetsOptions {
  store: SnippetStore;
  broker: Broker;
  /** Names of the queues. */
  languages: readonly string[];
  /** Tells this master's claims from others'; the same after a restart. */
  master: string;
  /** Most snippets that are kept queued. */
  queueLimit: number;
  /** Most callers that wait for a node at once, and how long each does. */
  callLimit: number;
  callWaitMs: number;
  agingMs: number;
  /** How long ends are kept. */
  retentionMs: number;
  /** Other masters work on the same store: what they do is to be looked up. */
  isShared: boolean;
  clock: Clock;
  log: Logger;
  events?: SnippetEvents;
}

export interface SnippetEvents {
  accepted?(snippet: Snippet): void;
  started?(snippet: Snippet, at: number): void;
  finished?(snippet: Snippet, attempt: number, end: SnippetEnd): void;
  /** A caller found no place in time. */
  busy?(snippet: Snippet): void;
}

/** The queue holds as many as it may. */
export class QueueFull extends Error {
  constructor(message: string) {
    super(message);
    this.name = "QueueFull";
  }
}

export type CallEnd =
  | { kind: "ended"; attempt: number; end: SnippetEnd }
  | { kind: "busy"; detail: string }
  | { kind: "impossible"; detail: string };

const leaseMs = 15_000;
const renewEveryMs = 5_000;
const tidyEveryMs = 60_000;
const pageSize = 500;
/** How long the service's end waits for what is on its way into the store. */
const farewellMs = 2_000;
/** Deliveries of a language that a broker may have under way to this master. */
const window = 64;

export class Snippets {
  readonly #options: SnippetsOptions;
  readonly #dispatcher: Dispatcher;
  readonly #waiters: Waiters;
  readonly #boot = randomBytes(8).toString("hex");
  readonly #closing = new AbortController();
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #ticketParts: KeptTicketParts;
  readonly #publishing = new Set<Promise<void>>();
  #queued = 0;
  #calls = 0;
  #isDraining = false;

  private constructor(options: SnippetsOptions) {
    this.#options = options;
    const { store, master, clock, log, agingMs } = options;
    this.#waiters = new Waiters(store, options.isShared);
    this.#dispatcher = new Dispatcher({ clock, log, agingMs });
    this.#ticketParts = {
      store,
      by: { master, boot: this.#boot },
      clock,
      log,
      signal: this.#closing.signal,
      queued: (change) => {
        this.#queued = Math.max(0, this.#queued + change);
      },
      changed: (id) => this.#waiters.changed(id),
      finished: (snippet, attempt, end) => options.events?.finished?.(snippet, attempt, end),
    };
  }

  /** Takes up what an earlier start left. Rejects when the store does not answer. */
  static async start(options: SnippetsOptions): Promise<Snippets> {
    const snippets = new Snippets(options);
    await snippets.#start();
    return snippets;
  }

  async #start(): Promise<void> {
    const { broker, languages, log } = this.#options;
    await this.#renew();
    await this.#count();
    await broker.start(languages, window, {
      delivered: (delivery) => this.#delivered(delivery),
      lost: (detail) => log.warn({}, `the broker is gone: ${detail}`),
      ready: () => this.#publishLeft(),
    });
    await this.#takeUpAbandoned();
    this.#every(renewEveryMs, async () => {
      await this.#renew();
      await this.#count();
      await this.#takeUpAbandoned();
      await this.#cancelAsked();
      this.#publishLeft();
    });
    this.#every(tidyEveryMs, () => this.#prune());
  }

  // ---- nodes ----

  addNode(node: SnippetNode): void {
    this.#dispatcher.addNode(node);
  }

  removeNode(id: string): void {
    this.#dispatcher.removeNode(id);
  }

  get dispatcher(): Dispatcher {
    return this.#dispatcher;
  }

  // ---- kept snippets ----

  /**
   * Keeps all or none of them; when it resolves they are accepted for good. Rejects with QueueFull or
   * StoreDown.
   */
  async submit(snippets: readonly NewSnippet[]): Promise<Inserted[]> {
    const { store, broker, events, queueLimit } = this.#options;
    if (this.#isDraining) throw new QueueFull("the service is ending");
    if (this.#queued + snippets.length > queueLimit) {
      throw new QueueFull(`the queue is full: it holds ${this.#queued} of at most ${queueLimit}`);
    }
    // Counted before it is stored: requests at the same time must not go beyond the limit together.
    this.#queued += snippets.length;
    let inserted: Inserted[];
    try {
      inserted = await store.insert(snippets, { isPublished: !broker.isExternal });
    } catch (error) {
      this.#queued -= snippets.length;
      throw error;
    }
    if (inserted.some(({ kind }) => kind === "conflict")) {
      this.#queued -= snippets.length;
      return inserted;
    }
    const items: QueueItem[] = [];
    for (const [index, { kind }] of inserted.entries()) {
      const snippet = snippets[index]?.snippet;
      if (kind !== "new" || snippet === undefined) this.#queued -= 1;
      else {
        items.push(itemOf(snippet));
        events?.accepted?.(snippet);
      }
    }
    // They are kept; should the broker be away, they are told to it when it is back.
    if (items.length > 0) this.#publish(items);
    return inserted;
  }

  async get(id: string): Promise<SnippetRecord | undefined> {
    return await this.#options.store.get(id);
  }

  async list(query: SnippetQuery): Promise<SnippetSummary[]> {
    return await this.#options.store.list(query);
  }

  /** The record once it has finished, or as it is when the time is over or the signal aborts. */
  async wait(id: string, waitMs: number, signal?: AbortSignal): Promise<SnippetRecord | undefined> {
    return await this.#waiters.wait(id, waitMs, signal);
  }

  /** What runs here, for who watches its output. */
  flightOf(id: string): Flight | undefined {
    return this.#dispatcher.flightOf(id);
  }

  /** Hears of a start or an end of this snippet; gives the way to stop it. */
  onChange(id: string, listener: () => void): () => void {
    return this.#waiters.listen(id, listener);
  }

  /** Another master, or this one, has kept an end. */
  heardOf(id: string): void {
    this.#waiters.changed(id);
  }

  async cancel(
    id: string,
    by: CancelledBy,
  ): Promise<"cancelled" | "requested" | "over" | "unknown"> {
    const { store, clock } = this.#options;
    const how = await store.cancel(id, by, clock());
    if (how === "cancelled") {
      // Its delivery finds it finished.
      this.#queued = Math.max(0, this.#queued - 1);
      this.#waiters.changed(id);
    } else if (how === "requested") await this.#end(id, by);
    return how;
  }

  // ---- callers that wait ----

  /** Runs it while the caller waits. An abort of the signal cancels it. */
  async call(snippet: Snippet, signal: AbortSignal): Promise<CallEnd> {
    const { callLimit, callWaitMs, events } = this.#options;
    const why = this.#isDraining
      ? "the service is ending"
      : this.#dispatcher.placing.whyImpossible(snippet);
    if (why !== undefined) return { kind: "impossible", detail: why };
    const ticket = new CallTicket(snippet, { enqueue: (again) => this.#dispatcher.enqueue(again) });
    const busy = Promise.withResolvers<CallEnd>();
    const giveUp = (detail: string): void => {
      ticket.giveUp();
      this.#dispatcher.dequeue(snippet.id);
      this.#dispatcher.unpark(snippet.id);
      this.#dispatcher.cancel(snippet.id);
      busy.resolve({ kind: "busy", detail });
    };
    let isCounted = false;
    const stopCounting = () => {
      if (isCounted) this.#calls -= 1;
      isCounted = false;
    };
    ticket.onPlace = () => {
      stopCounting();
      events?.accepted?.(snippet);
    };
    this.#dispatcher.enqueue(ticket);
    // Who found a place at once does not wait, however many may.
    if (!ticket.hasPlace) {
      if (this.#calls >= callLimit) {
        giveUp("the line is full");
        events?.busy?.(snippet);
        return { kind: "busy", detail: `${this.#calls} callers wait already` };
      }
      this.#calls += 1;
      isCounted = true;
    }
    const timer = setTimeout(() => {
      events?.busy?.(snippet);
      giveUp(`no sandbox was free within ${callWaitMs} ms`);
    }, callWaitMs);
    ticket.onStart = () => clearTimeout(timer);
    const onAbort = () => giveUp("the caller went away");
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort);
    const ended = ticket.end.promise.then(
      ({ attempt, end }): CallEnd => ({ kind: "ended", attempt, end }),
    );
    // Also of one whose caller has gone: it was accepted.
    void ticket.end.promise.then(({ attempt, end }) => events?.finished?.(snippet, attempt, end));
    const how = await Promise.race([ended, busy.promise]);
    stopCounting();
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
    return how;
  }

  // ---- what is going on ----

  get figures(): { queued: number; running: number; waitingCalls: number; isDraining: boolean } {
    const { running } = this.#dispatcher;
    const { isDraining } = this;
    return { queued: this.#queued, running, waitingCalls: this.#calls, isDraining };
  }

  get isDraining(): boolean {
    return this.#isDraining;
  }

  /** Why new snippets cannot be worked on now; empty: all is well. */
  async problems(): Promise<string[]> {
    const { broker, store } = this.#options;
    const problems: string[] = [];
    if (this.#isDraining) problems.push("the service is ending");
    if (this.#dispatcher.placing.nodes.length === 0) problems.push("no node runs snippets");
    const brokerProblem = broker.problem();
    if (brokerProblem !== undefined) problems.push(`queue: ${brokerProblem}`);
    await store.depths().catch((error: unknown) => problems.push(`results: ${String(error)}`));
    return problems;
  }

  depths(): ReturnType<SnippetStore["depths"]> {
    return this.#options.store.depths();
  }

  /** Takes nothing new and lets what runs end, for at most so long. */
  async drain(limitMs: number): Promise<"drained" | "timed-out"> {
    this.#isDraining = true;
    const timeout = Promise.withResolvers<"timed-out">();
    const timer = setTimeout(() => timeout.resolve("timed-out"), limitMs);
    const drained = this.#dispatcher.drain().then(() => "drained" as const);
    const how = await Promise.race([drained, timeout.promise]);
    clearTimeout(timer);
    return how;
  }

  /** From now on whatever a node ends by force is put back, for the next start or another master. */
  leave(): void {
    this.#isDraining = true;
    this.#closing.abort();
  }

  /** What still runs is put back. Nodes must be told by who owns them. */
  async close(): Promise<void> {
    this.#isDraining = true;
    for (const timer of this.#timers) clearInterval(timer);
    this.#closing.abort();
    this.#waiters.close();
    // What nodes have given back until now is noted; nothing else can come any more.
    await this.drain(farewellMs);
    await Promise.allSettled(this.#publishing);
    await this.#options.broker.close();
    await this.#options.store.close();
  }

  // ---- within ----

  #delivered(delivery: Delivery): void {
    this.#dispatcher.enqueue(new KeptTicket(delivery, this.#ticketParts));
  }

  #publish(items: readonly QueueItem[]): void {
    const { broker, store, log } = this.#options;
    const publish = async (): Promise<void> => {
      try {
        await broker.publish(items);
        if (broker.isExternal) await store.markPublished(items.map(({ id }) => id));
      } catch (error) {
        const level = error instanceof BrokerDown ? "warn" : "error";
        log[level]({ error: String(error) }, `${items.length} snippets wait for the broker`);
      }
    };
    const publishing = publish().finally(() => this.#publishing.delete(publishing));
    this.#publishing.add(publishing);
  }

  /** What a master accepted and could not tell the broker. */
  #publishLeft(): void {
    const { broker, store, log } = this.#options;
    if (!broker.isExternal || this.#publishing.size > 0) return;
    store.unpublished(pageSize).then(
      (items) => {
        if (items.length > 0) this.#publish(items);
      },
      (error: unknown) => log.warn({ error: String(error) }, "the store does not answer"),
    );
  }

  async #renew(): Promise<void> {
    const { store, master, clock } = this.#options;
    await store.renewLease(master, this.#boot, clock() + leaseMs);
  }

  async #count(): Promise<void> {
    const depths = await this.#options.store.depths();
    this.#queued = Object.values(depths).reduce((sum, { count }) => sum + count, 0);
  }

  /** Of masters that ended, this one's earlier start among them. */
  async #takeUpAbandoned(): Promise<void> {
    const { store, broker, clock } = this.#options;
    // A broker that keeps messages delivers them again by itself.
    if (broker.isExternal) return;
    const items = await store.abandoned(clock(), pageSize);
    if (items.length > 0) await broker.publish(items.filter(({ id }) => !this.flightOf(id)));
  }

  /** Cancels that came to another master. */
  async #cancelAsked(): Promise<void> {
    if (!this.#options.isShared) return;
    for (const id of await this.#options.store.cancelAsked(this.#options.master)) {
      await this.#end(id, "user");
    }
  }

  async #end(id: string, by: CancelledBy): Promise<void> {
    const parked = this.#dispatcher.unpark(id);
    if (parked === undefined) {
      this.#dispatcher.cancel(id);
      return;
    }
    await parked.ticket.ended(parked.attempt, {
      outcome: { kind: "cancelled", by },
      facts: {},
      stdout: new Uint8Array(),
      stderr: new Uint8Array(),
      files: [],
      refused: [],
      finishedAt: this.#options.clock(),
    });
  }

  async #prune(): Promise<void> {
    const { store, clock, retentionMs } = this.#options;
    while ((await store.prune(clock() - retentionMs, pageSize)) >= pageSize) {
      if (this.#closing.signal.aborted) return;
    }
  }

  #every(ms: number, work: () => Promise<void>): void {
    let isWorking = false;
    const timer = setInterval(() => {
      if (isWorking) return;
      isWorking = true;
      work()
        .catch((error: unknown) => {
          this.#options.log.warn({ error: String(error) }, "the snippets' store does not answer");
        })
        .finally(() => {
          isWorking = false;
        });
    }, ms);
    this.#timers.push(timer.unref());
  }
}

function itemOf({ id, language, priority, owner, createdAt }: Snippet): QueueItem {
  return { id, language, priority, owner, createdAt };
}
