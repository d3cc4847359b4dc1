// What the master knows of each node: who it is, when it was last heard of, what it can do, what it
// said last. Holds the live state in memory and writes what must survive; the link tells it what
// arrives. Never sends anything: the connection is only a handle that the gateway uses.
import type { AgentToMaster, MasterToAgent } from "../../protocol/link.ts";
import type { Clock, Logger } from "../clock.ts";
import { shiftedTime } from "../clock-jump.ts";
import type { MasterStorage, NodeEvent, NodeRow } from "../storage/storage.ts";
import { type Liveness, type LivenessRule, livenessOf } from "./liveness.ts";

export type Hello = AgentToMaster & { type: "hello" };
export type Heartbeat = AgentToMaster & { type: "heartbeat" };

/** The live connection of a node. */
export interface NodeConnection {
  send(message: MasterToAgent): void;
}

export interface LiveNode {
  row: NodeRow;
  liveness: Liveness;
  connection?: NodeConnection;
  heartbeat?: Heartbeat;
  /** All records that existed at its hello are stored, so that its runs can be judged. */
  isReconciled: boolean;
  /** It refused a run for now: no further offer before its next heartbeat. */
  isHeldBack: boolean;
}

export interface NodeView {
  id: string;
  state: Liveness;
  connected: boolean;
  firstSeenAt: number;
  lastSeenAt: number;
  agentVersion: string;
  boot: string;
  capabilities: NodeRow["capabilities"];
  labels: NodeRow["labels"];
  wantsRuns: boolean;
  ackedSeq: number;
  missingRecords: number;
  /** It was shut out then. */
  revokedAt?: number;
  /** What the last heartbeat of the present connection said; absent before the first. */
  activity?: Heartbeat["state"];
  runs?: Heartbeat["runs"];
  load?: number;
  rssBytes?: number;
  outbox?: number;
  loopLagMs?: number;
  sentBytes?: number;
  slots?: number;
  sandboxes?: Heartbeat["sandboxes"];
}

export class Nodes {
  readonly #storage: MasterStorage;
  readonly #rule: LivenessRule;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #nodes = new Map<string, LiveNode>();
  readonly #unsaved = new Set<string>();

  private constructor(storage: MasterStorage, rule: LivenessRule, clock: Clock, log: Logger) {
    this.#storage = storage;
    this.#rule = rule;
    this.#clock = clock;
    this.#log = log;
  }

  static async load(
    storage: MasterStorage,
    rule: LivenessRule,
    clock: Clock,
    log: Logger,
  ): Promise<Nodes> {
    const nodes = new Nodes(storage, rule, clock, log);
    for (const row of await storage.nodes()) {
      // Written before the clock was set back; nobody was heard in times to come.
      row.lastSeenAt = Math.min(row.lastSeenAt, clock());
      const liveness = livenessOf(row.lastSeenAt, clock(), rule);
      nodes.#nodes.set(row.id, { row, liveness, isReconciled: false, isHeldBack: false });
    }
    return nodes;
  }

  get(id: string): LiveNode | undefined {
    return this.#nodes.get(id);
  }

  all(): LiveNode[] {
    return [...this.#nodes.values()].sort((a, b) => (a.row.id < b.row.id ? -1 : 1));
  }

  /**
   * A node said hello and no twin of it lives. Returns the highest record number that is stored, after
   * numbers that can never arrive were given up (an event of the node says so).
   */
  async arrived(hello: Hello, connection: NodeConnection): Promise<number> {
    const now = this.#clock();
    const before = this.#nodes.get(hello.node);
    const row: NodeRow = {
      id: hello.node,
      firstSeenAt: before?.row.firstSeenAt ?? now,
      lastSeenAt: now,
      boot: hello.boot,
      agentVersion: hello.agentVersion,
      capabilities: hello.capabilities,
      labels: hello.labels,
      wantsRuns: hello.wantsRuns,
      acked: before?.row.acked ?? 0,
      missingRecords: before?.row.missingRecords ?? 0,
    };
    await this.#storage.saveNode(row);
    const node: LiveNode = {
      row,
      liveness: "alive",
      connection,
      isReconciled: false,
      isHeldBack: false,
    };
    this.#nodes.set(hello.node, node);
    if (before !== undefined && before.liveness !== "alive") {
      await this.note(hello.node, "alive", `after ${now - before.row.lastSeenAt} ms of silence`);
    }
    await this.note(hello.node, "connected", `boot ${hello.boot}, agent ${hello.agentVersion}`);
    await this.#reconcileNumbers(row, hello);
    return row.acked;
  }

  async #reconcileNumbers(row: NodeRow, hello: Hello): Promise<void> {
    if (hello.nextSeq <= row.acked) {
      // The node lost its state folder and counts anew: what it holds now was never seen here.
      await this.note(
        row.id,
        "renumbered",
        `next record is ${hello.nextSeq}, stored were ${row.acked}`,
      );
      row.acked = hello.firstHeldSeq - 1;
      await this.#storage.setAcked(row.id, row.acked, row.missingRecords);
    } else if (hello.firstHeldSeq > row.acked + 1) {
      const missing = hello.firstHeldSeq - row.acked - 1;
      await this.note(
        row.id,
        "missing-records",
        `${row.acked + 1} to ${hello.firstHeldSeq - 1} no longer exist on the node`,
      );
      row.acked = hello.firstHeldSeq - 1;
      row.missingRecords += missing;
      await this.#storage.setAcked(row.id, row.acked, row.missingRecords);
    }
  }

  /** The node has said that it has lost records; the storage has counted them. */
  async lost(id: string, count: number): Promise<void> {
    const node = this.#nodes.get(id);
    if (node !== undefined) node.row.missingRecords += count;
    await this.note(id, "missing-records", `${count} were damaged on the node's disk`);
  }

  seen(id: string): void {
    const node = this.#nodes.get(id);
    if (node === undefined) return;
    node.row.lastSeenAt = this.#clock();
    this.#unsaved.add(id);
  }

  heartbeat(id: string, heartbeat: Heartbeat): void {
    const node = this.#nodes.get(id);
    if (node === undefined) return;
    node.heartbeat = heartbeat;
    node.isHeldBack = false;
  }

  acked(id: string, seq: number): void {
    const node = this.#nodes.get(id);
    if (node !== undefined && seq > node.row.acked) node.row.acked = seq;
  }

  /** The clock was set by so much: who was heard a second ago was so still. */
  shiftTimes(byMs: number): void {
    const now = this.#clock();
    for (const { row } of this.#nodes.values()) {
      row.lastSeenAt = shiftedTime(row.lastSeenAt, byMs, now);
      this.#unsaved.add(row.id);
    }
  }

  /** Ignored when another connection has taken the node's place meanwhile. */
  async left(id: string, connection: NodeConnection, detail: string): Promise<void> {
    const node = this.#nodes.get(id);
    if (node === undefined || node.connection !== connection) return;
    delete node.connection;
    delete node.heartbeat;
    node.isReconciled = false;
    await this.note(id, "disconnected", detail);
  }

  /** Records who became late, lost or alive again, and saves when nodes were last seen. */
  async check(): Promise<void> {
    const now = this.#clock();
    for (const node of this.#nodes.values()) {
      const liveness = livenessOf(node.row.lastSeenAt, now, this.#rule);
      if (liveness === node.liveness) continue;
      node.liveness = liveness;
      const detail =
        liveness === "alive" ? "heard again" : `silent for ${now - node.row.lastSeenAt} ms`;
      await this.note(node.row.id, liveness, detail);
    }
    const seen = [...this.#unsaved].flatMap((id) => {
      const node = this.#nodes.get(id);
      return node === undefined ? [] : [{ node: id, lastSeenAt: node.row.lastSeenAt }];
    });
    this.#unsaved.clear();
    if (seen.length > 0) await this.#storage.touchNodes(seen);
  }

  async note(id: string, event: string, detail: string): Promise<void> {
    const entry: NodeEvent = { time: this.#clock(), event, detail };
    const level = event === "connected" || event === "alive" ? "info" : "warn";
    this.#log[level]({ node: id, event }, `node ${id}: ${event}: ${detail}`);
    await this.#storage.addNodeEvent(id, entry);
  }

  livenessOf(node: LiveNode): Liveness {
    return livenessOf(node.row.lastSeenAt, this.#clock(), this.#rule);
  }

  view(node: LiveNode): NodeView {
    const { row, heartbeat } = node;
    const view: NodeView = {
      id: row.id,
      state: this.livenessOf(node),
      connected: node.connection !== undefined,
      firstSeenAt: row.firstSeenAt,
      lastSeenAt: row.lastSeenAt,
      agentVersion: row.agentVersion,
      boot: row.boot,
      capabilities: row.capabilities,
      labels: row.labels,
      wantsRuns: row.wantsRuns,
      ackedSeq: row.acked,
      missingRecords: row.missingRecords,
    };
    if (heartbeat === undefined) return view;
    const { state, runs, load, rssBytes, outbox, loopLagMs, slots } = heartbeat;
    Object.assign(view, { activity: state, runs, load, rssBytes, outbox, loopLagMs });
    if (heartbeat.sentBytes !== undefined) view.sentBytes = heartbeat.sentBytes;
    if (heartbeat.sandboxes !== undefined) view.sandboxes = heartbeat.sandboxes;
    return { ...view, slots: slots ?? 1 };
  }
}
