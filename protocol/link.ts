// The messages between agent and master on the link, one WebSocket of JSON text frames.
// Only types here; PROTOCOL.md tells who may say what when. `decode` functions: link-decode.ts.
import type { ArtifactFile, DagArtifact } from "./artifact.ts";
import type { TaskAttributes } from "./dag.ts";
import type { Json } from "./json.ts";
import type { LogLine } from "./log.ts";
import type { CancelledBy, Facts, Outcome, RunOutcome } from "./outcome.ts";

export const linkVersion = 1;

/** What a node can do; probed at start, never guessed. */
export interface Capabilities {
  architecture: string;
  os: string;
  cores: number;
  memoryBytes: number;
  /** GPUs of the node; absent: it does not say. */
  gpus?: number;
  /** Isolation levels that hold on this host. */
  levels: string[];
  /** Runtimes found, with versions: `{"python": "3.11.7", "node": "26.10.0"}`. */
  languages: { [name: string]: string };
  /** False where no C launcher could be had. */
  launcher: boolean;
}

/** Waiting sandboxes of one kind, and how they have served since the agent's start. */
export interface SandboxPool {
  level: string;
  language: string;
  ready: number;
  starting: number;
  inUse: number;
  served: number;
  /** Of `served`: none was ready. */
  cold: number;
  /** Ended while they waited. */
  died: number;
  expired: number;
  /** Could not be made. */
  failed: number;
}

export type NodeState = "starting" | "idle" | "running" | "draining";

// ---- records: numbered, stored in the outbox, acknowledged, delivered exactly once ----
interface RecordBase {
  /** Per-node monotonic sequence number, from 1. */
  seq: number;
  /** Unix milliseconds. */
  time: number;
  run: string;
}
export type LinkRecord = RecordBase &
  (
    | {
        type: "run-started";
        dag: string;
        digest: string;
        tasks: number;
        params?: { [k: string]: Json };
      }
    /** Only for attempts that still run when the outbox is written, some 100 ms after their start. */
    | { type: "attempt-started"; task: string; attempt: number }
    | {
        type: "attempt-finished";
        task: string;
        attempt: number;
        outcome: Outcome;
        facts: Facts;
        /** The result, when it is at most 64 KiB of JSON text; larger ones come as `object-part`. */
        result?: Json;
        /** This outcome is the task's own: no further attempt follows. */
        final?: true;
      }
    /** The final outcome of a task that had no attempt of its own: skipped, cancelled, or a fan-out. */
    | { type: "task-finished"; task: string; outcome: Outcome }
    | { type: "progress"; task: string; attempt: number; fraction: number; text?: string }
    /** A chunk of the combined log: whole lines, in order. */
    | { type: "log"; lines: LogLine[] }
    /** A piece of a large result or of an artifact, in order, `part` from 1; `data` is base64. */
    | {
        type: "object-part";
        kind: "result" | "artifact";
        task: string;
        attempt: number;
        name: string;
        part: number;
        parts: number;
        sizeBytes: number;
        sha256: string;
        data: string;
      }
    | { type: "run-finished"; outcome: RunOutcome; summary: RunSummary }
    /** In place of a record that the node can no longer read; whose it was is not known, `run` says nothing. */
    | { type: "records-lost"; detail: string }
    /** In place of a record that the master has stored early, on this connection. */
    | { type: "sent-early" }
  );

export interface RunSummary {
  tasks: number;
  succeeded: number;
  failed: number;
  skipped: number;
  cancelled: number;
  attempts: number;
  wallMs: number;
  /** From a task's end to the start of its successor, milliseconds. */
  interTaskP50Ms?: number;
  interTaskP99Ms?: number;
  /** The agent's main thread in this run's turns: decisions, starts and ends, log and journal. */
  schedulerMs?: number;
  /** Of the time of all attempts and the scheduler together, the scheduler's; 0 to 1. */
  overheadShare?: number;
  /** Bytes that the node sent to its master while the run went on; absent without a master. */
  uplinkBytes?: number;
}

export type AgentToMaster =
  | {
      type: "hello";
      version: number;
      node: string;
      /** Random id of this agent process: tells a reconnect from a restart from a twin. */
      boot: string;
      agentVersion: string;
      capabilities: Capabilities;
      labels: { [name: string]: string };
      /** Lowest sequence number that the agent still holds, and the next that it will use. */
      firstHeldSeq: number;
      nextSeq: number;
      /** Runs that the agent has not finished. */
      runs: string[];
      /** True when the agent takes DAGs from the gateway. */
      wantsRuns: boolean;
      /** Snippets of the queues that it runs at once; absent: none. */
      snippetSlots?: number;
      /** It will prove its name with this key, and has another that is to take its place. */
      identity?: { key: string; next?: string };
    }
  /** The answer to `challenge`. `token`: a one-time token that lets the key in. */
  | { type: "proof"; signature: string; nextSignature?: string; token?: string }
  | {
      type: "heartbeat";
      state: NodeState;
      /** Done and total tasks of each open run. */
      runs: { [run: string]: { done: number; total: number; running: number } };
      load: number;
      rssBytes: number;
      outbox: number;
      /** How long the scheduler's event loop has not turned, milliseconds; large: it is busy. */
      loopLagMs: number;
      /** How many runs the agent takes at once; absent: 1. */
      slots?: number;
      /** Absent where no sandbox was asked for yet. */
      sandboxes?: SandboxPool[];
      /** Bytes on the wire to the master since the agent's start, framing included. */
      sentBytes?: number;
    }
  | { type: "records"; records: LinkRecord[] }
  /** Outcomes and results that overtake the log: ascending numbers, with gaps. Only after `lanes`. */
  | { type: "early"; records: LinkRecord[] }
  | { type: "run-accepted"; run: string }
  | { type: "run-refused"; run: string; code: string; detail: string }
  | SnippetWord;

/** An attempt at a snippet. */
export interface SnippetAttempt {
  id: string;
  attempt: number;
}

/** What an agent says of snippets. No records: what the master has not settled is said again. */
export type SnippetWord =
  /** After each `welcome`, before anything else of snippets: all that are here and not settled. */
  | { type: "snippets-held"; held: SnippetAttempt[] }
  | ({ type: "snippet-started"; at: number } & SnippetAttempt)
  /** `part` counts the pieces of both streams from 1; `data` is base64. */
  | ({
      type: "snippet-output";
      part: number;
      stream: "stdout" | "stderr";
      data: string;
    } & SnippetAttempt)
  /** A piece of a file that it left, before its end; `part` from 1, `data` is base64. */
  | ({
      type: "snippet-file";
      name: string;
      part: number;
      parts: number;
      sizeBytes: number;
      data: string;
    } & SnippetAttempt)
  | ({
      type: "snippet-ended";
      outcome: Outcome;
      facts: Facts;
      result?: Json;
      /** How many files came before. */
      files: number;
      refused: { path: string; why: string }[];
      finishedAt: number;
    } & SnippetAttempt)
  /** It was never begun and will not be. */
  | ({ type: "snippet-returned"; detail: string } & SnippetAttempt);

/** What a master says of snippets. */
export type SnippetOrder =
  | ({
      type: "snippet-assigned";
      task: TaskAttributes;
      files: ArtifactFile[];
      folders: string[];
    } & SnippetAttempt)
  | ({ type: "snippet-cancel" } & SnippetAttempt)
  /** Its end is known: the agent may forget it. */
  | ({ type: "snippet-settled" } & SnippetAttempt);

export type MasterToAgent =
  | {
      type: "welcome";
      version: number;
      acked: number;
      heartbeatMs: number;
      time: number;
      /** The master has snippets for nodes that run them; absent: it knows no such words. */
      snippets?: true;
      /** The next key of the hello, which is known from now on. */
      nextKey?: string;
      /** The master takes records early; absent: it knows no such words. */
      lanes?: true;
      /** The master reads binary frames: raw deflate (RFC 1951) of a message's text. */
      deflate?: true;
    }
  /** Only after a hello with `identity`. `channel`: whether the master itself ends the TLS. */
  | { type: "challenge"; nonce: string; channel: "tls" | "plain" }
  /** The master closes the connection after it. `retry: false`: the agent must not try again soon. */
  | { type: "refused"; code: RefusalCode; detail: string; remedy: string }
  /**
   * Cumulative: all records up to `seq` are stored, and those up to `early` of what was sent early on
   * this connection.
   */
  | { type: "ack"; seq: number; early?: number }
  | { type: "run-offered"; run: string; artifact: DagArtifact; params?: { [k: string]: Json } }
  | { type: "cancel-run"; run: string; by: CancelledBy }
  | { type: "drain" }
  | SnippetOrder;

export type RefusalCode = "unauthorized" | "version" | "twin" | "bad-message" | "too-large" | "gap";
