// What the agent's main thread and the link thread say to each other, and what the thread is given.
// All of it is cloned between threads: plain data only.
import type { Diagnostic } from "../../protocol/diagnostic.ts";
import type { AgentToMaster, Capabilities, RefusalCode, SnippetWord } from "../../protocol/link.ts";
import type { BackoffRules } from "./backoff.ts";
import type { RaceRules } from "./connect-race.ts";
import type { LinkStatus } from "./heartbeat.ts";
import type { PassedMessage } from "./session.ts";
import type { SharedMemory } from "./shared-clock.ts";
import type { WindowRules } from "./ship-window.ts";
import type { BudgetRules } from "./uplink-budget.ts";

export interface ThreadData {
  url: string;
  token?: string;
  /** Paths of PEM files; read at each connect, so that they can be renewed. */
  tlsCa?: string;
  tlsCert?: string;
  tlsKey?: string;
  /** A one-time token that lets this node in with a key of its own. */
  enrollToken?: string;
  /** Age at which that key is replaced; 0: never. */
  keyRotationMs: number;
  node: string;
  boot: string;
  agentVersion: string;
  capabilities: Capabilities;
  labels: { [name: string]: string };
  wantsRuns: boolean;
  snippetSlots: number;
  heartbeatMs: number;
  stateDir: string;
  backoff: BackoffRules;
  race: RaceRules;
  window: WindowRules;
  uplink: BudgetRules;
  compress: boolean;
  shared: SharedMemory;
  status: LinkStatus;
}

/** The agent's answers to an offer; they are no records: the master offers again after a loss. */
export type RunAnswer =
  | Extract<AgentToMaster, { type: "run-accepted" | "run-refused" }>
  | SnippetWord;

export type ToThread =
  /** Rows were committed after the thread had asked to be woken. */
  | { type: "wake" }
  /** The answer to `ask`. */
  | { type: "status"; status: LinkStatus }
  | { type: "answer"; message: RunAnswer }
  /** Rows have new numbers. */
  | { type: "renumbered" }
  | { type: "close"; flushMs: number };

export type FromThread =
  | { type: "connected"; acked: number; hasSnippets: boolean }
  | { type: "disconnected"; detail: string; retryInMs: number }
  | { type: "refused"; code: RefusalCode; detail: string; remedy: string; retryInMs: number }
  | { type: "acked"; seq: number }
  /** A heartbeat is due, or a connection is being made: what is there to say? */
  | { type: "ask" }
  | {
      type: "passed";
      message: PassedMessage;
    }
  /** The master has acknowledged numbers that this journal never gave away. */
  | { type: "ahead"; acked: number; nextSeq: number }
  /** The master asks for numbers that are held no longer. */
  | { type: "behind"; acked: number; firstHeldSeq: number }
  | { type: "problem"; problem: Diagnostic }
  /** A row is not what the journal wrote: nothing is sent before the main thread has replaced it. */
  | { type: "damaged"; detail: string }
  /** The outbox could not be read or synced; tried again. `isSync`: what was written may be lost. */
  | { type: "unreadable"; detail: string; isSync: boolean }
  | { type: "readable" }
  /** The last one. `unsent` is the number of records that the master has not acknowledged. */
  | { type: "closed"; unsent: number };
