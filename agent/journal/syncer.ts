// Puts what was written on the disk, off the main thread: fdatasync in the thread pool, one pass for
// everything that has come meanwhile (group commit). A pass first syncs the files that the journal points
// to, then the journal's log; what waits is told when the pass that began after it is through.
// After a sync that failed nothing is believed to be on the disk: the kernel forgets what it could
// not write, and a second fsync would succeed without it. So the next pass writes it again first.

export interface SyncerOptions {
  /** The journal's own log. */
  sync(): Promise<void>;
  /** Writes again what a failed sync may have lost. Throws when it cannot. */
  rewrite(): void;
  /** Undefined: it is over. */
  failed(problem: string | undefined): void;
}

/** Syncs, or after a failure writes again and syncs, a file that the journal points to. */
export type FileSync = (isAgain: boolean) => Promise<void>;

export class Syncer {
  readonly #options: SyncerOptions;
  readonly #files = new Set<FileSync>();
  #waiting: (() => void)[] = [];
  #isDirty = false;
  #isRunning = false;
  #hasFailed = false;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: SyncerOptions) {
    this.#options = options;
  }

  addFile(sync: FileSync): void {
    this.#files.add(sync);
  }

  /** It has been synced for the last time by its owner. */
  removeFile(sync: FileSync): void {
    this.#files.delete(sync);
  }

  /** Something was committed. */
  written(): void {
    this.#isDirty = true;
    this.#start();
  }

  /** To be called after the commit that it waits for. */
  whenSynced(told: () => void): void {
    this.#waiting.push(told);
    this.#start();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  #start(): void {
    if (this.#isRunning || this.#isClosed || this.#timer !== undefined) return;
    this.#isRunning = true;
    // Behind the turn that asks: others of the same moment come along.
    setImmediate(() => void this.#pass());
  }

  async #pass(): Promise<void> {
    const told = this.#waiting;
    this.#waiting = [];
    this.#isDirty = false;
    try {
      const isAgain = this.#hasFailed;
      if (isAgain) this.#options.rewrite();
      for (const sync of [...this.#files]) await sync(isAgain);
      await this.#options.sync();
      if (isAgain) this.#options.failed(undefined);
      this.#hasFailed = false;
      for (const tell of told) tell();
    } catch (error) {
      this.#hasFailed = true;
      this.#waiting = [...told, ...this.#waiting];
      this.#options.failed(error instanceof Error ? error.message : String(error));
      if (!this.#isClosed) {
        this.#timer = setTimeout(() => {
          this.#timer = undefined;
          this.#start();
        }, retryMs);
      }
    } finally {
      this.#isRunning = false;
    }
    if (this.#isDirty || this.#waiting.length > 0) this.#start();
  }
}

const retryMs = 1000;
