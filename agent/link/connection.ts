// One WebSocket to the master, from connect to its end. Knows nothing of what is said over it.
// After `drop` it reports nothing more, so that an old socket cannot speak into a new session.
import { readFileSync } from "node:fs";
import { WebSocket } from "ws";
import { frameLimitBytes } from "../../protocol/link-decode.ts";

export interface ConnectionEvents {
  open(): void;
  text(text: string): void;
  /** A pong came, or the other side has taken bytes. */
  heard(): void;
  /** The upgrade was answered with another status. */
  rejected(status: number): void;
  /** The last event. */
  lost(detail: string): void;
}

export class Connection {
  readonly #socket: WebSocket;
  readonly #events: ConnectionEvents;
  #dropped = false;
  #lastError = "";
  #lastBuffered = 0;

  constructor(options: { url: string; token?: string; tlsCa?: string }, events: ConnectionEvents) {
    this.#events = events;
    const socket = new WebSocket(options.url, {
      headers: options.token === undefined ? {} : { authorization: `Bearer ${options.token}` },
      maxPayload: frameLimitBytes,
      perMessageDeflate: false,
      followRedirects: false,
      ...(options.tlsCa === undefined ? {} : { ca: readFileSync(options.tlsCa) }),
    });
    this.#socket = socket;
    socket.on("open", () => this.#report((to) => to.open()));
    socket.on("pong", () => this.#report((to) => to.heard()));
    socket.on("message", (data) => this.#report((to) => to.text(String(data))));
    socket.on("unexpected-response", (request, response) => {
      this.#report((to) => to.rejected(response.statusCode ?? 0));
      request.destroy();
    });
    // `close` always follows; this is the better half of its explanation.
    socket.on("error", (error) => {
      this.#lastError = error.message === "" ? String(Reflect.get(error, "code")) : error.message;
    });
    socket.on("close", (code, reason) => {
      const why = reason.length > 0 ? `${code} ${reason}` : `${code}`;
      this.#report((to) =>
        to.lost(this.#lastError === "" ? `closed with ${why}` : this.#lastError),
      );
      this.#dropped = true;
    });
  }

  /** Bytes that the operating system has not taken yet. */
  get bufferedBytes(): number {
    return this.#socket.bufferedAmount;
  }

  /** `taken` is called when the operating system has all of it. */
  send(text: string, taken?: () => void): void {
    if (this.#socket.readyState === WebSocket.OPEN) {
      this.#socket.send(text, (error) => {
        // A failed send is followed by `close`.
        if (error == null && !this.#dropped) {
          taken?.();
        }
      });
    }
  }

  ping(): void {
    if (this.#socket.readyState === WebSocket.OPEN) {
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
