// One connection of an agent, from hello to close: checks who it is, takes its records in order,
// acknowledges what is stored, passes heartbeats and answers on. Owns the order of records of its connection;
// stores nothing itself and waits for nothing between two frames.
import type { WebSocket } from "ws";
import { crashPoint } from "../../protocol/crash-points.ts";
import {
  type AgentToMaster,
  type LinkRecord,
  linkVersion,
  type MasterToAgent,
  type RefusalCode,
} from "../../protocol/link.ts";
import {
  decodeAgentToMaster,
  frameLimitBytes,
  greetingLimitBytes,
} from "../../protocol/link-decode.ts";
import { inflateFrame } from "../../protocol/link-deflate.ts";
import { mayBeEarly } from "../../protocol/outbox.ts";
import type { HelloAdmission, Visitor } from "../access/link-access.ts";
import { revokedVerdict } from "../access/node-keys.ts";
import { shiftedTime } from "../clock-jump.ts";
import type { Hello, NodeConnection } from "../nodes/nodes.ts";
import type { FrameResult, RecordFrame, RunRow } from "../storage/storage.ts";
import type { LinkParts } from "./link-server.ts";
import { closeCodes, closeInternal, closeReplaced, closeSilent, refusal } from "./refusal.ts";

/** A socket with so many frames that are not stored yet is not read further. */
const pauseFrames = 16;

/** Numbers of records that came early and wait for their turn; an agent has 10,000 at most. */
const mostHeld = 100_000;

type State =
  /** Nothing but a hello may come. */
  | { id: "greeting"; timer: NodeJS.Timeout }
  /** The hello, or the proof, is being judged; frames that follow it wait. */
  | { id: "deciding"; hello: Hello; held: string[] }
  /** Nothing but a proof may come. */
  | { id: "proving"; hello: Hello; nonce: string; timer: NodeJS.Timeout }
  | { id: "open"; open: Open }
  | { id: "closed" };

interface Open {
  node: string;
  boot: string;
  /** Highest number that was received in order, stored or not. */
  received: number;
  acked: number;
  /** Up to which number what came early on this connection is stored; absent before any. */
  early?: number;
  /** Stored early on this connection, and their turn has not come. */
  readonly held: Set<number>;
  pendingFrames: number;
  isAckDue: boolean;
  /** Set until every record that existed at the hello is stored. */
  catchingUp?: { upTo: number; believed: RunRow[]; named: ReadonlySet<string> };
}

export class Session implements NodeConnection {
  readonly #parts: LinkParts;
  readonly #socket: WebSocket;
  readonly #visitor: Visitor;
  /** What comes is not counted any more: it is known who sends it. */
  readonly #trust: () => void;
  #state: State;
  #heardAt: number;
  /** Why it was closed from here, for the node's events. */
  #closing = "the connection ended";

  constructor(parts: LinkParts, socket: WebSocket, visitor: Visitor, trust: () => void) {
    this.#parts = parts;
    this.#socket = socket;
    this.#visitor = visitor;
    this.#trust = trust;
    this.#heardAt = parts.clock();
    this.#state = { id: "greeting", timer: this.#patience("hello") };
    socket.on("message", (data: Buffer, isBinary: boolean) => this.#frame(data, isBinary));
    socket.on("close", (code) => this.#closed(code));
    socket.on("error", (error) => {
      this.#closing = error.message;
      parts.log.warn({ error: error.message }, "link connection failed");
    });
  }

  #patience(message: "hello" | "proof"): NodeJS.Timeout {
    return setTimeout(
      () => this.#refuse("bad-message", `no ${message} came in time`),
      this.#parts.helloTimeoutMs,
    );
  }

  send(message: MasterToAgent): void {
    if (this.#socket.readyState === this.#socket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  get boot(): string | undefined {
    return this.#state.id === "open" ? this.#state.open.boot : undefined;
  }

  get heardAt(): number {
    return this.#heardAt;
  }

  /** The clock was set by so much. */
  shiftTimes(byMs: number): void {
    this.#heardAt = shiftedTime(this.#heardAt, byMs, this.#parts.clock());
  }

  /** Whether the other side still answers: a ping within the time, after a frame that is fresh. */
  async isAlive(freshMs: number, timeoutMs: number): Promise<boolean> {
    const { clock } = this.#parts;
    if (this.#state.id !== "open" || clock() - this.#heardAt > freshMs) return false;
    return new Promise((resolve) => {
      const end = (isAlive: boolean): void => {
        clearTimeout(timer);
        this.#socket.off("pong", onPong);
        this.#socket.off("close", onClose);
        resolve(isAlive);
      };
      const onPong = (): void => end(true);
      const onClose = (): void => end(false);
      const timer = setTimeout(() => end(false), timeoutMs);
      this.#socket.once("pong", onPong);
      this.#socket.once("close", onClose);
      this.#socket.ping();
    });
  }

  /** Another connection takes this one's place. */
  replace(detail: string): void {
    this.#close(closeReplaced, detail);
  }

  silent(detail: string): void {
    this.#close(closeSilent, detail);
    // A half-open connection never answers the close: it is cut at once.
    this.#socket.terminate();
  }

  goAway(code: number, detail: string): void {
    this.#close(code, detail);
  }

  /** Too much came before it was known from whom. */
  flooded(): void {
    this.#refuse("too-large", `more than ${greetingLimitBytes} bytes came before the welcome`);
    // A polite close would read on until the other side agrees.
    this.#socket.terminate();
  }

  /** Closed at once when it is that node's; what was stored of it stays. */
  revoked(node: string): void {
    if (this.#visitor.isLocal || this.#nodeId() !== node) return;
    const { detail, remedy } = revokedVerdict(node);
    this.#refuse("unauthorized", detail, remedy);
  }

  terminate(): void {
    this.#socket.terminate();
  }

  #refuse(code: RefusalCode, detail: string, remedy?: string): void {
    this.#parts.log.warn({ code, node: this.#nodeId() ?? "unknown" }, `link refused: ${detail}`);
    this.send(refusal(code, detail, remedy));
    this.#close(closeCodes[code], `refused: ${code}`);
  }

  #close(code: number, detail: string): void {
    this.#closing = detail;
    this.#socket.close(code, detail.slice(0, 120));
    this.#socket.resume();
    this.#leave(code);
  }

  #closed(code: number): void {
    this.#leave(code);
  }

  #leave(code: number): void {
    const state = this.#state;
    if (state.id === "closed") return;
    if (state.id === "greeting" || state.id === "proving") clearTimeout(state.timer);
    this.#trust();
    this.#state = { id: "closed" };
    if (state.id === "open") {
      // Not where another connection has taken its place already.
      const isCurrent = this.#parts.nodes.get(state.open.node)?.connection === this;
      if (isCurrent) this.#parts.snippetNodes?.left(state.open.node);
      this.#parts.track(
        this.#parts.nodes.left(state.open.node, this, `${this.#closing} (${code})`),
        "noting a disconnect",
      );
    }
    this.#parts.forget(this, state.id === "open" ? state.open.node : undefined);
  }

  #nodeId(): string | undefined {
    const state = this.#state;
    if (state.id === "open") return state.open.node;
    return state.id === "deciding" || state.id === "proving" ? state.hello.node : undefined;
  }

  #frame(data: Buffer, isBinary: boolean): void {
    this.#heardAt = this.#parts.clock();
    if (this.#state.id === "closed") return;
    if (isBinary && this.#state.id !== "open") {
      this.#refuse("bad-message", "a binary frame came before welcome");
      return;
    }
    if (data.length > frameLimitBytes) {
      this.#refuse(
        "too-large",
        `a frame of ${data.length} bytes came, ${frameLimitBytes} is the limit`,
      );
      return;
    }
    const inflated = isBinary ? inflateFrame(data) : { text: data.toString("utf8") };
    if ("wrong" in inflated) {
      if (inflated.wrong === "damaged") this.#refuse("bad-message", "a frame cannot be inflated");
      else this.#refuse("too-large", `a frame inflates to more than ${frameLimitBytes} bytes`);
      return;
    }
    const { text } = inflated;
    if (this.#state.id === "deciding") {
      this.#state.held.push(text);
      return;
    }
    this.#text(text);
  }

  #text(text: string): void {
    const decoded = decodeAgentToMaster(text);
    if (!decoded.ok) {
      const first = decoded.diagnostics[0];
      const detail = `${first?.path ?? ""} ${first?.message ?? "is not a message"}`.trim();
      this.#refuse(first?.code === "E_LINK_VERSION" ? "version" : "bad-message", detail);
      return;
    }
    const message = decoded.value;
    const state = this.#state;
    switch (state.id) {
      case "greeting":
        if (message.type !== "hello") {
          this.#refuse("bad-message", `${message.type} came before hello`);
          return;
        }
        clearTimeout(state.timer);
        this.#decide(message, () => this.#parts.access.atHello(this.#visitor, message));
        return;
      case "proving": {
        if (message.type !== "proof") {
          this.#refuse("bad-message", `${message.type} came instead of a proof`);
          return;
        }
        clearTimeout(state.timer);
        const { hello, nonce } = state;
        this.#decide(hello, () => this.#parts.access.atProof(this.#visitor, hello, nonce, message));
        return;
      }
      case "open":
        this.#message(message, state.open);
        return;
      case "deciding":
      case "closed":
        return;
    }
  }

  #decide(hello: Hello, judge: () => Promise<HelloAdmission>): void {
    this.#state = { id: "deciding", hello, held: [] };
    const work = judge().then((admission) => this.#admit(hello, admission));
    this.#parts.track(work, "a hello", () => this.#close(closeInternal, "the master failed"));
  }

  async #admit(hello: Hello, admission: HelloAdmission): Promise<void> {
    if (this.#state.id !== "deciding") return;
    switch (admission.kind) {
      case "in":
        this.#trust();
        await this.#greet(hello, admission.nextKey);
        return;
      case "refused":
        this.#refuse("unauthorized", admission.detail, admission.remedy);
        return;
      case "prove": {
        const { nonce, channel } = admission;
        const [early] = this.#state.held;
        this.#state = { id: "proving", hello, nonce, timer: this.#patience("proof") };
        this.send({ type: "challenge", nonce, channel });
        // Nobody can have answered a challenge that was not sent yet.
        if (early !== undefined) this.#refuse("bad-message", "a frame came before the challenge");
        return;
      }
    }
  }

  async #greet(hello: Hello, nextKey?: string): Promise<void> {
    const isTwin = await this.#parts.takePlace(this, hello);
    if (isTwin) {
      this.#refuse("twin", `another agent that calls itself ${hello.node} is connected and alive`);
      return;
    }
    crashPoint("master.hello");
    const { nodes, gateway, clock, heartbeatMs } = this.#parts;
    const believed = await gateway.openRunsOf(hello.node);
    const acked = await nodes.arrived(hello, this);
    if (this.#state.id !== "deciding") {
      await nodes.left(hello.node, this, this.#closing);
      return;
    }
    const open: Open = {
      node: hello.node,
      boot: hello.boot,
      received: acked,
      acked,
      held: new Set(),
      pendingFrames: 0,
      isAckDue: false,
      catchingUp: { upTo: hello.nextSeq - 1, believed, named: new Set(hello.runs) },
    };
    if (!this.#visitor.isLocal && this.#parts.access.isRevoked(hello.node)) {
      this.revoked(hello.node);
      await nodes.left(hello.node, this, this.#closing);
      return;
    }
    const { held } = this.#state;
    this.#state = { id: "open", open };
    this.#parts.snippetNodes?.arrived(hello, (message) => this.send(message));
    const hasSnippets = this.#parts.snippetNodes !== undefined;
    this.send({
      type: "welcome",
      version: linkVersion,
      acked,
      heartbeatMs,
      time: clock(),
      ...(hasSnippets ? { snippets: true } : {}),
      ...(nextKey === undefined ? {} : { nextKey }),
      lanes: true,
      deflate: true,
    });
    const node = nodes.get(hello.node);
    if (node !== undefined) await gateway.resendCancels(node, believed);
    this.#catchUp(open);
    for (const text of held) this.#text(text);
  }

  #message(message: AgentToMaster, open: Open): void {
    const { nodes, gateway, track } = this.#parts;
    nodes.seen(open.node);
    switch (message.type) {
      case "records":
        this.#records(message.records, open);
        return;
      case "early":
        this.#early(message.records, open);
        return;
      case "heartbeat":
        nodes.heartbeat(open.node, message);
        this.#parts.snippetNodes?.beat(open.node, message.state);
        // The answer is the agent's sign that the master lives, also when no records flow.
        this.#acknowledge(open);
        gateway.place();
        return;
      case "run-accepted":
        track(gateway.accepted(open.node, message.run), "an accepted run");
        return;
      case "run-refused": {
        const node = nodes.get(open.node);
        if (node === undefined) return;
        track(gateway.refused(node, message.run, message.code, message.detail), "a refused run");
        return;
      }
      case "snippets-held":
      case "snippet-started":
      case "snippet-output":
      case "snippet-file":
      case "snippet-ended":
      case "snippet-returned":
        this.#parts.snippetNodes?.said(open.node, message);
        return;
      case "hello":
      case "proof":
        this.#refuse("bad-message", `a second ${message.type} came on one connection`);
        return;
    }
  }

  #records(records: readonly LinkRecord[], open: Open): void {
    const first = records[0];
    if (first === undefined) return;
    for (const [index, record] of records.entries()) {
      if (record.type === "sent-early" && !open.held.delete(record.seq)) {
        this.#refuse("bad-message", `record ${record.seq} was not stored early`);
        return;
      }
      if (record.seq === first.seq + index) continue;
      this.#refuse("bad-message", `record ${record.seq} came after ${first.seq + index - 1}`);
      return;
    }
    if (first.seq > open.received + 1) {
      this.#refuse("gap", `record ${first.seq} came, ${open.received + 1} was expected`);
      return;
    }
    const last = first.seq + records.length - 1;
    if (last <= open.received) {
      // Sent again: the acknowledgement got lost, or is still to come.
      if (open.pendingFrames === 0) this.#acknowledge(open);
      return;
    }
    crashPoint("master.frame-received");
    open.received = last;
    this.#ingest({ node: open.node, time: this.#parts.clock(), records }, open);
  }

  /** Ahead of their turn; what the agent says later in their place is only a number. */
  #early(records: readonly LinkRecord[], open: Open): void {
    let last = open.early ?? 0;
    for (const record of records) {
      if (record.seq <= last || !mayBeEarly(record)) {
        this.#refuse("bad-message", `record ${record.seq} (${record.type}) cannot be sent early`);
        return;
      }
      last = record.seq;
    }
    if (open.held.size > mostHeld) {
      this.#refuse("bad-message", `more than ${mostHeld} records were sent early`);
      return;
    }
    this.#ingest({ node: open.node, time: this.#parts.clock(), records, isEarly: true }, open);
  }

  #ingest(frame: RecordFrame, open: Open): void {
    open.pendingFrames++;
    if (open.pendingFrames === pauseFrames) this.#socket.pause();
    this.#parts.ingest.add({
      frame,
      stored: (result) => {
        const last = frame.records.at(-1);
        if (frame.isEarly === true && last !== undefined) {
          open.early = last.seq;
          for (const { seq } of frame.records) if (seq > open.acked) open.held.add(seq);
        }
        this.#stored(result, open);
      },
      failed: (detail) => {
        this.#parts.log.error({ node: open.node }, `records cannot be stored: ${detail}`);
        this.#close(closeInternal, "records cannot be stored");
      },
    });
  }

  #stored(result: FrameResult, open: Open): void {
    open.pendingFrames--;
    if (open.pendingFrames === pauseFrames >> 1) this.#socket.resume();
    if (result.gapAt !== undefined) {
      this.#refuse("gap", `record ${result.gapAt} came, ${result.acked + 1} was expected`);
      return;
    }
    this.#parts.nodes.acked(open.node, result.acked);
    this.#parts.stored(open.node, result);
    if (result.acked > open.acked) open.acked = result.acked;
    if (this.#state.id !== "open") return;
    this.#acknowledge(open);
    this.#catchUp(open);
  }

  /** One ack for all frames that a commit held. */
  #acknowledge(open: Open): void {
    if (open.isAckDue) return;
    open.isAckDue = true;
    queueMicrotask(() => {
      open.isAckDue = false;
      const { acked, early } = open;
      this.send({ type: "ack", seq: acked, ...(early === undefined ? {} : { early }) });
      crashPoint("master.ack-sent");
    });
  }

  #catchUp(open: Open): void {
    const { catchingUp } = open;
    if (catchingUp === undefined || open.acked < catchingUp.upTo) return;
    delete open.catchingUp;
    const { nodes, gateway, track } = this.#parts;
    const node = nodes.get(open.node);
    if (node === undefined) return;
    track(gateway.reconcile(node, catchingUp.believed, catchingUp.named), "reconciling a node");
  }
}
