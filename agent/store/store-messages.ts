// What the main thread and the store thread tell each other. Types only.

/** A publication: channel and message, as text when they are valid UTF-8. */
export interface Publication {
  channel: string;
  message: string | Buffer;
}

export type ToStore =
  | {
      type: "open";
      id: number;
      socketPath: string;
      quotaBytes: number;
      /** One 32-bit count of subscriptions, kept by the store thread. */
      subscriptions: Int32Array<SharedArrayBuffer>;
      /** Clients wait until the main thread has been told of them. */
      tellsReached: boolean;
    }
  /** Those who have reached the keyspace so far are served. */
  | { type: "admit"; id: number }
  /** Pairs of channel and message, flat. */
  | { type: "publish"; id: number; items: string[] }
  /** So many bytes of publications have been taken in. */
  | { type: "taken"; bytes: number }
  | { type: "close"; id: number };

export type FromStore =
  | { type: "opened"; id: number }
  | { type: "refused"; id: number; code: string; detail: string }
  /** A client has connected, and waits. */
  | { type: "reached"; id: number }
  /** Pairs of channel and message, flat, of one keyspace, in the order of publication. */
  | { type: "published"; id: number; bytes: number; items: (string | Uint8Array)[] }
  | { type: "closed"; id: number }
  /** A bug in a command; the store goes on. */
  | { type: "fault"; detail: string };
