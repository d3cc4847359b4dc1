// Connecting without waiting for a dead line: while one attempt has no answer, another is begun every
// few seconds, and the first that opens wins. A packet that was lost in a black hole is not asked for
// again soon enough by TCP, and one that a middlebox swallowed never; a slow line keeps its older tries.
import type { Connection, ConnectionEvents } from "./connection.ts";

export interface RaceRules {
  /** Until the next attempt, about. */
  againMs: number;
  /** Attempts at once; the oldest gives way. */
  most: number;
}

export const defaultRace: RaceRules = { againMs: 3_500, most: 4 };

export class ConnectRace {
  readonly #rules: RaceRules;
  readonly #open: (events: ConnectionEvents) => Connection;
  readonly #won: (connection: Connection) => void;
  readonly #events: ConnectionEvents;
  #attempts: Connection[] = [];
  #timer: NodeJS.Timeout | undefined;

  /** `won` is called right before `open` of the events. Throws what the first attempt throws. */
  constructor(
    rules: RaceRules,
    open: (events: ConnectionEvents) => Connection,
    won: (connection: Connection) => void,
    events: ConnectionEvents,
  ) {
    this.#rules = rules;
    this.#open = open;
    this.#won = won;
    this.#events = events;
    this.#another();
  }

  /** All attempts; not the one that has won. */
  drop(): void {
    clearTimeout(this.#timer);
    for (const attempt of this.#attempts) attempt.drop();
    this.#attempts = [];
  }

  #another(): void {
    const attempt: Connection = this.#open({
      ...this.#events,
      open: () => {
        this.#attempts = this.#attempts.filter((other) => other !== attempt);
        this.drop();
        this.#won(attempt);
        this.#events.open();
      },
    });
    this.#attempts.push(attempt);
    if (this.#attempts.length > this.#rules.most) this.#attempts.shift()?.drop();
    // Not all of a fleet in the same moment.
    const inMs = this.#rules.againMs * (0.9 + 0.2 * Math.random());
    this.#timer = setTimeout(() => {
      try {
        this.#another();
      } catch (error) {
        this.#events.lost(error instanceof Error ? error.message : String(error));
      }
    }, inMs);
  }
}
