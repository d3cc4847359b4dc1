// Group commit: frames of all nodes that arrive within a few milliseconds go into one transaction and
// are acknowledged after it, in the order of their arrival. One disk flush then serves many frames.
// A frame that cannot be stored harms only its own session.
import { crashPoint } from "../../protocol/crash-points.ts";
import type { Logger } from "../clock.ts";
import type { FrameResult, MasterStorage, RecordFrame } from "../storage/storage.ts";

export interface PendingFrame {
  frame: RecordFrame;
  stored(result: FrameResult): void;
  failed(detail: string): void;
}

const gatherMs = 4;
/** So many records are stored without waiting for more. */
const fullRecords = 2_000;

export class Ingest {
  readonly #storage: Pick<MasterStorage, "applyFrames">;
  readonly #log: Logger;
  #pending: PendingFrame[] = [];
  #pendingRecords = 0;
  #timer: NodeJS.Timeout | undefined;
  #storing: Promise<void> | undefined;

  constructor(storage: Pick<MasterStorage, "applyFrames">, log: Logger) {
    this.#storage = storage;
    this.#log = log;
  }

  add(pending: PendingFrame): void {
    this.#pending.push(pending);
    this.#pendingRecords += pending.frame.records.length;
    if (this.#storing !== undefined) return;
    if (this.#pendingRecords >= fullRecords) this.#start();
    else this.#timer ??= setTimeout(() => this.#start(), gatherMs);
  }

  /** Resolves when everything that was added is stored and acknowledged. */
  async flush(): Promise<void> {
    while (this.#pending.length > 0 || this.#storing !== undefined) {
      if (this.#storing === undefined) this.#start();
      await this.#storing;
    }
  }

  #start(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const batch = this.#pending;
    this.#pending = [];
    this.#pendingRecords = 0;
    this.#storing = this.#store(batch).finally(() => {
      this.#storing = undefined;
      // What came meanwhile has waited long enough; the next turn lets sockets be read first.
      if (this.#pending.length > 0) this.#timer ??= setTimeout(() => this.#start(), 0);
    });
  }

  async #store(batch: PendingFrame[]): Promise<void> {
    try {
      const results = await this.#storage.applyFrames(batch.map(({ frame }) => frame));
      crashPoint("master.frame-stored");
      for (const [index, result] of results.entries()) batch[index]?.stored(result);
    } catch (error) {
      this.#log.error(
        { error: String(error), frames: batch.length },
        "storing records failed; trying frame by frame",
      );
      await this.#storeOneByOne(batch);
    }
  }

  async #storeOneByOne(batch: PendingFrame[]): Promise<void> {
    for (const pending of batch) {
      try {
        const [result] = await this.#storage.applyFrames([pending.frame]);
        if (result !== undefined) pending.stored(result);
      } catch (error) {
        pending.failed(error instanceof Error ? error.message : String(error));
      }
    }
  }
}
