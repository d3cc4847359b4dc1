// Attempts that may begin only once (`retries: { lost: 0 }`): nothing of them is handed to anybody
// before the event that starts them is in the journal for good. While it cannot be written they wait.
import type { StartAttempt, StopAttempt } from "./flights.ts";

export interface OnlyOnceParts {
  /** Writes the journal, and waits for what EDGEDAG_DURABILITY says. */
  commitForGood(): boolean;
  begin(command: StartAttempt, cause: number | undefined): void;
  /** It has not begun, and will not. */
  takenBack(command: StopAttempt): void;
  /** Asks for a turn, at whose end it is tried again. */
  again(): void;
}

const retryMs = 1000;

export class OnlyOnce {
  readonly #parts: OnlyOnceParts;
  #waiting: { command: StartAttempt; cause: number | undefined }[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: OnlyOnceParts) {
    this.#parts = parts;
  }

  add(command: StartAttempt, cause: number | undefined): void {
    this.#waiting.push({ command, cause });
  }

  /** False: it is not among those that wait. */
  stop(stop: StopAttempt): boolean {
    const at = this.#waiting.findIndex(({ command }) => command.task === stop.task);
    if (at < 0) return false;
    this.#waiting.splice(at, 1);
    this.#parts.takenBack(stop);
    return true;
  }

  /** At the end of a turn, when what starts them is in the journal's buffer. */
  begin(): void {
    if (this.#waiting.length === 0) return;
    if (!this.#parts.commitForGood()) {
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined;
        this.#parts.again();
      }, retryMs);
      return;
    }
    const ready = this.#waiting;
    this.#waiting = [];
    for (const { command, cause } of ready) this.#parts.begin(command, cause);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#waiting = [];
  }
}
