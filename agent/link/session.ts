// The state machine of the connection to the master: events in, commands out. No sockets, no clock,
// no randomness: both come with each event, so that every path can be tested without waiting.
//
//   idle -> connecting -> greeting -> live
//              |             |         |        silence, loss, refusal
//              +-------------+---------+--> waiting -> connecting ...      any -> closed
import type { MasterToAgent, RefusalCode, SnippetOrder } from "../../protocol/link.ts";
import { Backoff, type BackoffRules } from "./backoff.ts";

export type SessionState =
  | { id: "idle" }
  /** TCP, TLS and the upgrade. */
  | { id: "connecting"; heardAt: number }
  /** `hello` is sent, `welcome` is awaited. */
  | { id: "greeting"; heardAt: number }
  | { id: "live"; since: number; heardAt: number; beatAt: number; acked: number; early: number }
  | { id: "waiting"; until: number }
  | { id: "closed" };

export type SessionEvent =
  | { type: "started" }
  | { type: "connected" }
  | { type: "received"; message: MasterToAgent }
  /** Any sign of life: a pong, or bytes that the other side has taken. */
  | { type: "heard" }
  /** The master answered the upgrade with another HTTP status. */
  | { type: "rejected"; status: number; retryAfterMs?: number }
  | { type: "lost"; detail: string }
  | { type: "ticked" }
  /** Connect again at once: numbers have changed. */
  | { type: "restarted"; detail: string }
  | { type: "closed" };

export type SessionCommand =
  | { type: "connect" }
  | { type: "greet" }
  /** The master asks for a proof of who this is. */
  | { type: "prove"; nonce: string; channel: "tls" | "plain" }
  /** The session is live: send records after `acked`. */
  | {
      type: "ship";
      acked: number;
      hasSnippets: boolean;
      hasLanes: boolean;
      hasDeflate: boolean;
      nextKey?: string;
    }
  | { type: "acked"; seq: number }
  /** What was sent early up to this number is stored. */
  | { type: "early-acked"; seq: number }
  | { type: "beat" }
  /** Drop the socket without ceremony. */
  | { type: "drop" }
  | {
      type: "pass";
      message: PassedMessage;
    }
  | { type: "say-lost"; detail: string; retryInMs: number }
  | { type: "say-refused"; code: RefusalCode; detail: string; remedy: string; retryInMs: number };

/** What the agent itself is to hear. */
export type PassedMessage =
  | Extract<MasterToAgent, { type: "run-offered" | "cancel-run" | "drain" }>
  | SnippetOrder;

export interface SessionRules {
  /** Until `welcome` says otherwise. */
  heartbeatMs: number;
  backoff: BackoffRules;
}

/** The time and chance of an event. */
export interface Moment {
  /** Milliseconds of a clock that does not jump. */
  now: number;
  /** From 0 to 1. */
  random: number;
}

export class Session {
  #state: SessionState = { id: "idle" };
  #heartbeatMs: number;
  readonly #backoff: Backoff;

  constructor(rules: SessionRules) {
    this.#heartbeatMs = rules.heartbeatMs;
    this.#backoff = new Backoff(rules.backoff);
  }

  get state(): SessionState {
    return this.#state;
  }

  get heartbeatMs(): number {
    return this.#heartbeatMs;
  }

  /** When `ticked` is due; undefined when nothing is awaited. */
  get dueAt(): number | undefined {
    const state = this.#state;
    switch (state.id) {
      case "idle":
      case "closed":
        return undefined;
      case "waiting":
        return state.until;
      case "connecting":
      case "greeting":
        return state.heardAt + this.#silenceMs;
      case "live":
        return Math.min(state.beatAt, state.heardAt + this.#silenceMs);
      default:
        return unreachable(state);
    }
  }

  handle(event: SessionEvent, moment: Moment): SessionCommand[] {
    const state = this.#state;
    if (state.id === "closed") {
      return [];
    }
    switch (event.type) {
      case "started":
        return state.id === "idle" ? this.#connect(moment.now) : [];
      case "closed":
        this.#state = { id: "closed" };
        return [{ type: "drop" }];
      case "connected":
        if (state.id !== "connecting") {
          return [];
        }
        this.#state = { id: "greeting", heardAt: moment.now };
        return [{ type: "greet" }];
      case "heard":
        this.#hear(moment.now);
        return [];
      case "received":
        this.#hear(moment.now);
        return this.#receive(event.message, moment);
      case "rejected":
        return this.#reject(event.status, event.retryAfterMs ?? 0, moment);
      case "lost":
        return this.#lose(event.detail, moment);
      case "restarted":
        return this.#isOpen() ? [{ type: "drop" }, ...this.#connect(moment.now)] : [];
      case "ticked":
        return this.#tick(moment);
      default:
        return unreachable(event);
    }
  }

  get #silenceMs(): number {
    return this.#heartbeatMs * 2.5;
  }

  #isOpen(): boolean {
    const { id } = this.#state;
    return id === "connecting" || id === "greeting" || id === "live";
  }

  #connect(now: number): SessionCommand[] {
    this.#state = { id: "connecting", heardAt: now };
    return [{ type: "connect" }];
  }

  #hear(now: number): void {
    const state = this.#state;
    if (state.id === "greeting" || state.id === "live") {
      state.heardAt = now;
    }
    if (state.id === "live" && now - state.since >= this.#silenceMs * 2) {
      this.#backoff.reset();
    }
  }

  #receive(message: MasterToAgent, moment: Moment): SessionCommand[] {
    const state = this.#state;
    if (message.type === "refused") {
      return this.#refuse(message, moment);
    }
    if (message.type === "welcome") {
      return this.#welcome(message, moment.now);
    }
    if (message.type === "challenge") {
      return state.id === "greeting" ? [{ ...message, type: "prove" }] : [];
    }
    if (state.id !== "live") {
      return this.#lose(`the master sent ${message.type} before welcome`, moment);
    }
    if (message.type === "ack") {
      const commands: SessionCommand[] = [];
      const early = message.early ?? 0;
      if (early > state.early) {
        state.early = early;
        commands.push({ type: "early-acked", seq: early });
      }
      if (message.seq > state.acked) {
        state.acked = message.seq;
        // Records got through: whatever ends this session later, it was worth connecting.
        this.#backoff.reset();
        commands.push({ type: "acked", seq: message.seq });
      }
      return commands;
    }
    return [{ type: "pass", message }];
  }

  #welcome(message: Extract<MasterToAgent, { type: "welcome" }>, now: number): SessionCommand[] {
    if (this.#state.id !== "greeting") {
      return [];
    }
    this.#heartbeatMs = Math.max(shortestHeartbeatMs, message.heartbeatMs);
    const { acked } = message;
    const beatAt = now + this.#heartbeatMs;
    this.#state = { id: "live", since: now, heardAt: now, beatAt, acked, early: 0 };
    const hasSnippets = message.snippets === true;
    const { nextKey } = message;
    const known = nextKey === undefined ? {} : { nextKey };
    const hasLanes = message.lanes === true;
    const hasDeflate = message.deflate === true;
    const ship = { type: "ship" as const, acked, hasSnippets, hasLanes, hasDeflate, ...known };
    return [{ type: "beat" }, ship];
  }

  #refuse(
    { code, detail, remedy }: Extract<MasterToAgent, { type: "refused" }>,
    moment: Moment,
  ): SessionCommand[] {
    const retryInMs = slowCodes.has(code)
      ? this.#backoff.slow(moment.random)
      : this.#backoff.next(moment.random);
    this.#state = { id: "waiting", until: moment.now + retryInMs };
    return [{ type: "drop" }, { type: "say-refused", code, detail, remedy, retryInMs }];
  }

  #reject(status: number, retryAfterMs: number, moment: Moment): SessionCommand[] {
    if (this.#state.id !== "connecting") {
      return [];
    }
    if (status === 401 || status === 403) {
      const detail = `the master answered ${status}`;
      const remedy = "Check EDGEDAG_TOKEN (or EDGEDAG_TOKEN_FILE) against the master's.";
      return this.#refuse({ type: "refused", code: "unauthorized", detail, remedy }, moment);
    }
    if (status === 426) {
      const detail =
        "the address speaks TLS: use https:// in EDGEDAG_MASTER (it answered HTTP 426)";
      return this.#lose(detail, moment);
    }
    const detail = `the address answered HTTP ${status} instead of the link`;
    return this.#lose(detail, moment, Math.min(retryAfterMs, mostRetryAfterMs));
  }

  /** `leastMs`: what the other side asked for; kept to with something on top, not all at once. */
  #lose(detail: string, moment: Moment, leastMs = 0): SessionCommand[] {
    if (!this.#isOpen()) {
      return [];
    }
    const asked = Math.round(leastMs * (1 + moment.random / 10));
    const retryInMs = Math.max(asked, this.#backoff.next(moment.random));
    this.#state = { id: "waiting", until: moment.now + retryInMs };
    return [{ type: "drop" }, { type: "say-lost", detail, retryInMs }];
  }

  #tick(moment: Moment): SessionCommand[] {
    const state = this.#state;
    const { now } = moment;
    switch (state.id) {
      case "idle":
      case "closed":
        return [];
      case "waiting":
        return now >= state.until ? this.#connect(now) : [];
      case "connecting":
      case "greeting":
        return now >= state.heardAt + this.#silenceMs
          ? this.#lose(`the master did not answer for ${this.#silenceMs} ms`, moment)
          : [];
      case "live":
        if (now >= state.heardAt + this.#silenceMs) {
          return this.#lose(`the master was silent for ${this.#silenceMs} ms`, moment);
        }
        if (now >= state.beatAt) {
          // On a fixed grid, but never several at once after a pause of the whole machine.
          const next = state.beatAt + this.#heartbeatMs;
          state.beatAt = next > now ? next : now + this.#heartbeatMs;
          return [{ type: "beat" }];
        }
        return [];
      default:
        return unreachable(state);
    }
  }
}

const shortestHeartbeatMs = 20;
/** However long a proxy asks to stay away. */
const mostRetryAfterMs = 600_000;
const slowCodes: ReadonlySet<RefusalCode> = new Set(["unauthorized", "version", "twin"]);

function unreachable(value: never): never {
  throw new Error(`unexpected ${JSON.stringify(value)}`);
}
