// Snippets in PostgreSQL, which several masters may share. Makes rows of snippets and snippets of rows,
// and looks again where another master was quicker; what is atomic, the statements say.
import type { CancelledBy } from "../../../../protocol/outcome.ts";
import type { Clock } from "../../../clock.ts";
import type { SnippetEnd, SnippetRecord } from "../../snippet.ts";
import {
  cancelledEnd,
  endColumns,
  itemOf,
  recordOf,
  type SnippetColumns,
  snippetColumns,
  snippetOf,
  stateNumbers,
  summaryOf,
} from "../columns.ts";
import { Doubts } from "../doubts.ts";
import { conflictsOf } from "../key-conflicts.ts";
import {
  type Claim,
  type Inserted,
  type NewSnippet,
  type QueueItem,
  type SnippetQuery,
  type SnippetStore,
  type SnippetSummary,
  StoreDown,
} from "../store.ts";
import { Connections } from "./connections.ts";
import { migrate } from "./migrate.ts";
import * as statements from "./statements.ts";

export interface PostgresSnippetsOptions {
  /** postgres://user:password@host:port/database */
  url: string;
  /** Most connections at once; 10 when absent. */
  poolSize?: number;
  /** For a connection, and again for a statement; 5,000 when absent. */
  timeoutMs?: number;
  /** By which the times of leases were reckoned; the system's when absent. */
  clock?: Clock;
}

/** How often another master may be quicker before the store counts as down. */
const looks = 20;

export class PostgresSnippets implements SnippetStore {
  readonly #connections: Connections;
  readonly #clock: Clock;
  readonly #doubts = new Doubts();

  private constructor(connections: Connections, clock: Clock) {
    this.#connections = connections;
    this.#clock = clock;
  }

  /** Rejects with StoreDown when the database cannot be had, or is of a newer release. */
  static async open(options: PostgresSnippetsOptions): Promise<PostgresSnippets> {
    const { url, poolSize = 10, timeoutMs = 5000, clock = Date.now } = options;
    const connections = new Connections({ url, poolSize, timeoutMs });
    try {
      await migrate(connections);
    } catch (error) {
      await connections.close();
      throw error;
    }
    return new PostgresSnippets(connections, clock);
  }

  async insert(
    snippets: readonly NewSnippet[],
    options: { isPublished: boolean },
  ): Promise<Inserted[]> {
    const rows = snippets.map(snippetColumns);
    if (rows.length === 0) return [];
    // Of one snippet the insert itself tells.
    if (rows.length > 1 && rows.some(({ key }) => key !== null)) {
      const conflicts = await this.#conflicts(rows);
      if (conflicts !== undefined) return conflicts;
    }
    const answers = new Map<string, Inserted>();
    for (let left = looks; ; left--) {
      const missing = rows.filter(({ id }) => !answers.has(id));
      const added = await this.#connections.query(
        statements.insert(distinct(missing), options.isPublished),
      );
      for (const { id } of added) answers.set(String(id), { kind: "new", id: String(id) });
      await this.#lookForKnown(rows, answers);
      if (rows.every(({ id }) => answers.has(id))) break;
      // What was in the way was removed before it could be looked at.
      if (left === 1) throw crowded();
    }
    return rows.map(({ id }) => answers.get(id) ?? { kind: "new", id });
  }

  /**
   * Two calls at the same moment that use one key for different things may both pass this: the later
   * one then stores what has no conflict.
   */
  async #conflicts(rows: readonly SnippetColumns[]): Promise<Inserted[] | undefined> {
    const found = await this.#connections.query(statements.known(rows));
    return conflictsOf(rows, (owner, key) => {
      const row = found.find((row) => row.owner === owner && row.key === key);
      return row === undefined ? undefined : { id: String(row.id), digest: row.digest };
    });
  }

  async #lookForKnown(rows: readonly SnippetColumns[], answers: Map<string, Inserted>) {
    const missing = rows.filter(({ id }) => !answers.has(id));
    if (missing.length === 0) return;
    const found = await this.#connections.query(statements.known(missing));
    for (const { id, owner, key, digest } of missing) {
      const byKey = found.find((row) => key !== null && row.key === key && row.owner === owner);
      // The same call again: its first answer was lost.
      if (found.some((row) => row.id === id)) answers.set(id, { kind: "new", id });
      else if (byKey !== undefined) {
        const kind = byKey.digest === digest ? "known" : "conflict";
        answers.set(id, { kind, id: String(byKey.id) });
      }
    }
  }

  async markPublished(ids: readonly string[]): Promise<void> {
    await this.#connections.query(statements.markPublished(ids));
  }

  async unpublished(limit: number): Promise<QueueItem[]> {
    return (await this.#connections.query(statements.unpublished(limit))).map(itemOf);
  }

  async queued(after: string | undefined, limit: number): Promise<QueueItem[]> {
    return (await this.#connections.query(statements.queued(after ?? "", limit))).map(itemOf);
  }

  async claim(id: string, by: { master: string; boot: string }): Promise<Claim> {
    const name = JSON.stringify(["claim", id, by.master, by.boot]);
    return await this.#doubts.call(name, (isInDoubt) => this.#claim(id, { ...by, isInDoubt }));
  }

  async #claim(
    id: string,
    by: { master: string; boot: string; isInDoubt: boolean },
  ): Promise<Claim> {
    for (let left = looks; left > 0; left--) {
      const [row] = await this.#connections.query(statements.claim(id, by));
      if (row === undefined) return { kind: "unknown" };
      if (row.verdict === "finished") return { kind: "finished" };
      if (row.verdict === "taken") {
        return { kind: "taken", untilMs: this.#clock() + Math.max(0, Number(row.leftMs)) };
      }
      if (typeof row.claimed === "number") {
        return { kind: "claimed", snippet: snippetOf(row), attempt: row.claimed };
      }
      if (row.verdict !== "cancelled") continue;
      // Somebody wanted it cancelled while it ran, and that attempt came to nothing.
      const end = cancelledEnd(row.cancel as CancelledBy, this.#clock());
      const only = { state: Number(row.state), attempt: Number(row.attempt) };
      const finish = statements.finish(id, only.attempt, endColumns(end), only);
      if ((await this.#connections.query(finish)).length > 0) return { kind: "finished" };
    }
    throw crowded();
  }

  async started(id: string, attempt: number, at: number): Promise<void> {
    await this.#connections.query(statements.started(id, attempt, at));
  }

  async release(id: string, attempt: number): Promise<boolean> {
    return (await this.#connections.query(statements.release(id, attempt))).length > 0;
  }

  async finish(id: string, attempt: number, end: SnippetEnd): Promise<boolean> {
    const finish = statements.finish(id, attempt, endColumns(end));
    return await this.#doubts.call(JSON.stringify(["finish", id, attempt]), async (isInDoubt) => {
      if ((await this.#connections.query(finish)).length > 0) return true;
      if (!isInDoubt) return false;
      return (await this.#connections.query(statements.endedBy(id, attempt))).length > 0;
    });
  }

  async cancel(
    id: string,
    by: CancelledBy,
    now: number,
  ): Promise<"cancelled" | "requested" | "over" | "unknown"> {
    const statement = statements.cancel(id, by, endColumns(cancelledEnd(by, now)));
    const [row] = await this.#connections.query(statement);
    if (row?.changed === stateNumbers.finished) return "cancelled";
    if (row?.changed === stateNumbers.running) return "requested";
    return row?.known === true ? "over" : "unknown";
  }

  async cancelAsked(master: string): Promise<string[]> {
    const rows = await this.#connections.query(statements.cancelAsked(master));
    return rows.map(({ id }) => String(id));
  }

  async get(id: string): Promise<SnippetRecord | undefined> {
    const rows = await this.#connections.query(statements.get(id));
    const [first] = rows;
    if (first === undefined) return undefined;
    return recordOf(
      first,
      rows.filter(({ position }) => position !== null),
    );
  }

  async list(query: SnippetQuery): Promise<SnippetSummary[]> {
    return (await this.#connections.query(statements.list(query))).map(summaryOf);
  }

  async depths(): Promise<{ [language: string]: { count: number; oldestAt: number } }> {
    const rows = await this.#connections.query(statements.depths);
    return Object.fromEntries(
      rows.map(({ language, count, oldestAt }) => [
        String(language),
        { count: Number(count), oldestAt: Number(oldestAt) },
      ]),
    );
  }

  async dueCallbacks(
    now: number,
    limit: number,
  ): Promise<{ id: string; url: string; tries: number }[]> {
    const rows = await this.#connections.query(statements.dueCallbacks(now, limit));
    return rows.map(({ id, url, tries }) => ({
      id: String(id),
      url: String(url),
      tries: Number(tries),
    }));
  }

  async callbackTried(id: string, next: number | undefined): Promise<void> {
    await this.#connections.query(statements.callbackTried(id, next));
  }

  async renewLease(master: string, boot: string, untilMs: number): Promise<void> {
    await this.#connections.query(statements.renewLease(master, boot, untilMs - this.#clock()));
  }

  async abandoned(now: number, limit: number): Promise<QueueItem[]> {
    const statement = statements.abandoned(now - this.#clock(), limit);
    return (await this.#connections.query(statement)).map(itemOf);
  }

  async prune(finishedBefore: number, limit: number): Promise<number> {
    const [row] = await this.#connections.query(statements.prune(finishedBefore, limit));
    return Number(row?.count);
  }

  async close(): Promise<void> {
    await this.#connections.close();
  }
}

/** One row an id: PostgreSQL would join its body twice. */
function distinct(rows: readonly SnippetColumns[]): SnippetColumns[] {
  return [...new Map(rows.toReversed().map((row) => [row.id, row])).values()].reverse();
}

function crowded(): StoreDown {
  return new StoreDown(
    "other masters changed the same snippet again and again",
    "Try again; report this when it stays.",
  );
}
