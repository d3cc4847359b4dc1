// The link's side of the HTTP server: the upgrade at /link, who is connected, twins, silence. Who is let
// in is decided by `LinkAccess`. Who is not is answered on the opened WebSocket, with a reason that an agent
// can log, and nothing is read from it; web pages (they send an Origin) are turned away before the upgrade.
import type { IncomingMessage, Server } from "node:http";
import type { Duplex } from "node:stream";
import { type WebSocket, WebSocketServer } from "ws";
import { frameLimitBytes, greetingLimitBytes } from "../../protocol/link-decode.ts";
import type { LinkAccess, Refusal } from "../access/link-access.ts";
import type { Clock, Logger } from "../clock.ts";
import type { Gateway } from "../gateway/gateway.ts";
import type { LivenessRule } from "../nodes/liveness.ts";
import type { Hello, Nodes } from "../nodes/nodes.ts";
import type { LinkNodes } from "../snippets/link-nodes.ts";
import type { FrameResult } from "../storage/storage.ts";
import type { Ingest } from "./ingest.ts";
import { closeCodes, closeGoingAway, refusal } from "./refusal.ts";
import { Session } from "./session.ts";
import { type WireBytes, Wires } from "./wires.ts";

const defaultHelloTimeoutMs = 10_000;
const longestPingMs = 3_000;
/** How long connections get to close politely at the master's end. */
const farewellMs = 500;

export interface LinkOptions {
  rule: LivenessRule;
  nodes: Nodes;
  gateway: Gateway;
  ingest: Ingest;
  clock: Clock;
  log: Logger;
  helloTimeoutMs?: number;
  access: LinkAccess;
  /** Those that run snippets; absent: the master has no doors. */
  snippetNodes?: LinkNodes;
  /** Something of these runs was stored. */
  stored(node: string, result: FrameResult): void;
}

/** What a session may use. */
export interface LinkParts extends Omit<LinkOptions, "rule"> {
  heartbeatMs: number;
  helloTimeoutMs: number;
  /** True when a twin is alive; else the session holds the node's place from then on. */
  takePlace(session: Session, hello: Hello): Promise<boolean>;
  forget(session: Session, node: string | undefined): void;
  /** Watches work that nobody awaits: a failure is logged, never lost. */
  track(work: Promise<unknown>, what: string, onFailure?: () => void): void;
}

export class LinkServer {
  readonly #options: LinkOptions;
  readonly #parts: LinkParts;
  // Twice the limit: a frame somewhat too large is still read, so that it can be refused with words.
  readonly #sockets = new WebSocketServer({
    noServer: true,
    maxPayload: 2 * frameLimitBytes,
    perMessageDeflate: false,
  });
  readonly #sessions = new Set<Session>();
  readonly #wires = new Wires();
  readonly #byNode = new Map<string, Session>();
  /** The last hello of each node that is being judged: they are judged one after another. */
  readonly #hellos = new Map<string, Promise<boolean>>();
  readonly #tracked = new Set<Promise<unknown>>();

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#parts = {
      ...options,
      heartbeatMs: options.rule.heartbeatMs,
      helloTimeoutMs: options.helloTimeoutMs ?? defaultHelloTimeoutMs,
      takePlace: (session, hello) => this.#takePlace(session, hello),
      forget: (session, node) => this.#forget(session, node),
      track: (work, what, onFailure) => this.#track(work, what, onFailure),
    };
  }

  /** `isLocal`: the server is the master's own socket, for the node in this process. */
  attach(server: Server, { isLocal = false } = {}): void {
    server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      const path = request.url?.split("?")[0];
      if (path !== "/link") {
        reject(socket, "404 Not Found");
      } else if (request.headers.origin !== undefined) {
        reject(socket, "403 Forbidden");
      } else {
        const judged = this.#options.access.atUpgrade(request, isLocal);
        this.#wires.add(request.socket);
        this.#sockets.handleUpgrade(request, socket, head, (webSocket) => {
          if ("visitor" in judged) {
            const stop = watchFirstBytes(socket, () => session.flooded());
            const session = new Session(this.#parts, webSocket, judged.visitor, stop);
            this.#sessions.add(session);
          } else {
            this.#options.log.warn(
              { code: "unauthorized", address: request.socket.remoteAddress },
              `link refused: ${judged.detail}`,
            );
            turnAway(webSocket, judged);
            watchFirstBytes(socket, () => webSocket.terminate());
          }
        });
      }
    });
  }

  /** Ends the connection of a node that was revoked, at whatever point it is. */
  revoke(node: string): void {
    for (const session of this.#sessions) session.revoked(node);
  }

  /** Bytes of all connections since the start, framing included, without what TLS adds. */
  wire(): WireBytes {
    return this.#wires.total();
  }

  get connections(): number {
    return this.#byNode.size;
  }

  /** Cuts connections that were silent for so long that their node counts as lost. */
  check(): void {
    const { rule, clock } = this.#options;
    for (const session of this.#byNode.values()) {
      const silentMs = clock() - session.heardAt;
      if (silentMs >= rule.lostAfter * rule.heartbeatMs) {
        session.silent(`silent for ${silentMs} ms`);
      }
    }
  }

  /** The clock was set by so much. */
  shiftTimes(byMs: number): void {
    for (const session of this.#sessions) session.shiftTimes(byMs);
  }

  async close(): Promise<void> {
    await this.#options.ingest.flush();
    const closing = [...this.#sockets.clients].map(
      (socket) => new Promise<void>((resolve) => socket.once("close", () => resolve())),
    );
    for (const session of this.#sessions) session.goAway(closeGoingAway, "the master ends");
    const timer = setTimeout(() => {
      for (const socket of this.#sockets.clients) socket.terminate();
    }, farewellMs);
    await Promise.all(closing);
    clearTimeout(timer);
    await Promise.all(this.#tracked);
    await this.#options.ingest.flush();
  }

  async #takePlace(session: Session, hello: Hello): Promise<boolean> {
    const before = this.#hellos.get(hello.node) ?? Promise.resolve(false);
    const judged = before.then(() => this.#judge(session, hello));
    this.#hellos.set(hello.node, judged);
    try {
      return await judged;
    } finally {
      if (this.#hellos.get(hello.node) === judged) this.#hellos.delete(hello.node);
    }
  }

  async #judge(session: Session, hello: Hello): Promise<boolean> {
    const older = this.#byNode.get(hello.node);
    if (older !== undefined) {
      if (older.boot !== undefined && older.boot !== hello.boot) {
        const { heartbeatMs, lateAfter } = this.#options.rule;
        const pingMs = Math.min(heartbeatMs, longestPingMs);
        if (await older.isAlive(lateAfter * heartbeatMs, pingMs)) {
          await this.#options.nodes.note(hello.node, "twin-refused", `boot ${hello.boot}`);
          return true;
        }
      }
      older.replace("a newer connection of this node took its place");
    }
    this.#byNode.set(hello.node, session);
    // What the older connection still had on its way is stored before the acked number is told.
    await this.#options.ingest.flush();
    return false;
  }

  #forget(session: Session, node: string | undefined): void {
    this.#sessions.delete(session);
    // A session that ended while its hello was judged may hold a place without knowing its node.
    const places = node === undefined ? [...this.#byNode.keys()] : [node];
    for (const place of places) {
      if (this.#byNode.get(place) === session) this.#byNode.delete(place);
    }
  }

  #track(work: Promise<unknown>, what: string, onFailure?: () => void): void {
    const tracked = work
      .catch((error: unknown) => {
        this.#options.log.error({ error: String(error) }, `${what} failed`);
        onFailure?.();
      })
      .finally(() => this.#tracked.delete(tracked));
    this.#tracked.add(tracked);
  }
}

/** Says why, closes, and reads nothing. */
function turnAway(socket: WebSocket, { detail, remedy }: Refusal): void {
  socket.on("error", () => socket.terminate());
  socket.send(JSON.stringify(refusal("unauthorized", detail, remedy)));
  socket.close(closeCodes.unauthorized, "refused: unauthorized");
}

/**
 * Whoever has not shown who it is may send a hello and a proof, and no more: counts the bytes of the
 * connection until the returned function is called.
 */
function watchFirstBytes(socket: Duplex, flooded: () => void): () => void {
  let bytes = 0;
  const count = (chunk: Buffer): void => {
    bytes += chunk.length;
    if (bytes <= greetingLimitBytes) return;
    stop();
    flooded();
  };
  const stop = (): void => {
    socket.off("data", count);
  };
  socket.on("data", count);
  return stop;
}

function reject(socket: Duplex, status: string): void {
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}
