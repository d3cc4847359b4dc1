// The store's thread: opens and closes keyspaces as the main thread asks, and hands it the
// publications of tasks, all of one turn of the loop in one message. Knows nothing of the agent.
// Publications not yet taken in by the main thread are bounded: above that, publishers wait.

import { isUtf8 } from "node:buffer";
import { parentPort } from "node:worker_threads";
import { Executor } from "./execute.ts";
import { KeyspaceServer } from "./server.ts";
import type { FromStore, ToStore } from "./store-messages.ts";

/** Publications on their way to the main thread above which publishers are held. */
const inFlightLimitBytes = 8 * 1024 * 1024;
const publicationBytes = 64;

if (parentPort === null) throw new Error("store-thread.ts must be started as a worker thread");
const port = parentPort;
startStore(
  (message) => port.postMessage(message),
  (receive) => port.on("message", receive),
);

function startStore(
  send: (message: FromStore) => void,
  listen: (receive: (message: ToStore) => void) => void,
): void {
  const servers = new Map<number, KeyspaceServer>();
  const executor = new Executor((detail) => send({ type: "fault", detail }));
  const pending = new Map<number, { bytes: number; items: (string | Uint8Array)[] }>();
  let inFlightBytes = 0;

  const flush = (): void => {
    for (const [id, batch] of pending) send({ type: "published", id, ...batch });
    pending.clear();
  };

  const onPublish = (id: number, channel: string, message: string): void => {
    if (pending.size === 0) setImmediate(flush);
    let batch = pending.get(id);
    if (batch === undefined) {
      batch = { bytes: 0, items: [] };
      pending.set(id, batch);
    }
    const bytes = channel.length + message.length + publicationBytes;
    batch.bytes += bytes;
    inFlightBytes += bytes;
    batch.items.push(decode(channel), decode(message));
  };

  const open = async (message: Extract<ToStore, { type: "open" }>): Promise<void> => {
    const { id, socketPath, quotaBytes, subscriptions, tellsReached } = message;
    const server = new KeyspaceServer({
      quotaBytes,
      subscriptions,
      executor,
      onPublish: (channel, text) => onPublish(id, channel, text),
      isCongested: () => inFlightBytes > inFlightLimitBytes,
      ...(tellsReached ? { onReached: () => send({ type: "reached", id }) } : {}),
    });
    try {
      await server.listen(socketPath);
      servers.set(id, server);
      send({ type: "opened", id });
    } catch (error) {
      const { code = "EUNKNOWN", message: detail } = error as NodeJS.ErrnoException;
      send({ type: "refused", id, code, detail });
    }
  };

  const close = async (id: number): Promise<void> => {
    await servers.get(id)?.close();
    servers.delete(id);
    flush();
    send({ type: "closed", id });
  };

  listen((message) => {
    switch (message.type) {
      case "open":
        void open(message);
        break;
      case "publish":
        for (let at = 0; at + 1 < message.items.length; at += 2) {
          const [channel = "", text = ""] = message.items.slice(at, at + 2);
          servers.get(message.id)?.publish(encode(channel), encode(text));
        }
        break;
      case "taken":
        inFlightBytes -= message.bytes;
        if (inFlightBytes <= inFlightLimitBytes) {
          for (const server of servers.values()) server.release();
        }
        break;
      case "admit":
        servers.get(message.id)?.admit();
        break;
      case "close":
        void close(message.id);
        break;
      default:
        message satisfies never;
    }
  });
}

/** Bytes as latin1 text become the text that they are, or stay bytes when they are not UTF-8. */
function decode(latin1: string): string | Uint8Array {
  if (!/[\u0080-\u00ff]/.test(latin1)) return latin1;
  const bytes = Buffer.from(latin1, "latin1");
  return isUtf8(bytes) ? bytes.toString("utf8") : bytes;
}

function encode(text: string): string {
  return /[\u0080-\uffff]/.test(text) ? Buffer.from(text, "utf8").toString("latin1") : text;
}
