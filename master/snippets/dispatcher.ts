// From "waits" to "has ended": takes snippets from the queue in fair and priority order while a node
// has room, gives them out, and gives them out again when a node was lost or failed by no fault of
// the task. What a snippet's claim, its return and its end mean for whoever keeps it, a `Ticket` knows.
import type { AssignmentEnd, AssignmentGone } from "../../protocol/assignment.ts";
import { type Failure, faultOf, type SandboxLevel } from "../../protocol/outcome.ts";
import type { Clock, Logger } from "../clock.ts";
import { FairQueue } from "./fair-queue.ts";
import { Flight } from "./flight.ts";
import type { SnippetNode } from "./node.ts";
import { type Place, Placing } from "./placing.ts";
import type { Snippet, SnippetEnd } from "./snippet.ts";
import type { QueueItem } from "./store/store.ts";

/** A place in the queue, of a snippet that a store keeps or of one that a caller waits for. */
export interface Ticket {
  readonly item: QueueItem;
  /** Undefined: there is nothing to run, and the ticket is settled. Never rejects. */
  claim(): Promise<{ snippet: Snippet; attempt: number } | undefined>;
  /** It runs. */
  started(flight: Flight, at: number): void;
  /** Its attempt came to nothing: it is to run again after `delayMs`. Never rejects. */
  again(attempt: number, delayMs: number): Promise<void>;
  /** Never rejects; resolves when the end is kept. */
  ended(attempt: number, end: SnippetEnd): Promise<void>;
}

export interface DispatcherOptions {
  clock: Clock;
  log: Logger;
  /** Waiting of this time is worth one priority. */
  agingMs: number;
  /** A flight has begun or ended. */
  changed?(): void;
}

const retryBackoffMs = 200;

interface Claimed {
  ticket: Ticket;
  snippet: Snippet;
  attempt: number;
}

export class Dispatcher {
  readonly placing = new Placing();
  readonly #options: DispatcherOptions;
  readonly #queue: FairQueue<{ item: QueueItem; ticket: Ticket }>;
  readonly #flights = new Map<string, { flight: Flight; node: SnippetNode }>();
  readonly #busy = new Set<Promise<void>>();
  /** Claimed, and no node has room for what they need; looked at before the queue. */
  readonly #parked = new Map<string, Claimed>();
  #isDraining = false;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    this.#queue = new FairQueue({ agingMs: options.agingMs });
  }

  addNode(node: SnippetNode): void {
    this.placing.add(node);
    this.pump();
  }

  /** What it runs ends as `lost` by the node's own word. */
  removeNode(id: string): void {
    this.placing.remove(id);
  }

  enqueue(ticket: Ticket): void {
    this.#queue.add({ item: ticket.item, ticket });
    this.pump();
  }

  /** False: it does not wait in the queue (any more). */
  dequeue(id: string): boolean {
    return this.#queue.remove(id);
  }

  /** What was claimed and waits for room: the ticket is the caller's to settle. */
  unpark(id: string): { attempt: number; ticket: Ticket } | undefined {
    const parked = this.#parked.get(id);
    this.#parked.delete(id);
    return parked;
  }

  flightOf(id: string): Flight | undefined {
    return this.#flights.get(id)?.flight;
  }

  get waiting(): number {
    return this.#queue.size + this.#parked.size;
  }

  get running(): number {
    return this.#flights.size;
  }

  /** Waiting here, by language. */
  waitingBy(): ReadonlyMap<string, number> {
    return this.#queue.sizes();
  }

  cancel(id: string): boolean {
    const found = this.#flights.get(id);
    if (found === undefined) return false;
    found.node.cancel(id, found.flight.attempt);
    return true;
  }

  /** Nothing new is given out; resolves when nothing runs. What was claimed in vain is put back. */
  async drain(): Promise<void> {
    this.#isDraining = true;
    for (const [id, { ticket, attempt }] of this.#parked) {
      this.#parked.delete(id);
      await ticket.again(attempt, 0);
    }
    while (this.#busy.size > 0) await Promise.race(this.#busy);
  }

  /** Gives out what can be given out. */
  pump(): void {
    if (this.#isDraining) return;
    const { clock } = this.#options;
    for (const [id, claimed] of this.#parked) {
      const placed = this.placing.place(claimed.snippet);
      if (placed === undefined) continue;
      this.#parked.delete(id);
      this.#track(claimed.ticket, this.#fly(claimed, placed));
    }
    // Else a queue full of what has no room would be claimed as a whole.
    while (this.#parked.size < this.placing.slots.total) {
      const taken = this.#queue.take(clock(), (language) => this.placing.hasRoom(language));
      if (taken === undefined) return;
      const held = this.placing.hold(taken.item.language);
      if (held === undefined) {
        this.#queue.add(taken);
        return;
      }
      this.#track(taken.ticket, this.#begin(taken.ticket, held));
    }
  }

  /** A bug here must not end the service. */
  #track(ticket: Ticket, work: Promise<void>): void {
    const tracked = work
      .catch((error: unknown) => {
        const story = error instanceof Error ? (error.stack ?? error.message) : String(error);
        this.#options.log.error({ snippet: ticket.item.id, story }, "a snippet broke its dispatch");
      })
      .finally(() => {
        this.#busy.delete(tracked);
        this.pump();
      });
    this.#busy.add(tracked);
  }

  async #begin(ticket: Ticket, held: Place): Promise<void> {
    const claimed = await ticket.claim();
    held.giveBack();
    if (claimed === undefined) return;
    const placed = this.placing.place(claimed.snippet);
    // Nodes come and go: one that can run it may still come.
    if (placed === undefined) this.#parked.set(claimed.snippet.id, { ticket, ...claimed });
    else await this.#fly({ ticket, ...claimed }, placed);
  }

  async #fly(
    { ticket, snippet, attempt }: Claimed,
    { place, level }: { place: Place; level: SandboxLevel },
  ): Promise<void> {
    const { node } = place;
    const flight = new Flight(snippet, attempt, node.id);
    this.#flights.set(snippet.id, { flight, node });
    this.#options.changed?.();
    const told = Promise.withResolvers<({ kind: "ended" } & AssignmentEnd) | AssignmentGone>();
    const { task } = snippet;
    node.assign(
      {
        id: snippet.id,
        attempt,
        task: task.isolation === level ? task : { ...task, isolation: level },
        files: snippet.files,
        ...(snippet.folders === undefined ? {} : { folders: snippet.folders }),
      },
      {
        started: (at) => {
          flight.started(at);
          ticket.started(flight, at);
        },
        output: (stream, bytes) => flight.output(stream, bytes),
        ended: (end) => told.resolve(end),
      },
    );
    const end = await told.promise;
    place.giveBack();
    if (this.#flights.get(snippet.id)?.flight === flight) this.#flights.delete(snippet.id);
    this.#options.changed?.();
    // The next one need not wait until this end is kept.
    this.pump();
    await this.#settle(ticket, flight, end);
  }

  async #settle(
    ticket: Ticket,
    flight: Flight,
    end: ({ kind: "ended" } & AssignmentEnd) | AssignmentGone,
  ): Promise<void> {
    const { snippet, attempt, node } = flight;
    const failure = failureOf(end);
    const isSpent = attempt > snippet.task.retries.lost;
    if (failure !== undefined && isRetried(failure) && !isSpent) {
      const { id } = snippet;
      this.#options.log.warn({ snippet: id, attempt, node, failure }, "a snippet is tried again");
      await ticket.again(attempt, retryBackoffMs * 2 ** Math.min(attempt - 1, 6));
      return;
    }
    if (end.kind !== "ended") {
      await ticket.ended(attempt, flight.endOf(this.#lost(end)));
      return;
    }
    const { kind: _, ...told } = end;
    await ticket.ended(attempt, flight.endOf(told));
  }

  #lost({ detail }: AssignmentGone): AssignmentEnd {
    return {
      outcome: { kind: "failed", failure: { reason: "lost", detail } },
      facts: {},
      files: [],
      refused: [],
      finishedAt: this.#options.clock(),
    };
  }
}

function failureOf(end: ({ kind: "ended" } & AssignmentEnd) | AssignmentGone): Failure | undefined {
  if (end.kind !== "ended") return { reason: "lost", detail: end.detail };
  return end.outcome.kind === "failed" ? end.outcome.failure : undefined;
}

/** The task's own, though the platform says it: a program that is not there, or is none. */
const ownSpawnErrors = ["ENOENT", "EACCES", "ENOEXEC", "ENOTDIR", "E2BIG", "ELOOP", "EISDIR"];

function isRetried(failure: Failure): boolean {
  if (failure.reason === "spawn" && ownSpawnErrors.includes(failure.errno)) return false;
  return faultOf[failure.reason] === "platform" || faultOf[failure.reason] === "agent";
}
