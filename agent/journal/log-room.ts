// How much waits for the master, and which segment of a log goes first when that is too much. Decides
// the order; the rows are changed by LogDrop, inside transactions of the journal.
import type { DatabaseSync } from "node:sqlite";
import { LogDrop } from "./log-drop.ts";
import type { Outbox } from "./outbox.ts";

export interface LogRoomEvents {
  /** Before a segment is dropped: from here on nothing is written to it. */
  dropping(run: string, segment: number): void;
  /** No record needs the segment any more: its file is to go. */
  dropped(run: string, segment: number): void;
}

const turnsPerLook = 64;

export class LogRoom {
  readonly #database: DatabaseSync;
  readonly #outbox: Outbox;
  readonly #events: LogRoomEvents;
  #drop: LogDrop | undefined;
  /** Segments whose files are gone: what points to them becomes gaps before anything else is dropped. */
  readonly #gone: { run: string; segment: number }[] = [];
  #databaseBytes = 0;
  #turnsSinceLook = turnsPerLook;

  constructor(database: DatabaseSync, outbox: Outbox, events: LogRoomEvents) {
    this.#database = database;
    this.#outbox = outbox;
    this.#events = events;
  }

  /** Bytes that are kept because the master has not acknowledged them, the database itself included. */
  get bytes(): number {
    if (this.#turnsSinceLook++ >= turnsPerLook) {
      this.#turnsSinceLook = 0;
      const get = (what: string) =>
        Number(this.#database.prepare(`PRAGMA ${what}`).get()?.[what] ?? 0);
      this.#databaseBytes = (get("page_count") - get("freelist_count")) * get("page_size");
    }
    return this.#outbox.heldBytes + this.#databaseBytes;
  }

  /** The segment's file is gone, though the master has not all of it. */
  segmentGone(run: string, segment: number): void {
    this.#gone.push({ run, segment });
  }

  /** A segment is to be dropped whatever the limit: its file is gone, or it was begun. */
  get mustDrop(): boolean {
    return this.#gone.length > 0 || this.#drop !== undefined;
  }

  /** What is being dropped, or the next to be; `onlyDue`: only what `mustDrop` means. */
  current(onlyDue: boolean): LogDrop | undefined {
    this.#drop ??= this.#next(onlyDue);
    return this.#drop;
  }

  /** Begun again from the segment's first row: a step failed, or records have new numbers. */
  restart(): void {
    this.#drop = undefined;
  }

  done({ held }: LogDrop): void {
    this.#drop = undefined;
    this.#turnsSinceLook = turnsPerLook;
    this.#outbox.forgetSegment(held);
    this.#events.dropped(held.run, held.segment);
  }

  #next(onlyDue: boolean): LogDrop | undefined {
    for (let gone = this.#gone.shift(); gone !== undefined; gone = this.#gone.shift()) {
      const held = this.#outbox.segmentOf(gone.run, gone.segment);
      if (held !== undefined) return new LogDrop(this.#database, held);
    }
    const held = onlyDue ? undefined : this.#outbox.oldestSegment();
    if (held === undefined) return undefined;
    this.#events.dropping(held.run, held.segment);
    return new LogDrop(this.#database, held);
  }
}
