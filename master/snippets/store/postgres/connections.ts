// The connections to PostgreSQL. Every statement is answered or rejected within a bounded time, whatever
// the server does; connections that broke are replaced by the next statement. The password stays in the
// driver: no error and no text here holds it.
import pg from "pg";
import type { Row } from "../columns.ts";
import { StoreDown } from "../store.ts";
import { endsSession, errorOf, isWorthAgain } from "./problems.ts";

export interface Statement {
  /** Statements with a name are parsed once a connection; absent: its text varies. */
  name?: string;
  text: string;
  values?: readonly unknown[];
  /** About how large its values are: time is given to send them. */
  bytes?: number;
}

export interface ConnectionOptions {
  /** postgres://user:password@host:port/database */
  url: string;
  /** Most connections at once. */
  poolSize: number;
  /** For a connection, and again for a small statement. */
  timeoutMs: number;
}

const bytesPerMs = 2000;
const tries = 5;

export class Connections {
  readonly #pool: pg.Pool;
  readonly #where: string;
  readonly #timeoutMs: number;
  readonly #asked = new Set<Promise<unknown>>();
  #closing: Promise<void> | undefined;

  constructor({ url, poolSize, timeoutMs }: ConnectionOptions) {
    this.#where = whereOf(url);
    this.#timeoutMs = timeoutMs;
    this.#pool = new pg.Pool({
      connectionString: url,
      max: poolSize,
      connectionTimeoutMillis: timeoutMs,
      // Nothing here holds a lock for long: more than this is a server that is in trouble.
      lock_timeout: timeoutMs,
      idle_in_transaction_session_timeout: timeoutMs,
      keepAlive: true,
      application_name: "edgedag",
    });
    // Without listeners, the end of a connection would be the end of this process. What it means is
    // told by the statements that it breaks.
    this.#pool.on("error", () => {});
    this.#pool.on("connect", (client) => client.on("error", () => {}));
  }

  /** Rejects with StoreDown; with InDoubt when it may have been done. */
  async query(statement: Statement): Promise<Row[]> {
    for (let left = tries; ; left--) {
      try {
        return await this.#track(this.#once(statement));
      } catch (error) {
        if (!isWorthAgain(error) || left === 1) throw errorOf(error, this.#where, true);
      }
    }
  }

  /** Statements of one transaction; any error undoes all of them. */
  async transaction(work: (query: (statement: Statement) => Promise<Row[]>) => Promise<void>) {
    const client = await this.#connect();
    let broken: unknown = true;
    try {
      const query = (statement: Statement) => this.#ask(client, statement);
      await query({ text: "BEGIN" });
      await work(query);
      await query({ text: "COMMIT" });
      broken = undefined;
    } catch (error) {
      throw error instanceof StoreDown ? error : errorOf(error, this.#where, true);
    } finally {
      // A transaction that was not ended ends with its connection.
      client.release(broken !== undefined);
    }
  }

  /** After everything that was asked. */
  close(): Promise<void> {
    this.#closing ??= (async () => {
      await Promise.allSettled(this.#asked);
      // A server that does not answer a goodbye must not hold up the end.
      const timeout = Promise.withResolvers<void>();
      const timer = setTimeout(timeout.resolve, this.#timeoutMs);
      await Promise.race([this.#pool.end(), timeout.promise]);
      clearTimeout(timer);
    })();
    return this.#closing;
  }

  async #once(statement: Statement): Promise<Row[]> {
    const client = await this.#connect();
    let isBroken = false;
    try {
      return await this.#ask(client, statement);
    } catch (error) {
      isBroken = endsSession(error);
      throw error;
    } finally {
      client.release(isBroken);
    }
  }

  async #connect(): Promise<pg.PoolClient> {
    if (this.#closing !== undefined) {
      throw new StoreDown("the snippets' database is closed", "Ask before the service ends.");
    }
    try {
      return await this.#pool.connect();
    } catch (error) {
      throw errorOf(error, this.#where, false);
    }
  }

  async #ask(client: pg.PoolClient, statement: Statement): Promise<Row[]> {
    const { name, text, values = [], bytes = 0 } = statement;
    const config = {
      text,
      values: values.map(storable),
      ...(name === undefined ? {} : { name: `edgedag ${name}` }),
      // Of the driver, though its types do not have it.
      query_timeout: this.#timeoutMs + Math.ceil(bytes / bytesPerMs),
    };
    return (await client.query(config)).rows;
  }

  #track<T>(asked: Promise<T>): Promise<T> {
    const tracked = asked.finally(() => this.#asked.delete(tracked));
    this.#asked.add(tracked);
    return tracked;
  }
}

/** PostgreSQL's text cannot hold U+0000. */
function storable(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(storable);
  return typeof value === "string" && value.includes("\0")
    ? value.replaceAll("\0", "\ufffd")
    : value;
}

/** Host and database, for people. */
function whereOf(url: string): string {
  if (!URL.canParse(url)) {
    throw new StoreDown(
      "the URL of the database cannot be read",
      "Give DATABASE_URL the form postgres://user:password@host:port/database.",
    );
  }
  const { host, pathname, searchParams } = new URL(url);
  return `${host || searchParams.get("host") || "this machine"}${pathname}`;
}
