// Keeps the journal's WAL small from the link thread, so that commits of the main thread never wait
// for the disk. Usually PASSIVE; it makes the writer wait only when the WAL has become very large
// (a writer that never pauses keeps PASSIVE from ever finishing) or when nothing has happened lately.
import type { OutboxReader } from "./outbox-reader.ts";

export class Checkpoints {
  readonly #reader: OutboxReader;
  readonly #paused: () => void;
  #timer: NodeJS.Timeout | undefined;
  #lastBytes = 0;
  #quietRounds = 0;

  /** `paused`: nothing is written; `start` is to be called when something is again. */
  constructor(reader: OutboxReader, paused: () => void) {
    this.#reader = reader;
    this.#paused = paused;
  }

  start(): void {
    this.#quietRounds = 0;
    this.#timer ??= setInterval(() => this.round(), everyMs);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** One look at the WAL. */
  round(): void {
    const bytes = this.#reader.walBytes();
    this.#quietRounds = bytes === this.#lastBytes ? this.#quietRounds + 1 : 0;
    this.#lastBytes = bytes;
    if (bytes > restartBytes) {
      this.#reader.checkpoint("PASSIVE");
      this.#reader.checkpoint("RESTART");
    } else if (bytes > truncateBytes && this.#quietRounds >= quietRounds) {
      this.#reader.checkpoint("PASSIVE");
      this.#reader.checkpoint("TRUNCATE");
    } else if (bytes > worthBytes && this.#quietRounds < quietRounds) {
      this.#reader.checkpoint("PASSIVE");
    } else if (this.#quietRounds > quietRounds) {
      this.stop();
      this.#paused();
    }
  }
}

const everyMs = 1_000;
const worthBytes = 1024 * 1024;
const truncateBytes = 4 * 1024 * 1024;
const restartBytes = 64 * 1024 * 1024;
const quietRounds = 5;
