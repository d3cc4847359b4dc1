// Many nodes in one process that speak the real protocol: hello, heartbeats in the rhythm that the master
// tells, a record now and then. Counts how late the answers come.
import { performance } from "node:perf_hooks";
import { WebSocket } from "ws";
import type { AgentToMaster } from "../../protocol/link.ts";
import { decodeMasterToAgent } from "../../protocol/link-decode.ts";
import { finished, helloOf, idleHeartbeat, runStarted } from "../master/rig.ts";

export interface FleetFigures {
  nodes: number;
  heartbeats: number;
  /** From a heartbeat to its ack, milliseconds. */
  ackP50Ms: number;
  ackP99Ms: number;
  ackMaxMs: number;
  records: number;
  /** Connections that ended though nobody asked. */
  lost: number;
}

export class SimulatedFleet {
  readonly #url: string;
  readonly #nodes: SimulatedNode[] = [];
  readonly #latencies: number[] = [];

  constructor(url: string) {
    this.#url = `${url.replace(/^http/, "ws")}/link`;
  }

  /** Resolves when all have had their welcome. */
  async join(count: number, token?: string): Promise<void> {
    const joining = Array.from({ length: count }, async (_, index) => {
      const node = new SimulatedNode(this.#url, `sim-${index}`, this.#latencies, token);
      this.#nodes.push(node);
      await node.welcomed;
    });
    await Promise.all(joining);
  }

  /** Each node runs a task: so many records more. Resolves when all are acknowledged. */
  async work(): Promise<void> {
    await Promise.all(this.#nodes.map((node) => node.work()));
  }

  /** Heartbeats and latencies from here on. */
  forget(): void {
    this.#latencies.length = 0;
  }

  figures(): FleetFigures {
    const sorted = [...this.#latencies].sort((a, b) => a - b);
    const at = (share: number) => sorted[Math.floor((sorted.length - 1) * share)] ?? Number.NaN;
    return {
      nodes: this.#nodes.length,
      heartbeats: sorted.length,
      ackP50Ms: at(0.5),
      ackP99Ms: at(0.99),
      ackMaxMs: at(1),
      records: this.#nodes.reduce((sum, node) => sum + node.acked, 0),
      lost: this.#nodes.filter((node) => node.isLost).length,
    };
  }

  async leave(): Promise<void> {
    await Promise.all(this.#nodes.map((node) => node.leave()));
  }
}

class SimulatedNode {
  readonly welcomed: Promise<void>;
  isLost = false;
  acked = 0;
  readonly #socket: WebSocket;
  readonly #id: string;
  readonly #latencies: number[];
  #timer: NodeJS.Timeout | undefined;
  #sentAt: number | undefined;
  #seq = 0;
  #isLeaving = false;
  #stored: { seq: number; resolve(): void; reject(error: Error): void } | undefined;

  constructor(url: string, id: string, latencies: number[], token: string | undefined) {
    this.#id = id;
    this.#latencies = latencies;
    this.#socket = new WebSocket(url, {
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
      perMessageDeflate: false,
    });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.welcomed = promise;
    this.#socket.on("error", reject);
    this.#socket.on("open", () => this.#say(helloOf(id, { boot: `boot-${id}` })));
    this.#socket.on("close", (code) => {
      clearInterval(this.#timer);
      this.isLost = !this.#isLeaving;
      reject(new Error(`${id} was closed with ${code} before its welcome`));
      this.#stored?.reject(new Error(`${id} was closed with ${code}`));
    });
    this.#socket.on("message", (data: Buffer) => this.#hear(String(data), resolve));
  }

  work(): Promise<void> {
    const run = `run-${this.#id}-${this.#seq}`;
    const records = [runStarted(this.#seq + 1, run), finished(this.#seq + 2, run, "t", this.#seq)];
    this.#seq += records.length;
    this.#say({ type: "records", records });
    return new Promise((resolve, reject) => {
      this.#stored = { seq: this.#seq, resolve, reject };
    });
  }

  async leave(): Promise<void> {
    this.#isLeaving = true;
    const closed = new Promise((resolve) => this.#socket.once("close", resolve));
    if (this.#socket.readyState === WebSocket.CLOSED) return;
    this.#socket.close();
    await closed;
  }

  #hear(text: string, welcomed: () => void): void {
    const decoded = decodeMasterToAgent(text);
    if (!decoded.ok) throw new Error(`${this.#id} does not understand ${text}`);
    const message = decoded.value;
    if (message.type === "welcome") {
      welcomed();
      // Spread over the rhythm, as a fleet is.
      const firstMs = Math.random() * message.heartbeatMs;
      this.#timer = setTimeout(() => {
        this.#beat();
        this.#timer = setInterval(() => this.#beat(), message.heartbeatMs);
      }, firstMs);
    } else if (message.type === "ack") {
      this.acked = Math.max(this.acked, message.seq);
      if (this.#sentAt !== undefined) this.#latencies.push(performance.now() - this.#sentAt);
      this.#sentAt = undefined;
      if (this.#stored !== undefined && this.acked >= this.#stored.seq) {
        this.#stored.resolve();
        this.#stored = undefined;
      }
    }
  }

  #beat(): void {
    this.#sentAt = performance.now();
    this.#say({ ...idleHeartbeat, outbox: this.#seq - this.acked } as AgentToMaster);
  }

  #say(message: AgentToMaster): void {
    this.#socket.send(JSON.stringify(message));
  }
}
