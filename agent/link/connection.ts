// One WebSocket to the master, from connect to its end. Knows nothing of what is said over it.
// After `drop` it reports nothing more, so that an old socket cannot speak into a new session.
import { readFileSync } from "node:fs";
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { WebSocket } from "ws";
import { frameLimitBytes } from "../../protocol/link-decode.ts";
import { deflateFrame } from "../../protocol/link-deflate.ts";
import { channelBytes, channelLabel, keyHeader } from "../../protocol/node-proof.ts";
import { troubleOf } from "./trouble.ts";

export interface ConnectionEvents {
  open(): void;
  text(text: string): void;
  /** A pong came, or the other side has taken bytes. */
  heard(): void;
  /** The upgrade was answered with another status. */
  rejected(status: number, retryAfterMs: number): void;
  /** The last event. */
  lost(detail: string): void;
}

export interface ConnectionOptions {
  url: string;
  token?: string;
  /** The public key that will be proven. */
  key?: string;
  /** Paths of PEM files; read at each connect, so that they can be renewed. */
  tlsCa?: string;
  tlsCert?: string;
  tlsKey?: string;
}

export class Connection {
  readonly #socket: WebSocket;
  readonly #events: ConnectionEvents;
  #dropped = false;
  #lastError = "";
  #lastBuffered = 0;
  /** Below the WebSocket; below TLS, where there is TLS. */
  #wire: Socket | undefined;
  /** Frames that were handed to the WebSocket. */
  sentFrames = 0;
  /** Large frames are made small; only after the master has said that it reads that. */
  isDeflating = false;

  #channel: string | undefined;

  /** Throws when a file cannot be read or used, or the address is none. */
  constructor(options: ConnectionOptions, events: ConnectionEvents) {
    this.#events = events;
    const { url, token, key } = options;
    const socket = new WebSocket(url, {
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(key === undefined ? {} : { [keyHeader]: key }),
      },
      maxPayload: frameLimitBytes,
      perMessageDeflate: false,
      followRedirects: false,
      ...(options.tlsCa === undefined ? {} : { ca: readFileSync(options.tlsCa) }),
      ...(options.tlsCert === undefined ? {} : { cert: readFileSync(options.tlsCert) }),
      ...(options.tlsKey === undefined ? {} : { key: readFileSync(options.tlsKey) }),
      minVersion: "TLSv1.2",
    });
    this.#socket = socket;
    socket.on("upgrade", ({ socket: transport }) => {
      this.#wire = transport;
      if (!(transport instanceof TLSSocket)) return;
      const material = transport.exportKeyingMaterial(channelBytes, channelLabel, Buffer.alloc(0));
      this.#channel = material.toString("base64url");
    });
    socket.on("open", () => this.#report((to) => to.open()));
    socket.on("pong", () => this.#report((to) => to.heard()));
    socket.on("message", (data) => this.#report((to) => to.text(String(data))));
    socket.on("unexpected-response", (request, response) => {
      const retryAfterMs = retryAfter(response.headers["retry-after"]);
      this.#report((to) => to.rejected(response.statusCode ?? 0, retryAfterMs));
      request.destroy();
    });
    // `close` always follows; this is the better half of its explanation.
    socket.on("error", (error) => {
      this.#lastError = troubleOf(error, url);
    });
    socket.on("close", (code, reason) => {
      const why = reason.length > 0 ? `${code} ${reason}` : `${code}`;
      this.#report((to) =>
        to.lost(this.#lastError === "" ? `closed with ${why}` : this.#lastError),
      );
      this.#dropped = true;
    });
  }

  /** What only both ends of this TLS channel know, as base64url; undefined: there is no TLS. */
  get channel(): string | undefined {
    return this.#channel;
  }

  /** Bytes that the operating system has not taken yet. */
  get bufferedBytes(): number {
    return this.#socket.bufferedAmount;
  }

  /** All that went to the master on this connection: the upgrade, frames, pings. */
  get sentBytes(): number {
    return this.#wire?.bytesWritten ?? 0;
  }

  /** `taken` is called when the operating system has all of it. */
  send(text: string, taken?: () => void): void {
    if (this.#socket.readyState === WebSocket.OPEN) {
      this.sentFrames += 1;
      this.#socket.send(this.isDeflating ? deflateFrame(text) : text, (error) => {
        // A failed send is followed by `close`.
        if (error == null && !this.#dropped) {
          taken?.();
        }
      });
    }
  }

  ping(): void {
    if (this.#socket.readyState === WebSocket.OPEN) {
      this.sentFrames += 1;
      this.#socket.ping();
    }
  }

  /** On a slow line the pong comes late, but the queue gets shorter: that is life, too. */
  checkProgress(): void {
    const buffered = this.#socket.bufferedAmount;
    if (buffered < this.#lastBuffered) {
      this.#events.heard();
    }
    this.#lastBuffered = buffered;
  }

  /** Says goodbye; `lost` follows when the other side has answered. */
  close(): void {
    this.#socket.close(1000, "agent stops");
  }

  drop(): void {
    this.#dropped = true;
    this.#socket.terminate();
  }

  #report(tell: (events: ConnectionEvents) => void): void {
    if (!this.#dropped) {
      tell(this.#events);
    }
  }
}

/** Seconds, or a date; 0 where it says neither. */
function retryAfter(value: string | undefined): number {
  if (value === undefined) return 0;
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : 0;
}
