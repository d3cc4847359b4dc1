// One connection to the store of the run that this code belongs to. Made when it is first used, and
// made anew when the run has changed; never repaired behind the caller's back: a broken one rejects
// what waits, and the next command connects again. It keeps the process alive only while it waits.
import { connect as connectPlain } from "node:net";
import { variable, worker } from "./context.js";
import { StoreError, StoreUnreachable } from "./errors.js";
import { encode, Reader } from "./resp.js";

/** Where the store is: a socket path, or a redis:// URL. */
export function address() {
  return process.env.EDGEDAG_STORE_URL || variable("EDGEDAG_STORE");
}

/** @typedef {(string | number | Uint8Array)[]} Command */

export class Connection {
  #where;
  #socket;
  #reader = new Reader();
  /** @type {{ resolve(value: unknown): void, reject(error: Error): void }[]} */
  #waiting = [];
  /** @type {Error | undefined} */
  #problem;
  /** @type {((push: unknown[]) => void) | undefined} */
  #onPush;

  /**
   * @param {string} where
   * @param {(push: unknown[]) => void} [onPush] for subscriptions: takes what is no reply
   */
  constructor(where, onPush) {
    this.#where = where;
    this.#onPush = onPush;
    this.#socket = open(where);
    this.#socket.on("data", (chunk) => this.#data(chunk));
    this.#socket.on("error", (error) => this.#fail(error.message));
    this.#socket.on("close", () => this.#fail("the store has closed the connection"));
    if (onPush === undefined) this.#socket.unref();
    this.#introduce();
  }

  get isBroken() {
    return this.#problem !== undefined;
  }

  /** @param {Command} command */
  execute(command) {
    const bytes = encode(command);
    if (this.#problem !== undefined) return Promise.reject(this.#problem);
    this.#socket.ref();
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#socket.write(bytes);
    });
  }

  /** @param {Error} [why] */
  close(why) {
    this.#problem ??= why ?? new StoreUnreachable("the connection is closed");
    this.#socket.destroy();
    for (const { reject } of this.#waiting.splice(0)) reject(this.#problem);
  }

  #introduce() {
    if (!this.#where.includes("://")) return;
    const url = new URL(this.#where);
    const ignore = () => {};
    if (url.password !== "") {
      const user = url.username === "" ? [] : [decodeURIComponent(url.username)];
      this.execute(["AUTH", ...user, decodeURIComponent(url.password)]).catch((error) =>
        this.close(error),
      );
    }
    const database = url.pathname.replaceAll("/", "");
    // A wrong number shows as an error of the commands that follow.
    if (database !== "") this.execute(["SELECT", database]).catch(ignore);
  }

  /** @param {Uint8Array} chunk */
  #data(chunk) {
    this.#reader.add(chunk);
    try {
      for (let reply = this.#reader.next(); reply !== undefined; reply = this.#reader.next()) {
        this.#take(reply);
      }
    } catch (error) {
      this.#fail(error instanceof Error ? error.message : String(error));
    }
  }

  /** @param {unknown} reply */
  #take(reply) {
    const kind = Array.isArray(reply) ? String(reply[0]) : "";
    if (this.#onPush !== undefined && kind === "message" && Array.isArray(reply)) {
      this.#onPush(reply);
      return;
    }
    const first = this.#waiting.shift();
    if (reply instanceof StoreError) first?.reject(reply);
    else first?.resolve(reply);
    if (this.#waiting.length === 0 && this.#onPush === undefined) this.#socket.unref();
  }

  /** @param {string} detail */
  #fail(detail) {
    if (this.#problem !== undefined) return;
    this.close(new StoreUnreachable(`the store at ${this.#where}: ${detail}`));
  }
}

/** @param {string} where */
function open(where) {
  if (!where.includes("://")) return connectPlain(where);
  const url = new URL(where);
  const port = url.port === "" ? 6379 : Number(url.port);
  const host = url.hostname.replace(/^\[|\]$/g, "") || "127.0.0.1";
  if (url.protocol !== "rediss:") return connectPlain({ host, port, noDelay: true });
  // node:tls takes long to load, and is rarely wanted.
  return process.getBuiltinModule("node:tls").connect({ host, port, servername: host });
}

/** The connection for commands, shared by everything in the process. */
const shared = { where: "", connection: /** @type {Connection | undefined} */ (undefined) };

/**
 * @param {Command} command
 * @returns {Promise<unknown>}
 */
export async function execute(command) {
  const where = address();
  if (shared.connection === undefined || shared.connection.isBroken || shared.where !== where) {
    shared.connection?.close();
    shared.connection = new Connection(where);
    shared.where = where;
  }
  beforeWaiting();
  const reply = shared.connection.execute(command);
  holdCall(reply);
  return await reply;
}

/** In a warm worker: the answers of earlier calls go out first, because others may wait for them. */
export function beforeWaiting() {
  worker()?.flush();
}

/**
 * In a warm worker the call is over only when this has settled, also when nobody awaits it.
 * @param {Promise<unknown>} reply
 */
function holdCall(reply) {
  const pending = worker()?.pending;
  if (pending === undefined) return;
  const settled = reply.then(
    () => {},
    () => {},
  );
  pending.add(settled);
  settled.then(() => pending.delete(settled));
}
