// One connection to a keyspace: its session state and the replies that are not sent yet.
// Owns how a reply looks in RESP2 and RESP3. Replies of one chunk of requests leave in one write.
// Must never be told more than it can hold: publications are bounded here, replies by server.ts.

import type { Socket } from "node:net";
import type { Keyspace, Watcher } from "./keyspace.ts";
import type { PubSub } from "./pubsub.ts";
import { RequestParser } from "./resp.ts";

/** A subscriber that has more than this waiting is disconnected, as Redis does. */
export const pushLimitBytes = 32 * 1024 * 1024;
/** A client whose replies are more than this in one go cannot be served at all. */
export const replyLimitBytes = 400 * 1024 * 1024;

const crlf = "\r\n";
const cachedLengths = 512;
const bulkHeaders = Array.from({ length: cachedLengths }, (_, length) => `$${length}\r\n`);
const smallIntegers = Array.from({ length: cachedLengths }, (_, value) => `:${value}\r\n`);

export interface Transaction {
  commands: string[][];
  bytes: number;
  /** Set when a command could not be queued: EXEC will refuse. */
  isBroken: boolean;
}

export interface ClientOptions {
  id: number;
  keyspace: Keyspace;
  pubsub: PubSub;
  socket: Socket;
  /** Bounds of one command, in bytes. */
  commandLimitBytes: number;
  /** Collects clients that have something to send when the turn of another one ends. */
  unsent: Client[];
  /** All clients of the keyspace, by id. */
  peers: ReadonlyMap<number, Client>;
  /** Called when a client that was blocked has its reply and may read on. */
  onResume: (client: Client) => void;
}

export class Client implements Watcher {
  readonly id: number;
  readonly keyspace: Keyspace;
  readonly pubsub: PubSub;
  readonly socket: Socket;
  readonly parser: RequestParser;
  readonly commandLimitBytes: number;
  readonly startedAt = Date.now();
  name = "";
  library = "";
  libraryVersion = "";
  resp: 2 | 3 = 2;
  lastCommand = "";
  transaction: Transaction | undefined;
  watched: Set<string> | undefined;
  isDirty = false;
  readonly channels = new Set<string>();
  readonly patterns = new Set<string>();
  /** Ends the wait of a blocked client without a reply; absent while it is not blocked. */
  unblock: (() => void) | undefined;
  /** Carries out EXEC: blocking commands answer at once. */
  isExecuting = false;
  isClosing = false;
  /** Reading is held back: by replies that are not read, or by publications not yet delivered. */
  isHeldByOutput = false;
  isHeldByHost = false;
  hasPublished = false;
  out = "";
  readonly peers: ReadonlyMap<number, Client>;
  readonly #unsent: Client[];
  readonly #onResume: (client: Client) => void;
  #isQueued = false;

  constructor(options: ClientOptions) {
    this.id = options.id;
    this.keyspace = options.keyspace;
    this.pubsub = options.pubsub;
    this.socket = options.socket;
    this.commandLimitBytes = options.commandLimitBytes;
    this.parser = new RequestParser(options.commandLimitBytes);
    this.peers = options.peers;
    this.#unsent = options.unsent;
    this.#onResume = options.onResume;
  }

  get isSubscribed(): boolean {
    return this.channels.size + this.patterns.size > 0;
  }

  ok(): void {
    this.out += "+OK\r\n";
  }

  status(text: string): void {
    this.out += `+${text}\r\n`;
  }

  error(text: string): void {
    this.out += `-${text.replace(/[\r\n]/g, " ")}\r\n`;
  }

  integer(value: number | bigint): void {
    this.out += (typeof value === "number" ? smallIntegers[value] : undefined) ?? `:${value}\r\n`;
  }

  bulk(text: string): void {
    this.out += (bulkHeaders[text.length] ?? `$${text.length}\r\n`) + text + crlf;
  }

  bulkOrNull(text: string | undefined): void {
    if (text === undefined) this.null();
    else this.bulk(text);
  }

  null(): void {
    this.out += this.resp === 2 ? "$-1\r\n" : "_\r\n";
  }

  nullArray(): void {
    this.out += this.resp === 2 ? "*-1\r\n" : "_\r\n";
  }

  array(length: number): void {
    this.out += `*${length}\r\n`;
  }

  verbatim(text: string): void {
    if (this.resp === 2) this.bulk(text);
    else this.out += `=${text.length + 4}\r\ntxt:${text}\r\n`;
  }

  /** Header of a map of `length` pairs. */
  map(length: number): void {
    this.out += this.resp === 2 ? `*${2 * length}\r\n` : `%${length}\r\n`;
  }

  set(length: number): void {
    this.out += this.resp === 2 ? `*${length}\r\n` : `~${length}\r\n`;
  }

  push(length: number): void {
    this.out += this.resp === 2 ? `*${length}\r\n` : `>${length}\r\n`;
  }

  bulks(items: readonly string[]): void {
    this.array(items.length);
    for (const item of items) {
      this.bulk(item);
      this.checkReply();
    }
  }

  /** Appends a publication: sent when the turn ends, or the end of a client that never reads. */
  deliver(message: string): void {
    if (this.isClosing) return;
    this.out += message;
    if (this.out.length + this.socket.writableLength > pushLimitBytes) {
      this.drop();
      return;
    }
    this.sendLater();
  }

  /** Within long replies: ends a client whose reply cannot be held in memory. */
  checkReply(): void {
    if (this.out.length > replyLimitBytes) this.drop();
  }

  resume(): void {
    this.#onResume(this);
  }

  /** While true, requests that have arrived are not carried out. */
  get isHeld(): boolean {
    return this.isHeldByOutput || this.isHeldByHost || this.isClosing || this.unblock !== undefined;
  }

  sendLater(): void {
    if (this.#isQueued) return;
    this.#isQueued = true;
    this.#unsent.push(this);
  }

  send(): void {
    this.#isQueued = false;
    if (this.out === "" || this.isClosing) return;
    const out = this.out;
    this.out = "";
    this.socket.write(out, "latin1");
  }

  /** Sends what is waiting, then ends the connection. */
  end(): void {
    this.send();
    this.isClosing = true;
    this.socket.end();
  }

  /** Ends the connection at once; what was not sent is lost. */
  drop(): void {
    this.isClosing = true;
    this.out = "";
    this.socket.destroy();
  }
}
