// Waits for the next message of a port without going to sleep, where it is about to come: waking a
// thread costs some 45 us, as much as the work that it is woken for. It watches for 50 us at most, and
// only after the last times were worth it; else the cores are the tasks'.
import { type MessagePort, receiveMessageOnPort } from "node:worker_threads";

const watchMs = 0.05;
/** Answers that are let go by without watching after it was in vain, at most. */
const longestPause = 256;

export class BriefWatch {
  readonly #port: MessagePort;
  #pause = 0;
  #left = 0;

  constructor(port: MessagePort) {
    this.#port = port;
  }

  /** The next message, when it comes soon. */
  next(): { message: unknown } | undefined {
    if (this.#left > 0) {
      this.#left--;
      return undefined;
    }
    const until = performance.now() + watchMs;
    do {
      const received = receiveMessageOnPort(this.#port);
      if (received !== undefined) {
        this.#pause = 0;
        return received;
      }
    } while (performance.now() < until);
    this.#pause = Math.min(longestPause, this.#pause * 2 + 1);
    this.#left = this.#pause;
    return undefined;
  }
}
