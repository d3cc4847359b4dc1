// One keyspace served on one Unix socket: connections, turns, and who is held back.
// A turn carries out the requests of one chunk; at its end every client that got something is
// sent all of it in one write. A client that does not read its replies is not read from either,
// so nothing a client asks for can pile up here; only publications can, and client.ts bounds them.

import { createServer, type Server, type Socket } from "node:net";
import { Client } from "./client.ts";
import { forgetWatches } from "./commands/transactions.ts";
import type { Executor } from "./execute.ts";
import { Keyspace } from "./keyspace.ts";
import { PubSub } from "./pubsub.ts";

/** Replies above this are sent before more requests are carried out. */
const replyTurnBytes = 256 * 1024;
/** A client with more unread replies than this is held until it has read them. */
const unreadLimitBytes = 1024 * 1024;
/** A blocked client may send ahead this much. */
const aheadLimitBytes = 32 * 1024 * 1024;
/** The longest bulk string that a string of V8 can hold with room for a reply around it. */
const longestCommandBytes = 384 * 1024 * 1024;
const leastCommandBytes = 64 * 1024;

export interface KeyspaceServerOptions {
  quotaBytes: number;
  /** Counts the subscriptions for the main thread. */
  subscriptions: Int32Array<SharedArrayBuffer>;
  executor: Executor;
  /** Told of every publication by a client. */
  onPublish: (channel: string, message: string) => void;
  /** True while publications wait for the main thread: publishers are then held. */
  isCongested: () => boolean;
  /** Told of every connection, which is not served before `admit`. */
  onReached?: () => void;
}

export class KeyspaceServer {
  readonly #options: KeyspaceServerOptions;
  readonly #keyspace: Keyspace;
  readonly #pubsub: PubSub;
  readonly #clients = new Map<number, Client>();
  readonly #unsent: Client[] = [];
  readonly #waiting = new Set<Socket>();
  readonly #server: Server;
  #lastClientId = 0;
  #isInTurn = false;

  constructor(options: KeyspaceServerOptions) {
    this.#options = options;
    this.#keyspace = new Keyspace(options.quotaBytes);
    this.#pubsub = new PubSub(options.subscriptions, options.onPublish);
    const { onReached } = options;
    this.#server = createServer((socket) => {
      // A reset by the client is how many of them say goodbye: "close" follows and says it all.
      socket.on("error", () => {});
      if (onReached === undefined) {
        this.#accept(socket);
        return;
      }
      this.#waiting.add(socket);
      onReached();
    });
  }

  /** Resolves when clients can connect; rejects with the system's error. */
  listen(socketPath: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen({ path: socketPath, backlog: 511 }, () => {
        this.#server.off("error", reject);
        // Accepting can fail later, for want of descriptors: the client sees its end and retries.
        this.#server.on("error", () => {});
        resolve();
      });
    });
  }

  /** A publication by the agent: to the subscribers only. */
  publish(channel: string, message: string): void {
    this.#pubsub.deliver(channel, message);
    if (!this.#isInTurn) this.#endTurn();
  }

  /** Lets publishers go on after the main thread has caught up. */
  release(): void {
    for (const client of this.#clients.values()) {
      if (!client.isHeldByHost) continue;
      client.isHeldByHost = false;
      this.#turn(client);
    }
  }

  /** Serves those who have connected so far. */
  admit(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const socket of waiting) if (!socket.destroyed) this.#accept(socket);
  }

  close(): Promise<void> {
    for (const socket of this.#waiting) socket.destroy();
    for (const client of this.#clients.values()) client.drop();
    return new Promise((resolve) => {
      this.#server.close(() => {
        this.#keyspace.close();
        resolve();
      });
    });
  }

  #accept(socket: Socket): void {
    const client = new Client({
      id: ++this.#lastClientId,
      keyspace: this.#keyspace,
      pubsub: this.#pubsub,
      socket,
      commandLimitBytes: Math.min(
        Math.max(this.#options.quotaBytes, leastCommandBytes),
        longestCommandBytes,
      ),
      unsent: this.#unsent,
      peers: this.#clients,
      onResume: (resumed) => {
        resumed.sendLater();
        if (!this.#isInTurn) this.#endTurn();
      },
    });
    this.#clients.set(client.id, client);
    socket.on("data", (chunk: Buffer) => {
      client.parser.push(chunk);
      if (!client.isHeld) this.#turn(client);
      else if (client.unblock === undefined) socket.pause();
      else if (client.parser.bufferedBytes > aheadLimitBytes) client.drop();
    });
    socket.on("drain", () => {
      if (!client.isHeldByOutput) return;
      client.isHeldByOutput = false;
      this.#turn(client);
    });
    // A blocked client that half-closes is gone too: its element must go to another one.
    socket.on("end", () => this.#forget(client));
    socket.on("close", () => this.#forget(client));
  }

  #forget(client: Client): void {
    client.unblock?.();
    this.#pubsub.removeClient(client);
    forgetWatches(client);
    client.transaction = undefined;
    this.#clients.delete(client.id);
  }

  #turn(client: Client): void {
    if (this.#isInTurn) {
      client.sendLater();
      return;
    }
    this.#isInTurn = true;
    this.#carryOut(client);
    this.#isInTurn = false;
    client.send();
    if (this.#unsent.length > 0) this.#endTurn();
  }

  #carryOut(client: Client): void {
    const { parser } = client;
    while (!client.isHeld) {
      const args = parser.next();
      if (args === undefined) {
        if (parser.error !== "") {
          client.error(`ERR ${parser.error}`);
          client.end();
        }
        break;
      }
      this.#options.executor.execute(client, args);
      if (client.out.length > replyTurnBytes) {
        client.send();
        client.isHeldByOutput = client.socket.writableLength > unreadLimitBytes;
      }
    }
    if (client.hasPublished) {
      client.hasPublished = false;
      client.isHeldByHost = this.#options.isCongested();
    }
    const isPaused = client.socket.isPaused();
    const mustPause = client.isHeldByOutput || client.isHeldByHost;
    if (mustPause !== isPaused) {
      if (mustPause) client.socket.pause();
      else client.socket.resume();
    }
  }

  /** Sends what the turn has left for other clients, and carries out what they had sent ahead. */
  #endTurn(): void {
    this.#isInTurn = true;
    for (let client = this.#unsent.pop(); client !== undefined; client = this.#unsent.pop()) {
      client.send();
      if (!client.isHeld && client.parser.bufferedBytes > 0) {
        this.#carryOut(client);
        client.send();
      }
    }
    this.#isInTurn = false;
  }
}
