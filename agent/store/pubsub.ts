// Channels and patterns of one keyspace, and who is subscribed to them.
// The number of subscriptions lies in shared memory: the main thread reads it to skip
// publications that nobody would get.

import type { Client } from "./client.ts";
import { matchesGlob } from "./glob.ts";

export class PubSub {
  readonly channels = new Map<string, Set<Client>>();
  readonly patterns = new Map<string, Set<Client>>();
  readonly #count: Int32Array<SharedArrayBuffer>;
  /** Told of every publication by a client of this keyspace. */
  readonly onPublish: (channel: string, message: string) => void;

  constructor(
    count: Int32Array<SharedArrayBuffer>,
    onPublish: (channel: string, message: string) => void,
  ) {
    this.#count = count;
    this.onPublish = onPublish;
  }

  subscribe(kind: "channels" | "patterns", name: string, client: Client): void {
    if (client[kind].has(name)) return;
    client[kind].add(name);
    const clients = this[kind].get(name);
    if (clients === undefined) this[kind].set(name, new Set([client]));
    else clients.add(client);
    Atomics.add(this.#count, 0, 1);
  }

  unsubscribe(kind: "channels" | "patterns", name: string, client: Client): void {
    if (!client[kind].delete(name)) return;
    const clients = this[kind].get(name);
    clients?.delete(client);
    if (clients?.size === 0) this[kind].delete(name);
    Atomics.sub(this.#count, 0, 1);
  }

  removeClient(client: Client): void {
    for (const name of client.channels) this.unsubscribe("channels", name, client);
    for (const name of client.patterns) this.unsubscribe("patterns", name, client);
  }

  /** Delivers to the subscribers of the keyspace and returns how many there were. */
  deliver(channel: string, message: string): number {
    let receivers = 0;
    const clients = this.channels.get(channel);
    if (clients !== undefined) {
      const body = `3\r\n$7\r\nmessage\r\n${bulk(channel)}${bulk(message)}`;
      for (const client of clients) client.deliver((client.resp === 2 ? "*" : ">") + body);
      receivers += clients.size;
    }
    for (const [pattern, subscribed] of this.patterns) {
      if (!matchesGlob(pattern, channel)) continue;
      const body = `4\r\n$8\r\npmessage\r\n${bulk(pattern)}${bulk(channel)}${bulk(message)}`;
      for (const client of subscribed) client.deliver((client.resp === 2 ? "*" : ">") + body);
      receivers += subscribed.size;
    }
    return receivers;
  }
}

function bulk(text: string): string {
  return `$${text.length}\r\n${text}\r\n`;
}
