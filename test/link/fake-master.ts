// A real WebSocket server with scripted behaviour: the other end of the link in tests.
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";
import type { AgentToMaster, LinkRecord, MasterToAgent } from "../../protocol/link.ts";
import { decodeAgentToMaster } from "../../protocol/link-decode.ts";

export type Hello = Extract<AgentToMaster, { type: "hello" }>;

export interface FakeMasterOptions {
  heartbeatMs?: number;
  port?: number;
  /** Instead of `welcome`. */
  onHello?(say: (message: MasterToAgent) => void, hello: Hello, connection: number): void;
  /** Return false to keep the records without an ack. */
  onRecords?(records: LinkRecord[], socket: WebSocket): boolean;
}

export class FakeMaster {
  readonly server: WebSocketServer;
  readonly #options: FakeMasterOptions;
  /** Stored exactly once and in order; anything else throws in `violations`. */
  readonly records: LinkRecord[] = [];
  readonly violations: string[] = [];
  readonly messages: AgentToMaster[] = [];
  readonly authorizations: (string | undefined)[] = [];
  readonly sockets = new Set<WebSocket>();
  acked = 0;
  connections = 0;
  #waiting: { done(): boolean; resolve(): void }[] = [];

  private constructor(options: FakeMasterOptions) {
    this.#options = options;
    this.server = new WebSocketServer({
      port: options.port ?? 0,
      host: "127.0.0.1",
      path: "/link",
    });
    this.server.on("connection", (socket, request) => {
      this.connections += 1;
      this.authorizations.push(request.headers.authorization);
      this.#serve(socket, this.connections);
    });
  }

  static async start(options: FakeMasterOptions = {}): Promise<FakeMaster> {
    const master = new FakeMaster(options);
    await once(master.server, "listening");
    return master;
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}/link`;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  hellos(): Hello[] {
    return this.messages.filter((message) => message.type === "hello");
  }

  heartbeats(): Extract<AgentToMaster, { type: "heartbeat" }>[] {
    return this.messages.filter((message) => message.type === "heartbeat");
  }

  say(message: MasterToAgent): void {
    for (const socket of this.sockets) {
      socket.send(JSON.stringify(message));
    }
  }

  /** Looked at after each message and each connection's end. */
  until(done: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push({ done, resolve });
      this.#look();
    });
  }

  cut(): void {
    for (const socket of this.sockets) {
      socket.terminate();
    }
  }

  async stop(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.server.close(resolve));
  }

  #serve(socket: WebSocket, connection: number): void {
    this.sockets.add(socket);
    socket.on("close", () => {
      this.sockets.delete(socket);
      this.#look();
    });
    const say = (message: MasterToAgent) => socket.send(JSON.stringify(message));
    let first = true;
    socket.on("message", (data) => {
      const decoded = decodeAgentToMaster(String(data));
      if (!decoded.ok) {
        this.violations.push(JSON.stringify(decoded.diagnostics));
        return;
      }
      const message = decoded.value;
      this.messages.push(message);
      if (first !== (message.type === "hello")) {
        this.violations.push(`${message.type} as ${first ? "first" : "later"} message`);
      }
      first = false;
      if (message.type === "hello") {
        if (this.#options.onHello === undefined) {
          this.welcome(say);
        } else {
          this.#options.onHello(say, message, connection);
        }
      } else if (message.type === "records") {
        this.#store(message.records);
        if (this.#options.onRecords?.(message.records, socket) ?? true) {
          say({ type: "ack", seq: this.acked });
        }
      }
      this.#look();
    });
  }

  welcome(say: (message: MasterToAgent) => void, acked = this.acked): void {
    const heartbeatMs = this.#options.heartbeatMs ?? 200;
    say({ type: "welcome", version: 1, acked, heartbeatMs, time: Date.now() });
  }

  #store(records: LinkRecord[]): void {
    for (const record of records) {
      if (record.seq <= this.acked) {
        continue;
      }
      if (record.seq !== this.acked + 1) {
        this.violations.push(`${record.seq} after ${this.acked}`);
      }
      this.acked = record.seq;
      this.records.push(record);
    }
  }

  #look(): void {
    this.#waiting = this.#waiting.filter((waiting) => {
      const done = waiting.done();
      if (done) {
        waiting.resolve();
      }
      return !done;
    });
  }
}
