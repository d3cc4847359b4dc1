// The main thread's side of the store: starts the thread when the first run opens a keyspace,
// hands publications over in batches, and must never block or be blocked by the thread.

import type { Worker } from "node:worker_threads";
import { startStoreThread } from "./start-thread.ts";
import type { FromStore, ToStore } from "./store-messages.ts";

/** Longest path of a Unix socket on Linux, in bytes, without its final zero. */
const longestSocketPathBytes = 107;
/** Publications taken in are acknowledged in portions of this size. */
const ackBytes = 1024 * 1024;

export interface StoreHostOptions {
  /** A bug in the store, or the end of its thread; `isFatal` when every keyspace is lost. */
  onFault?(detail: string, isFatal: boolean): void;
  /**
   * Folder of Node.js's compile cache for the thread: from sources it then starts in 30 ms and
   * 14 MiB instead of 80 ms and 36 MiB, of type stripping. A bundle needs none.
   */
  compileCacheFolder?: string;
  /** One that was started before; it ends with this. */
  thread?: Worker | undefined;
}

export interface RunStoreOptions {
  /** Path of the Unix socket to listen on: at most 107 bytes, in a folder of the agent's own. */
  socketPath: string;
  /** Bound of the run's data, by the store's own estimate of memory. */
  quotaBytes: number;
  /** Every publication by tasks of the run, in order. Bytes that are not UTF-8 come as a Buffer. */
  onPublish(channel: string, message: Buffer | string): void;
  /** A client has connected; it is served when this has returned. */
  onReached?(): void;
}

export interface RunStore {
  /** Whether anybody has subscribed to anything. */
  isHeard(): boolean;
  /** Sends to the run's subscribers with the next turn; costs nothing while there are none. */
  publish(channel: string, message: string): void;
  /** Ends the listener and every connection, and drops the data. The socket file goes too. */
  close(): Promise<void>;
}

/** Why a keyspace could not be opened: `code` is the system's, as in `EADDRINUSE`. */
export class StoreOpenError extends Error {
  override readonly name = "StoreOpenError";
  readonly code: string;
  readonly socketPath: string;

  constructor(code: string, socketPath: string, detail: string) {
    super(`the store cannot listen on ${socketPath}: ${detail}`);
    this.code = code;
    this.socketPath = socketPath;
  }
}

interface OpenRun {
  socketPath: string;
  onPublish(channel: string, message: Buffer | string): void;
  onReached: (() => void) | undefined;
  opened: PromiseWithResolvers<void>;
  closed: PromiseWithResolvers<void>;
}

export class StoreHost {
  readonly #options: StoreHostOptions;
  readonly #runs = new Map<number, OpenRun>();
  #lastId = 0;
  #worker: Worker | undefined;
  #pending = new Map<number, string[]>();
  #takenBytes = 0;
  #isClosing = false;

  /** Costs nothing: the thread starts with the first keyspace. */
  static async start(options: StoreHostOptions = {}): Promise<StoreHost> {
    return new StoreHost(options);
  }

  private constructor(options: StoreHostOptions) {
    this.#options = options;
    if (options.thread !== undefined) this.#worker = this.#adopt(options.thread);
  }

  /**
   * Opens the keyspace of a run; resolves when clients can connect. Rejects with StoreOpenError
   * when the socket cannot be had. `run` only names the run in errors.
   */
  async open(run: string, options: RunStoreOptions): Promise<RunStore> {
    const { socketPath, quotaBytes, onPublish, onReached } = options;
    if (Buffer.byteLength(socketPath) > longestSocketPathBytes) {
      const detail = `the path is longer than ${longestSocketPathBytes} bytes (run ${run})`;
      throw new StoreOpenError("ENAMETOOLONG", socketPath, detail);
    }
    if (this.#isClosing) throw new StoreOpenError("ECANCELED", socketPath, "the store is closed");
    const id = ++this.#lastId;
    const subscriptions = new Int32Array(new SharedArrayBuffer(4));
    const opened = Promise.withResolvers<void>();
    const closed = Promise.withResolvers<void>();
    this.#runs.set(id, { socketPath, onPublish, onReached, opened, closed });
    const tellsReached = onReached !== undefined;
    this.#send({ type: "open", id, socketPath, quotaBytes, subscriptions, tellsReached });
    await opened.promise;
    const isHeard = () => Atomics.load(subscriptions, 0) > 0;
    return {
      isHeard,
      publish: (channel, message) => {
        if (isHeard()) this.#publish(id, channel, message);
      },
      close: () => {
        if (this.#runs.has(id)) {
          this.#flush();
          this.#send({ type: "close", id });
        }
        return closed.promise;
      },
    };
  }

  /** Ends the thread and with it every keyspace. */
  async close(): Promise<void> {
    this.#isClosing = true;
    for (const id of this.#runs.keys()) this.#send({ type: "close", id });
    await Promise.all([...this.#runs.values()].map((run) => run.closed.promise));
    await this.#worker?.terminate();
    this.#worker = undefined;
  }

  #publish(id: number, channel: string, message: string): void {
    if (this.#pending.size === 0) setImmediate(() => this.#flush());
    const items = this.#pending.get(id);
    if (items === undefined) this.#pending.set(id, [channel, message]);
    else items.push(channel, message);
  }

  #flush(): void {
    if (this.#pending.size === 0) return;
    const pending = this.#pending;
    this.#pending = new Map();
    for (const [id, items] of pending) {
      if (this.#runs.has(id)) this.#send({ type: "publish", id, items });
    }
  }

  #send(message: ToStore): void {
    this.#worker ??= this.#startWorker();
    this.#worker.postMessage(message);
  }

  #startWorker(): Worker {
    return this.#adopt(startStoreThread(this.#options.compileCacheFolder));
  }

  #adopt(worker: Worker): Worker {
    worker.on("message", (message: FromStore) => this.#receive(message));
    worker.on("error", (error: unknown) => {
      const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
      this.#lose(`the store thread failed: ${detail}`);
    });
    worker.on("exit", (code) => {
      if (this.#worker === worker) this.#lose(`the store thread ended with code ${code}`);
    });
    return worker;
  }

  #receive(message: FromStore): void {
    switch (message.type) {
      case "opened":
        this.#runs.get(message.id)?.opened.resolve();
        break;
      case "refused": {
        const { id, code, detail } = message;
        const run = this.#runs.get(id);
        this.#runs.delete(id);
        run?.closed.resolve();
        run?.opened.reject(new StoreOpenError(code, run.socketPath, detail));
        break;
      }
      case "published":
        this.#take(message);
        break;
      case "reached":
        this.#runs.get(message.id)?.onReached?.();
        this.#send({ type: "admit", id: message.id });
        break;
      case "closed":
        this.#runs.get(message.id)?.closed.resolve();
        this.#runs.delete(message.id);
        break;
      case "fault":
        this.#options.onFault?.(message.detail, false);
        break;
      default:
        message satisfies never;
    }
  }

  #take(message: Extract<FromStore, { type: "published" }>): void {
    const run = this.#runs.get(message.id);
    for (let at = 0; run !== undefined && at + 1 < message.items.length; at += 2) {
      const text = message.items[at + 1] ?? "";
      run.onPublish(
        toText(message.items[at] ?? ""),
        typeof text === "string" ? text : toBuffer(text),
      );
    }
    this.#takenBytes += message.bytes;
    if (this.#takenBytes >= ackBytes && this.#worker !== undefined) {
      this.#send({ type: "taken", bytes: this.#takenBytes });
      this.#takenBytes = 0;
    }
  }

  #lose(detail: string): void {
    this.#worker = undefined;
    const runs = [...this.#runs.values()];
    this.#runs.clear();
    for (const run of runs) {
      run.opened.reject(new StoreOpenError("ECANCELED", run.socketPath, detail));
      run.closed.resolve();
    }
    if (!this.#isClosing) this.#options.onFault?.(detail, true);
  }
}

function toText(bytes: string | Uint8Array): string {
  return typeof bytes === "string" ? bytes : toBuffer(bytes).toString("utf8");
}

/** A Buffer arrives from another thread as a plain Uint8Array. */
function toBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
