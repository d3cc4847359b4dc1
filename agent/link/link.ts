// The road to the master, as the agent's main thread sees it: a thread that ships what the journal
// holds, tells what the master wants, and keeps heartbeats going. Nothing here waits for anything.
// Acks are reported, not written: the main thread is the journal's only writer.
import { Worker } from "node:worker_threads";
import type { Diagnostic } from "../../protocol/diagnostic.ts";
import type { MasterToAgent, RefusalCode, SnippetOrder } from "../../protocol/link.ts";
import { runIdPattern } from "../../protocol/state-paths.ts";
import { defaultBackoff } from "./backoff.ts";
import { defaultRace } from "./connect-race.ts";
import type { LinkStatus } from "./heartbeat.ts";
import { SharedClock } from "./shared-clock.ts";
import { defaultWindow } from "./ship-window.ts";
import type { FromThread, RunAnswer, ThreadData, ToThread } from "./thread-messages.ts";
import { noBudget } from "./uplink-budget.ts";

export type { LinkStatus } from "./heartbeat.ts";

/** `url` is ws:// or wss:// with the path; heartbeats follow the master's word after `welcome`. */
export type LinkOptions = Omit<ThreadData, "shared" | "status" | DefaultedRules> &
  Partial<Pick<ThreadData, DefaultedRules>> & {
    /** Asked for when a heartbeat is due or a connection is made. */
    status(): LinkStatus;
  };
type DefaultedRules = "backoff" | "race" | "window" | "keyRotationMs" | "uplink" | "compress";

export interface LinkEvents {
  /** To be given to `Journal.ack`. */
  acked(seq: number): void;
  offered(offer: Extract<MasterToAgent, { type: "run-offered" }>): void;
  cancelled(order: Extract<MasterToAgent, { type: "cancel-run" }>): void;
  drain(): void;
  /** Of snippets. */
  ordered(order: SnippetOrder): void;
  /** `hasSnippets`: the master knows the words of snippets. */
  connected(acked: number, hasSnippets: boolean): void;
  disconnected(detail: string, retryInMs: number): void;
  refused(refusal: { code: RefusalCode; detail: string; remedy: string; retryInMs: number }): void;
  /** To be given to `Journal.renumber`, and then `renumbered()` to be called. */
  ahead(acked: number, nextSeq: number): void;
  /** The master has lost records that this node holds no longer. Nothing to do but to say so. */
  behind(acked: number, firstHeldSeq: number): void;
  problem(problem: Diagnostic): void;
  /** To be given to `Journal.repairOutbox`, and then `renumbered()` to be called. */
  damaged(detail: string): void;
  /** The journal cannot be read by the thread, which tries again; undefined: it can again. */
  unreadable(problem: { detail: string; isSync: boolean } | undefined): void;
}

export class Link {
  readonly #data: Omit<ThreadData, "status">;
  readonly #events: LinkEvents;
  readonly #clock: SharedClock;
  #worker: Worker | undefined;
  #restartTimer: NodeJS.Timeout | undefined;
  readonly #status: () => LinkStatus;
  #closed: { promise: Promise<number>; resolve(unsent: number): void } | undefined;

  private constructor(options: LinkOptions, events: LinkEvents) {
    const { status, ...data } = options;
    this.#data = {
      backoff: defaultBackoff,
      race: defaultRace,
      window: defaultWindow,
      keyRotationMs: 0,
      uplink: noBudget,
      compress: true,
      ...data,
      shared: SharedClock.create(),
    };
    this.#events = events;
    this.#status = status;
    this.#clock = new SharedClock(this.#data.shared);
    this.#startThread();
  }

  /** Starts at once and returns at once; a master that is down is tried for ever. */
  static start(options: LinkOptions, events: LinkEvents): Link {
    return new Link(options, events);
  }

  /** Rows were committed. Costs an atomic exchange, and a message only when the thread is idle. */
  notify(outboxDepth: number): void {
    this.#clock.turned();
    this.#clock.outboxDepth = outboxDepth;
    if (this.#clock.takeWake()) {
      this.#post({ type: "wake" });
    }
  }

  /** Rows are acknowledged: nothing new is to be sent. */
  setDepth(outboxDepth: number): void {
    this.#clock.outboxDepth = outboxDepth;
  }

  /** Bytes that went to the master since the start, on all connections. */
  get sentBytes(): number {
    return this.#clock.sentBytes;
  }

  /** Answer to an offer. Not kept: the master offers again when the connection was lost. */
  answer(message: RunAnswer): void {
    this.#post({ type: "answer", message });
  }

  /** The journal has given what it holds new numbers. */
  renumbered(): void {
    this.#post({ type: "renumbered" });
  }

  /**
   * Waits at most `flushMs` for the master to have everything, then ends. Resolves to the number of
   * records that it does not have; they stay in the journal.
   */
  close(options: { flushMs: number }): Promise<number> {
    if (this.#closed === undefined) {
      this.#closed = Promise.withResolvers<number>();
      clearTimeout(this.#restartTimer);
      if (this.#worker === undefined) {
        this.#ended(this.#clock.outboxDepth);
      } else {
        this.#tellStatus();
        this.#post({ type: "close", flushMs: options.flushMs });
      }
    }
    return this.#closed.promise;
  }

  #startThread(): void {
    const data = { ...this.#data, status: this.#status() };
    // In a bundle the thread's file is built beside this one.
    const isBundled = !import.meta.url.endsWith(".ts");
    const worker = new Worker(
      new URL(isBundled ? "./link-thread.mjs" : "./link-thread.ts", import.meta.url),
      {
        workerData: data,
        name: "edgedag-link",
      },
    );
    this.#worker = worker;
    let unsent: number | undefined;
    worker.on("message", (message: FromThread) => {
      if (message.type === "closed") {
        unsent = message.unsent;
      } else {
        this.#receive(message);
      }
    });
    worker.on("error", (error) => this.#say("E_LINK_THREAD", `the link thread failed: ${error}`));
    worker.on("exit", () => {
      this.#worker = undefined;
      if (this.#closed !== undefined) {
        this.#ended(unsent ?? this.#clock.outboxDepth);
        return;
      }
      this.#restartTimer = setTimeout(() => this.#startThread(), restartMs);
    });
  }

  #receive(message: Exclude<FromThread, { type: "closed" }>): void {
    switch (message.type) {
      case "acked":
        this.#events.acked(message.seq);
        break;
      case "ask":
        this.#tellStatus();
        break;
      case "connected":
        this.#events.connected(message.acked, message.hasSnippets);
        break;
      case "disconnected":
        // An end that was asked for is no news.
        if (this.#closed === undefined) {
          this.#events.disconnected(message.detail, message.retryInMs);
        }
        break;
      case "refused":
        this.#events.refused(message);
        break;
      case "ahead":
        this.#events.ahead(message.acked, message.nextSeq);
        break;
      case "behind":
        this.#events.behind(message.acked, message.firstHeldSeq);
        break;
      case "problem":
        this.#events.problem(message.problem);
        break;
      case "damaged":
        this.#events.damaged(message.detail);
        break;
      case "unreadable":
        this.#events.unreadable(message);
        break;
      case "readable":
        this.#events.unreadable(undefined);
        break;
      case "passed":
        this.#pass(message.message);
        break;
      default:
        throw new Error(`unexpected ${JSON.stringify(message satisfies never)}`);
    }
  }

  #pass(message: Extract<FromThread, { type: "passed" }>["message"]): void {
    switch (message.type) {
      case "run-offered":
        // The id becomes the name of a folder.
        if (runIdPattern.test(message.run)) {
          this.#events.offered(message);
        } else {
          const detail = `a run id must match ${runIdPattern.source}`;
          this.answer({ type: "run-refused", run: message.run, code: "E_RUN_ID", detail });
        }
        break;
      case "cancel-run":
        this.#events.cancelled(message);
        break;
      case "drain":
        this.#events.drain();
        break;
      case "snippet-assigned":
      case "snippet-cancel":
      case "snippet-settled":
        this.#events.ordered(message);
        break;
      default:
        throw new Error(`unexpected ${JSON.stringify(message satisfies never)}`);
    }
  }

  #tellStatus(): void {
    this.#clock.turned();
    this.#post({ type: "status", status: this.#status() });
  }

  #post(message: ToThread): void {
    this.#worker?.postMessage(message);
  }

  #say(code: string, message: string): void {
    const remedy = "The agent starts it again by itself; report this with the agent's log.";
    this.#events.problem({ code, path: "", message, remedy });
  }

  #ended(unsent: number): void {
    this.#closed?.resolve(unsent);
  }
}

const restartMs = 5_000;
