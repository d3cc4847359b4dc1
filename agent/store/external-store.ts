// A Redis or Valkey in the place of the agent's own store (EDGEDAG_STORE_URL): what remains here is
// listening to what tasks publish, and publishing the states of tasks. Never blocks a run: while the
// server is away, the client library reconnects and publications are lost, as Redis has it.
import { createClient } from "redis";

export interface ExternalStoreOptions {
  url: string;
  /** Channels to listen to. */
  channels: readonly string[];
  onPublish(channel: string, message: string): void;
  onProblem(text: string): void;
}

export interface ExternalChannel {
  isHeard(): boolean;
  publish(channel: string, message: string): void;
  close(): Promise<void>;
}

/** Rejects when the server cannot be reached at first. */
export async function openExternalStore(options: ExternalStoreOptions): Promise<ExternalChannel> {
  const { url, channels, onPublish, onProblem } = options;
  const publisher = createClient({ url });
  const subscriber = publisher.duplicate();
  let lastProblem = "";
  for (const client of [publisher, subscriber]) {
    client.on("error", (error: Error) => {
      // Every attempt to reconnect fails with the same words.
      if (error.message !== lastProblem) onProblem(`the store at ${hostOf(url)}: ${error.message}`);
      lastProblem = error.message;
    });
    client.on("ready", () => {
      lastProblem = "";
    });
  }
  try {
    await Promise.all([publisher.connect(), subscriber.connect()]);
  } catch (error) {
    publisher.destroy();
    subscriber.destroy();
    throw error;
  }
  await subscriber.subscribe([...channels], (message, channel) => onPublish(channel, message));
  return {
    isHeard: () => true, // nobody here knows who listens at the server
    publish: (channel, message) => {
      publisher.publish(channel, message).catch((error: unknown) => {
        onProblem(`the store at ${hostOf(url)}: ${String(error)}`);
      });
    },
    close: async () => {
      // Everything that tasks published before this ping has arrived when it is answered.
      if (subscriber.isReady) await subscriber.ping();
      // Gracefully where the server is there: what was published last goes out first.
      for (const client of [publisher, subscriber]) {
        if (client.isReady) await client.close();
        else client.destroy();
      }
    },
  };
}

/** Without the password. */
function hostOf(url: string): string {
  return URL.canParse(url) ? new URL(url).host : "the given URL";
}
