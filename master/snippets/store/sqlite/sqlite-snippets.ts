// Snippets in one SQLite file, worked on by a thread of its own. This side makes rows of snippets and
// snippets of rows; it decides nothing and holds nothing but doubts about lost answers.
import type { CancelledBy } from "../../../../protocol/outcome.ts";
import type { Clock } from "../../../clock.ts";
import type { SnippetEnd, SnippetRecord } from "../../snippet.ts";
import {
  endColumns,
  itemOf,
  type Row,
  recordOf,
  snippetColumns,
  snippetOf,
  summaryOf,
} from "../columns.ts";
import { Doubts } from "../doubts.ts";
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
import { CallLine } from "./call-line.ts";
import { type Durability, openSnippets } from "./database.ts";
import { BatchRunner, type OperationName, type Operations } from "./operations.ts";
import { ThreadLine } from "./thread-line.ts";

export interface SqliteSnippetsOptions {
  /** Where snippets.db lies; made when it is missing. `:memory:`: nothing is kept, no thread. */
  folder: string;
  durability: Durability;
  /** By which leases are judged; the system's when absent. */
  clock?: Clock;
}

interface Line {
  calls: CallLine;
  close(): Promise<void>;
}

/** What the arguments of a small call are taken to weigh. */
const smallBytes = 200;

export class SqliteSnippets implements SnippetStore {
  readonly #line: Line;
  readonly #clock: Clock;
  readonly #doubts = new Doubts();

  private constructor(line: Line, clock: Clock) {
    this.#line = line;
    this.#clock = clock;
  }

  /** Rejects with StoreDown when the file cannot be had. */
  static async open(options: SqliteSnippetsOptions): Promise<SqliteSnippets> {
    const { folder, durability, clock = Date.now } = options;
    const line =
      folder === ":memory:" ? openMemoryLine() : await ThreadLine.open({ folder, durability });
    return new SqliteSnippets(line, clock);
  }

  async insert(
    snippets: readonly NewSnippet[],
    options: { isPublished: boolean },
  ): Promise<Inserted[]> {
    const rows = snippets.map(snippetColumns);
    const bytes = rows.reduce((sum, { body }) => sum + body.length + smallBytes, 0);
    return await this.#line.calls.call(bytes, "insert", rows, options.isPublished);
  }

  async markPublished(ids: readonly string[]): Promise<void> {
    await this.#call("markPublished", ids);
  }

  async unpublished(limit: number): Promise<QueueItem[]> {
    return (await this.#call("unpublished", limit)).map(itemOf);
  }

  async queued(after: string | undefined, limit: number): Promise<QueueItem[]> {
    return (await this.#call("queued", after ?? "", limit)).map(itemOf);
  }

  async claim(id: string, by: { master: string; boot: string }): Promise<Claim> {
    const name = JSON.stringify(["claim", id, by.master, by.boot]);
    const claim = await this.#doubts.call(name, (isInDoubt) =>
      this.#call("claim", id, { ...by, now: this.#clock(), isInDoubt }),
    );
    if (claim.kind !== "claimed") return claim.kind === "taken" ? claim : { kind: claim.kind };
    return { kind: "claimed", snippet: snippetOf(claim.row), attempt: claim.attempt };
  }

  async started(id: string, attempt: number, at: number): Promise<void> {
    await this.#call("started", id, attempt, at);
  }

  async release(id: string, attempt: number): Promise<boolean> {
    return await this.#call("release", id, attempt);
  }

  async finish(id: string, attempt: number, end: SnippetEnd): Promise<boolean> {
    const columns = endColumns(end);
    const stdout = ownBytes(columns.stdout);
    const stderr = ownBytes(columns.stderr);
    const files = columns.files.map((file) => ({ ...file, content: ownBytes(file.content) }));
    let bytes = smallBytes + stdout.length + stderr.length + (columns.result?.length ?? 0);
    for (const { content } of files) bytes += content.length;
    return await this.#doubts.call(JSON.stringify(["finish", id, attempt]), (isInDoubt) => {
      const own = { ...columns, stdout, stderr, files };
      return this.#line.calls.call(bytes, "finish", id, attempt, own, isInDoubt);
    });
  }

  async cancel(
    id: string,
    by: CancelledBy,
    now: number,
  ): Promise<"cancelled" | "requested" | "over" | "unknown"> {
    return await this.#call("cancel", id, by, now);
  }

  async cancelAsked(master: string): Promise<string[]> {
    return (await this.#call("cancelAsked", master)).map(({ id }) => String(id));
  }

  async get(id: string): Promise<SnippetRecord | undefined> {
    const found = await this.#call("get", id);
    return found === undefined ? undefined : recordOf(found.record, found.files);
  }

  async list(query: SnippetQuery): Promise<SnippetSummary[]> {
    return (await this.#call("list", query)).map(summaryOf);
  }

  async depths(): Promise<{ [language: string]: { count: number; oldestAt: number } }> {
    const rows: Row[] = await this.#call("depths");
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
    return (await this.#call("dueCallbacks", now, limit)).map(({ id, url, tries }) => ({
      id: String(id),
      url: String(url),
      tries: Number(tries),
    }));
  }

  async callbackTried(id: string, next: number | undefined): Promise<void> {
    await this.#call("callbackTried", id, next ?? null);
  }

  async renewLease(master: string, boot: string, untilMs: number): Promise<void> {
    await this.#call("renewLease", master, boot, untilMs);
  }

  async abandoned(now: number, limit: number): Promise<QueueItem[]> {
    return (await this.#call("abandoned", now, limit)).map(itemOf);
  }

  async prune(finishedBefore: number, limit: number): Promise<number> {
    for (let all = 0; ; ) {
      const { removed, isAll } = await this.#call("prune", finishedBefore, limit - all);
      all += removed;
      if (isAll || all >= limit) return all;
    }
  }

  async close(): Promise<void> {
    await this.#line.close();
  }

  #call<Name extends OperationName>(
    name: Name,
    ...args: Parameters<Operations[Name]>
  ): Promise<ReturnType<Operations[Name]>> {
    return this.#line.calls.call(smallBytes, name, ...args);
  }
}

/** A database in memory blocks for microseconds: it needs no thread. */
function openMemoryLine(): Line {
  const opened = openSnippets(":memory:", "process");
  if (!opened.ok) throw new StoreDown(opened.problem.message, opened.problem.remedy);
  const { database } = opened;
  const runner = new BatchRunner(database, "process");
  const calls = new CallLine((batch) => {
    // Cloned as between threads: what is kept must not change with what the caller has.
    setImmediate(() => calls.answered(runner.run(structuredClone(batch))));
  });
  const close = async (): Promise<void> => {
    await calls.end();
    if (database.isOpen) database.close();
  };
  return { calls, close };
}

/**
 * A clone of a view takes its whole buffer along, and small Buffers are views of one that is shared:
 * then only its own bytes are given to the thread.
 */
function ownBytes(bytes: Uint8Array): Uint8Array {
  return bytes.byteLength === bytes.buffer.byteLength ? bytes : new Uint8Array(bytes);
}
