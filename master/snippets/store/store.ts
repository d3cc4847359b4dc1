// Where snippets and their ends are kept: the one truth about them, whatever carries their ids to the
// scheduler. Implementations (SQLite, PostgreSQL) own atomicity and durability and nothing else; one
// conformance suite holds them to this text. Everything here may reject with `StoreDown` when the
// database cannot be reached; nothing was done then, or it is safe to do the same again.
import type { CancelledBy } from "../../../protocol/outcome.ts";
import type { Snippet, SnippetEnd, SnippetRecord, SnippetState } from "../snippet.ts";

/** The database does not answer, or refuses (full, read-only). */
export class StoreDown extends Error {
  readonly remedy: string;

  constructor(message: string, remedy: string) {
    super(message);
    this.name = "StoreDown";
    this.remedy = remedy;
  }
}

export interface NewSnippet {
  snippet: Snippet;
  /** Of the owner: the same key with the same digest is the same snippet. */
  idempotency?: { key: string; digest: string };
}

export type Inserted =
  | { kind: "new"; id: string }
  /** Of an earlier insert with that key. */
  | { kind: "known"; id: string }
  /** The key was used for something else. */
  | { kind: "conflict"; id: string };

/** What a queue holds of a snippet. */
export interface QueueItem {
  id: string;
  language: string;
  priority: number;
  owner: string;
  /** Unix milliseconds. */
  createdAt: number;
}

export type Claim =
  /** It is this master's to run, as attempt `attempt`. */
  | { kind: "claimed"; snippet: Snippet; attempt: number }
  | { kind: "finished" }
  /** Another master that lives has it; worth another look when that one's lease may be over. */
  | { kind: "taken"; untilMs: number }
  /** No such snippet. */
  | { kind: "unknown" };

export interface SnippetQuery {
  /** Absent: of all owners. */
  owner?: string;
  state?: SnippetState;
  language?: string;
  /** Only snippets older than the one with this id. */
  before?: string;
  limit: number;
}

/** Without output, files, task and input files: what a list shows. */
export interface SnippetSummary {
  id: string;
  owner: string;
  language: string;
  priority: number;
  state: SnippetState;
  attempt: number;
  createdAt: number;
  startedAt?: number;
  finishedAt?: number;
  outcome?: SnippetEnd["outcome"];
  facts?: SnippetEnd["facts"];
  node?: string;
}

export interface SnippetStore {
  /**
   * Stores all that are new, or none; durable when it resolves. Where one is a conflict none is
   * stored, and what is said of the others means nothing. The same again gives the same answers. `isPublished` false: a broker that keeps messages by itself still has to be told (see
   * `unpublished`).
   */
  insert(snippets: readonly NewSnippet[], options: { isPublished: boolean }): Promise<Inserted[]>;
  /** A broker has confirmed that it keeps their ids. */
  markPublished(ids: readonly string[]): Promise<void>;
  /** Queued ones that no broker has confirmed, oldest first: a master ended in between. */
  unpublished(limit: number): Promise<QueueItem[]>;
  /** All queued ones, oldest first, in pages of `limit` after the id `after`. */
  queued(after: string | undefined, limit: number): Promise<QueueItem[]>;

  /**
   * Takes a snippet for this master: queued ones, and running ones whose master's lease is over or
   * which this master had before its own restart (same `master` name, other `boot`). The attempt
   * number grows with each claim. A master that never had a lease does not live. One whose attempt
   * came to nothing after somebody wanted it cancelled is finished as cancelled: it is "finished".
   */
  claim(id: string, by: { master: string; boot: string }): Promise<Claim>;
  /** It runs on a node since then. Nothing where the attempt is not the present one. */
  started(id: string, attempt: number, at: number): Promise<void>;
  /** Back to queued (or still), when the attempt is the present one and it has not finished. */
  release(id: string, attempt: number): Promise<boolean>;
  /**
   * The end; durable when it resolves. The first one counts: false when there was one already, and
   * nothing was changed. `attempt`: the one that it is of, which need not be the present one.
   */
  finish(id: string, attempt: number, end: SnippetEnd): Promise<boolean>;
  /**
   * Queued: it is finished as cancelled. Running: it is noted, and whoever runs it is to be told.
   */
  cancel(
    id: string,
    by: CancelledBy,
    now: number,
  ): Promise<"cancelled" | "requested" | "over" | "unknown">;

  /** Running ones of this master that somebody wants cancelled. */
  cancelAsked(master: string): Promise<string[]>;

  get(id: string): Promise<SnippetRecord | undefined>;
  /** Newest first. */
  list(query: SnippetQuery): Promise<SnippetSummary[]>;
  /** How many are queued, by language, and the creation time of the oldest. */
  depths(): Promise<{ [language: string]: { count: number; oldestAt: number } }>;

  /**
   * Callbacks that are due: ends whose URL was not told yet, longest due first. Kept here so that a
   * restart goes on. `next`: Unix milliseconds of the next try; undefined: it is told, or given up.
   */
  dueCallbacks(now: number, limit: number): Promise<{ id: string; url: string; tries: number }[]>;
  callbackTried(id: string, next: number | undefined): Promise<void>;

  /** This master lives until then; claims of masters whose lease is over can be taken. */
  renewLease(master: string, boot: string, untilMs: number): Promise<void>;
  /** Ids of running snippets whose master's lease is over at `now`. */
  abandoned(now: number, limit: number): Promise<QueueItem[]>;

  /** Removes finished ones that ended before `finishedBefore`; gives how many. */
  prune(finishedBefore: number, limit: number): Promise<number>;
  close(): Promise<void>;
}
