// The link thread's loop: carries out what the session says, sends heartbeats and frames, and keeps
// the WAL small. It owns the socket and a reading connection to the journal; it never writes there.
// Whatever the main thread does, this goes on.
import type { MessagePort } from "node:worker_threads";
import { crashPoint } from "../../protocol/crash-points.ts";
import type { AgentToMaster } from "../../protocol/link.ts";
import { linkVersion } from "../../protocol/link.ts";
import { decodeMasterToAgent } from "../../protocol/link-decode.ts";
import { journalPath } from "../../protocol/state-paths.ts";
import { Asking } from "./asking.ts";
import { Checkpoints } from "./checkpoints.ts";
import { ConnectRace } from "./connect-race.ts";
import { Connection } from "./connection.ts";
import { EarlyLane } from "./early-lane.ts";
import { makeHeartbeat } from "./heartbeat.ts";
import { KeyKeeper } from "./key-keeper.ts";
import { DamagedRow, OutboxReader } from "./outbox-reader.ts";
import { RecordSource } from "./record-source.ts";
import { Session, type SessionCommand, type SessionEvent } from "./session.ts";
import { SharedClock } from "./shared-clock.ts";
import { frameBytes, Shipper } from "./ship.ts";
import { ShipWindow } from "./ship-window.ts";
import type { FromThread, ThreadData, ToThread } from "./thread-messages.ts";
import { troubleOf } from "./trouble.ts";
import { UplinkBudget } from "./uplink-budget.ts";

type ShipCommand = Extract<SessionCommand, { type: "ship" }>;

export class LinkWorker {
  readonly #data: ThreadData;
  readonly #port: MessagePort;
  readonly #clock: SharedClock;
  readonly #reader: OutboxReader;
  readonly #checkpoints: Checkpoints;
  readonly #session: Session;
  readonly #window: ShipWindow;
  readonly #asking: Asking;
  #race: ConnectRace | undefined;
  #connection: Connection | undefined;
  #shipper: Shipper | undefined;
  readonly #keys: KeyKeeper;
  /** A frame is on its way to the operating system. */
  #isSending = false;
  #sessionTimer: NodeJS.Timeout | undefined;
  #pumpTimer: NodeJS.Timeout | undefined;
  #closeTimer: NodeJS.Timeout | undefined;
  #retryTimer: NodeJS.Timeout | undefined;
  #budgetTimer: NodeJS.Timeout | undefined;
  readonly #budget: UplinkBudget;
  /** What of this connection was counted. */
  #settled = { bytes: 0, frames: 0 };
  #isUnreadable = false;
  #acked: number;
  #closing: "no" | "flushing" | "saying-goodbye" | "closed" = "no";

  constructor(data: ThreadData, port: MessagePort) {
    this.#data = data;
    this.#port = port;
    this.#clock = new SharedClock(data.shared);
    this.#asking = new Asking(data.status, this.#clock, () => this.#tell({ type: "ask" }));
    this.#reader = new OutboxReader(journalPath(data.stateDir));
    this.#acked = this.#reader.bounds().acked;
    this.#checkpoints = new Checkpoints(this.#reader, () => this.#clock.wantWake());
    this.#session = new Session({ heartbeatMs: data.heartbeatMs, backoff: data.backoff });
    this.#window = new ShipWindow(data.window);
    this.#keys = new KeyKeeper({
      stateDir: data.stateDir,
      ...(data.enrollToken === undefined ? {} : { enrollToken: data.enrollToken }),
      rotationMs: data.keyRotationMs,
      changed: (detail) => this.#handle({ type: "restarted", detail }),
      problem: (problem) => this.#tell({ type: "problem", problem }),
    });
    this.#budget = new UplinkBudget(data.uplink, performance.now());
  }

  start(): void {
    this.#port.on("message", (message: ToThread) => this.#receive(message));
    this.#checkpoints.start();
    this.#handle({ type: "started" });
  }

  #receive(message: ToThread): void {
    switch (message.type) {
      case "wake":
        this.#checkpoints.start();
        this.#pumpSoon();
        break;
      case "status":
        this.#asking.answered(message.status);
        break;
      case "answer":
        this.#send(message.message);
        break;
      case "renumbered":
        this.#handle({ type: "restarted", detail: "records have new numbers" });
        break;
      case "close":
        this.#close(message.flushMs);
        break;
      default:
        throw new Error(`unexpected ${JSON.stringify(message satisfies never)}`);
    }
  }

  #handle(event: SessionEvent): void {
    const commands = this.#session.handle(event, { now: performance.now(), random: Math.random() });
    for (const command of commands) {
      this.#carryOut(command);
    }
    this.#armSessionTimer();
  }

  #carryOut(command: SessionCommand): void {
    switch (command.type) {
      case "connect":
        this.#connect();
        break;
      case "greet":
        this.#reading(() => this.#greet());
        break;
      case "prove":
        this.#prove(command);
        break;
      case "ship":
        this.#reading(() => this.#startShipping(command));
        this.#keys.welcomed(command.nextKey);
        break;
      case "acked":
        crashPoint("agent.ack-received");
        this.#acked = command.seq;
        this.#window.acked(command.seq, performance.now(), this.#session.heartbeatMs);
        this.#tell({ type: "acked", seq: command.seq });
        if (this.#isWaited) this.#pump();
        break;
      case "early-acked":
        this.#shipper?.earlyAcked(command.seq);
        this.#pump();
        break;
      case "beat":
        this.#settle();
        this.#send(makeHeartbeat(this.#asking.status, this.#clock, this.#asking.unansweredMs()));
        this.#asking.before(this.#session.heartbeatMs);
        this.#connection?.ping();
        this.#keys.rotate();
        break;
      case "drop":
        this.#asking.stop();
        this.#settle();
        this.#race?.drop();
        this.#connection?.drop();
        this.#connection = undefined;
        this.#isSending = false;
        this.#shipper?.close();
        this.#shipper = undefined;
        this.#window.reset();
        break;
      case "pass":
        this.#tell({ type: "passed", message: command.message });
        break;
      case "say-lost":
        this.#tell({ type: "disconnected", detail: command.detail, retryInMs: command.retryInMs });
        this.#goneWhileClosing();
        break;
      case "say-refused": {
        const { type: _, ...said } = command;
        this.#tell({ type: "refused", ...said });
        this.#goneWhileClosing();
        break;
      }
      default:
        throw new Error(`unexpected ${JSON.stringify(command satisfies never)}`);
    }
  }

  #connect(): void {
    this.#asking.now();
    const { url, token, tlsCa, tlsCert, tlsKey } = this.#data;
    this.#settled = { bytes: 0, frames: 0 };
    try {
      const key = this.#keys.open();
      const options = {
        url,
        ...(token === undefined ? {} : { token }),
        ...(key === undefined ? {} : { key }),
        ...(tlsCa === undefined ? {} : { tlsCa }),
        ...(tlsCert === undefined ? {} : { tlsCert }),
        ...(tlsKey === undefined ? {} : { tlsKey }),
      };
      this.#race = new ConnectRace(
        this.#data.race,
        (events) => new Connection(options, events),
        (connection) => {
          this.#connection = connection;
        },
        {
          open: () => this.#handle({ type: "connected" }),
          heard: () => this.#handle({ type: "heard" }),
          text: (text) => this.#decode(text),
          rejected: (status, retryAfterMs) =>
            this.#handle({ type: "rejected", status, retryAfterMs }),
          lost: (detail) => this.#handle({ type: "lost", detail }),
        },
      );
    } catch (error) {
      // A file that is not there, or an address that is none: said again at each attempt.
      const detail = troubleOf(error, url);
      queueMicrotask(() => this.#handle({ type: "lost", detail }));
    }
  }

  #prove({ nonce, channel }: { nonce: string; channel: "tls" | "plain" }): void {
    const { node, boot } = this.#data;
    const ownChannel = channel === "tls" ? this.#connection?.channel : undefined;
    const proof = this.#keys.prove({
      node,
      boot,
      nonce,
      ...(ownChannel === undefined ? {} : { channel: ownChannel }),
    });
    if (proof !== undefined) this.#send({ type: "proof", ...proof });
  }

  #greet(): void {
    const { node, boot, agentVersion, capabilities, labels, wantsRuns, snippetSlots } = this.#data;
    const { firstHeldSeq, nextSeq } = this.#reader.bounds();
    const identity = this.#keys.shown();
    crashPoint("agent.link-hello");
    this.#send({
      type: "hello",
      version: linkVersion,
      node,
      boot,
      agentVersion,
      capabilities,
      labels,
      firstHeldSeq,
      nextSeq,
      runs: Object.keys(this.#asking.status.runs),
      wantsRuns,
      ...(identity === undefined ? {} : { identity }),
      ...(snippetSlots === 0 ? {} : { snippetSlots }),
    });
  }

  #decode(text: string): void {
    const decoded = decodeMasterToAgent(text);
    if (decoded.ok) {
      const message = decoded.value;
      const isShutOut = message.type === "refused" && message.code === "unauthorized";
      if (isShutOut && this.#keys.refused()) {
        // A master of an older backup knows only the key before.
        const detail = `${message.detail}; the key before is tried`;
        this.#handle({ type: "lost", detail });
      } else {
        this.#handle({ type: "received", message });
      }
      return;
    }
    const [first] = decoded.diagnostics;
    const message = `a message of the master was not understood: ${first?.path} ${first?.message}`;
    if (this.#session.state.id !== "live") {
      this.#handle({ type: "lost", detail: message });
      return;
    }
    // A newer master may say things that this agent does not know; records go on all the same.
    const remedy = first?.remedy ?? "";
    this.#tell({ type: "problem", problem: { code: "E_LINK_MESSAGE", path: "", message, remedy } });
    this.#handle({ type: "heard" });
  }

  #startShipping({ acked, hasSnippets, hasLanes, hasDeflate }: ShipCommand): void {
    const { firstHeldSeq, nextSeq, isAnew } = this.#reader.bounds();
    if (acked >= nextSeq || isAnew) {
      // Sent now, records would be taken for ones that the master has: they need new numbers first.
      this.#tell({ type: "ahead", acked, nextSeq });
      return;
    }
    if (acked < firstHeldSeq - 1) {
      this.#tell({ type: "behind", acked, firstHeldSeq });
    }
    this.#acked = Math.max(acked, firstHeldSeq - 1);
    this.#tell({ type: "connected", acked, hasSnippets });
    const options = {
      stateDir: this.#data.stateDir,
      read: (seq: number, limitBytes: number) => this.#reader.read(seq, limitBytes),
      onProblem: (message: string, path: string) => {
        const remedy = "Check the disk; the other records are sent.";
        this.#tell({ type: "problem", problem: { code: "E_LINK_FILE", path, message, remedy } });
      },
    };
    const first = this.#acked + 1;
    const early = hasLanes ? new EarlyLane(options, first) : undefined;
    this.#shipper = new Shipper(new RecordSource(options, first), this.#window, early);
    if (this.#connection !== undefined) {
      this.#connection.isDeflating = hasDeflate && this.#data.compress;
    }
    this.#tell({ type: "acked", seq: acked });
    this.#pump();
  }

  /** One frame at a time: the next goes out when the operating system has taken the one before. */
  #pump(): void {
    const connection = this.#connection;
    if (this.#shipper === undefined || connection === undefined || this.#isSending) return;
    if (connection.bufferedBytes > 0) {
      // A heartbeat or a ping, which TLS does not hand on at once: nobody tells when they are gone.
      this.#pumpSoon();
      return;
    }
    this.#settle();
    const now = performance.now();
    const waitMs = this.#budget.waitMs(now);
    if (waitMs > 0) {
      this.#budgetTimer ??= setTimeout(() => {
        this.#budgetTimer = undefined;
        this.#pump();
      }, waitMs);
      return;
    }
    // Asked for before looking: a commit between the look and the wish would be overlooked.
    this.#clock.wantWake();
    const shipper = this.#shipper;
    const next = this.#reading(
      () => shipper.next(now, Math.min(frameBytes, this.#budget.roomBytes(now))),
      () => this.#pump(),
    );
    if (next === undefined) return;
    if (next === "empty") {
      this.#flushed();
    } else if (next !== "full") {
      crashPoint("agent.link-send");
      this.#isSending = true;
      connection.send(next.frame, () => {
        crashPoint("agent.link-sent");
        this.#isSending = false;
        this.#goOn();
      });
    }
  }

  /**
   * Where all that there was has been sent, what comes now is gathered again: a frame, an fsync and
   * an acknowledgement for each commit would cost more than the tasks.
   */
  #goOn(): void {
    if (this.#isWaited) this.#pump();
    else this.#pumpSoon();
  }

  /** Something stands behind what was sent, or the end waits for it. */
  get #isWaited(): boolean {
    return this.#shipper?.isBehind === true || this.#closing !== "no";
  }

  /** Counts and charges what the socket has taken since the last look. */
  #settle(): void {
    const connection = this.#connection;
    if (connection === undefined) return;
    const { sentBytes, sentFrames } = connection;
    const bytes = sentBytes - this.#settled.bytes;
    const frames = sentFrames - this.#settled.frames;
    this.#settled = { bytes: sentBytes, frames: sentFrames };
    this.#budget.charge(bytes, frames);
    this.#clock.addSent(bytes, frames);
  }

  /**
   * What the disk does not give is told and tried again; a thread that ended of it would take the
   * heartbeats with it.
   */
  #reading<T>(read: () => T, again?: () => void): T | undefined {
    try {
      const value = read();
      if (this.#isUnreadable) this.#tell({ type: "readable" });
      this.#isUnreadable = false;
      return value;
    } catch (error) {
      this.#isUnreadable = true;
      if (error instanceof DamagedRow) {
        // The main thread puts another row in its place, and then says that numbers are new.
        this.#tell({ type: "damaged", detail: error.message });
        this.#shipper?.close();
        this.#shipper = undefined;
        return undefined;
      }
      const detail = error instanceof Error ? error.message : String(error);
      const isSync = error instanceof Error && "syscall" in error && error.syscall === "fsync";
      this.#tell({ type: "unreadable", detail, isSync });
      this.#retryTimer ??= setTimeout(() => {
        this.#retryTimer = undefined;
        if (again !== undefined) again();
        else this.#handle({ type: "restarted", detail: `the outbox could not be read: ${detail}` });
      }, retryMs);
      return undefined;
    }
  }

  /** Commits come by the thousand: a short wait makes frames of them, and one fsync. */
  #pumpSoon(): void {
    const isBusy = (this.#shipper?.lastCount ?? 0) >= busyRecords;
    this.#pumpTimer ??= setTimeout(
      () => {
        this.#pumpTimer = undefined;
        this.#pump();
      },
      isBusy ? busyGatherMs : gatherMs,
    );
  }

  #send(message: AgentToMaster): void {
    const { id } = this.#session.state;
    if (message.type === "hello" || message.type === "proof" || id === "live") {
      this.#connection?.send(JSON.stringify(message));
    }
  }

  #tell(message: FromThread): void {
    this.#port.postMessage(message);
  }

  #armSessionTimer(): void {
    clearTimeout(this.#sessionTimer);
    const { dueAt } = this.#session;
    if (dueAt !== undefined) {
      const inMs = Math.max(0, Math.ceil(dueAt - performance.now()));
      this.#sessionTimer = setTimeout(() => {
        this.#connection?.checkProgress();
        this.#handle({ type: "ticked" });
      }, inMs);
    }
  }

  #close(flushMs: number): void {
    if (this.#closing === "no") {
      this.#closing = "flushing";
      this.#closeTimer = setTimeout(() => this.#sayGoodbye(), flushMs);
      this.#pump();
      this.#flushed();
    }
  }

  /** Nothing is left to send; when closing, the acks are awaited, too. */
  #flushed(): void {
    if (this.#closing !== "flushing") return;
    if (this.#acked >= (this.#reading(() => this.#reader.bounds().nextSeq) ?? Infinity) - 1) {
      this.#sayGoodbye();
    }
  }

  /** Without a connection there is nobody to flush to within the time that a stop may take. */
  #goneWhileClosing(): void {
    if (this.#closing === "saying-goodbye") {
      this.#end();
    }
  }

  #sayGoodbye(): void {
    clearTimeout(this.#closeTimer);
    this.#closing = "saying-goodbye";
    if (this.#session.state.id !== "live" || this.#connection === undefined) {
      this.#end();
      return;
    }
    this.#closeTimer = setTimeout(() => this.#end(), goodbyeMs);
    this.#connection.close();
  }

  #end(): void {
    if (this.#closing === "closed") {
      return;
    }
    this.#closing = "closed";
    this.#handle({ type: "closed" });
    this.#asking.stop();
    clearTimeout(this.#sessionTimer);
    clearTimeout(this.#pumpTimer);
    clearTimeout(this.#budgetTimer);
    clearTimeout(this.#closeTimer);
    clearTimeout(this.#retryTimer);
    this.#checkpoints.stop();
    const nextSeq = this.#reading(() => this.#reader.bounds().nextSeq);
    clearTimeout(this.#retryTimer);
    const unsent = nextSeq === undefined ? this.#clock.outboxDepth : nextSeq - 1 - this.#acked;
    this.#reader.close();
    this.#tell({ type: "closed", unsent: Math.max(0, unsent) });
    this.#port.close();
  }
}

const gatherMs = 20;
/** After a frame of so many records it waits longer: each frame costs a millisecond. */
const busyRecords = 32;
const busyGatherMs = 50;
const retryMs = 1_000;
const goodbyeMs = 1_000;
