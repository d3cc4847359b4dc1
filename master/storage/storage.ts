// The one interface between the master's services and whatever stores their data. SQLite implements it
// (`sqlite/`); it is asynchronous throughout so that PostgreSQL can. An implementation owns atomicity
// and nothing else: who may do what, and when, is decided by the services.
import type { DagArtifact } from "../../protocol/artifact.ts";
import type { Json } from "../../protocol/json.ts";
import type { Capabilities, LinkRecord, RunSummary } from "../../protocol/link.ts";
import type { CancelledBy, Facts, Outcome, RunOutcome } from "../../protocol/outcome.ts";

export interface MasterStorage {
  // ---- records of the link ----
  /**
   * Applies frames in order, all in one transaction: each frame's records and its node's acked number
   * together. Records up to the acked number are skipped. When it rejects, nothing was applied.
   */
  applyFrames(frames: readonly RecordFrame[]): Promise<FrameResult[]>;

  // ---- nodes ----
  nodes(): Promise<NodeRow[]>;
  /** Adds or replaces a node; `acked` and `missingRecords` of a node that is known stay as they are. */
  saveNode(node: NodeRow): Promise<void>;
  /** Moves a node's record numbers at a hello, when records are missing or were numbered anew. */
  setAcked(node: string, acked: number, missingRecords: number): Promise<void>;
  /** Sets when nodes were last seen, Unix milliseconds, all in one transaction. */
  touchNodes(seen: readonly { node: string; lastSeenAt: number }[]): Promise<void>;
  addNodeEvent(node: string, event: NodeEvent): Promise<void>;
  /** Newest first. */
  nodeEvents(node: string, limit: number): Promise<NodeEvent[]>;

  // ---- runs ----
  /** Stores the artifact (once per digest) and the run. */
  createRun(run: NewRun): Promise<void>;
  run(id: string): Promise<RunRow | undefined>;
  /** Newest first. */
  runs(query: RunQuery): Promise<RunRow[]>;
  /** Runs of a node in one of these states, oldest first. */
  runsOfNode(node: string, states: readonly RunState[]): Promise<RunRow[]>;
  /** The oldest queued runs that were asked for on this node or on any. */
  queuedRuns(node: string, limit: number): Promise<RunRow[]>;
  /** How many runs each node holds: offered, accepted or running. */
  openRuns(): Promise<Map<string, number>>;
  /**
   * Moves a run when it is in one of the states `from`; false when it was not. Fields that are absent
   * stay as they are.
   */
  moveRun(id: string, from: readonly RunState[], change: RunChange): Promise<boolean>;
  artifact(digest: string): Promise<DagArtifact | undefined>;
  runsByState(): Promise<{ [state: string]: number }>;

  // ---- tasks ----
  /** Every attempt and every task's own outcome (`attempt: 0`), ordered by task, then attempt. */
  attempts(run: string, task?: string): Promise<AttemptRow[]>;
  /** The JSON text of a result that came with its attempt. */
  resultText(run: string, task: string, attempt: number): Promise<string | undefined>;

  // ---- log ----
  /** Chunks whose last line is after `after`, in order of lines. */
  logChunks(run: string, after: number, limit: number): Promise<LogChunk[]>;

  // ---- objects ----
  objects(run: string, kind?: ObjectRow["kind"]): Promise<ObjectRow[]>;
  /** Whole objects that were not yet compared with their SHA-256. */
  unverifiedObjects(): Promise<ObjectRow[]>;
  setObjectState(id: number, state: ObjectRow["state"]): Promise<void>;
  /** The parts of an object in order; each is one piece of its bytes. */
  objectParts(id: number): AsyncIterable<Uint8Array>;

  recordsStored(): Promise<number>;
  close(): Promise<void>;
}

export interface RecordFrame {
  node: string;
  /** Unix milliseconds of arrival. */
  time: number;
  records: readonly LinkRecord[];
  /** Sent ahead of their turn: stored, and the acknowledged number stays. */
  isEarly?: true;
}

export interface FrameResult {
  acked: number;
  applied: number;
  /** First number of the frame when it leaves a gap: nothing of the frame was applied. */
  gapAt?: number;
  /** Runs whose records were applied. */
  runs: string[];
  finishedRuns: string[];
  /** Runs that belong to another node: their records were counted, not applied. */
  foreignRuns: string[];
  /** An object has all its parts. */
  wholeObject: boolean;
  /** Records that the node says it has lost. */
  lost: number;
}

export interface NodeRow {
  id: string;
  firstSeenAt: number;
  lastSeenAt: number;
  boot: string;
  agentVersion: string;
  capabilities: Capabilities;
  labels: { [name: string]: string };
  wantsRuns: boolean;
  /** Highest record number that is stored. */
  acked: number;
  /** Records that the node no longer had when it came back, and that never arrived. */
  missingRecords: number;
}

export interface NodeEvent {
  time: number;
  /** connected, disconnected, alive, late, lost, missing-records, renumbered, twin-refused, foreign-run, revoked */
  event: string;
  detail: string;
}

/**
 * queued: waits for a node. offered: sent to a node, which has not answered. accepted: the node has it.
 * running: its first record came. finished: it has an outcome. refused: no node takes it.
 * lost: the node that had it no longer knows it.
 */
export const runStates = [
  "queued",
  "offered",
  "accepted",
  "running",
  "finished",
  "refused",
  "lost",
] as const;
export type RunState = (typeof runStates)[number];

export interface NewRun {
  id: string;
  dag: string;
  digest: string;
  artifact: DagArtifact;
  tasks: number;
  params?: { [name: string]: Json };
  /** The node that was asked for; absent: any node that fits. */
  node?: string;
  /** Labels that a node must carry to be given this run. */
  labels: { [name: string]: string };
  createdAt: number;
}

export interface RunRow {
  id: string;
  dag: string;
  digest: string;
  state: RunState;
  /** `gateway`: submitted here; `node`: the node had the DAG itself. */
  source: "gateway" | "node";
  /** The node that runs it, or was asked for. */
  node?: string;
  /** True when any node that fits may run it. */
  any: boolean;
  labels: { [name: string]: string };
  params?: { [name: string]: Json };
  tasks: number;
  finishedTasks: number;
  failedTasks: number;
  createdAt: number;
  offeredAt?: number;
  acceptedAt?: number;
  startedAt?: number;
  finishedAt?: number;
  outcome?: RunOutcome;
  summary?: RunSummary;
  cancel?: CancelledBy;
  /** Nodes that refused it, with their reasons. */
  refusals: { node: string; code: string; detail: string }[];
}

export interface RunChange {
  state?: RunState;
  /** Null: the run goes back to any node. */
  node?: string | null;
  offeredAt?: number;
  acceptedAt?: number;
  finishedAt?: number;
  outcome?: RunOutcome;
  cancel?: CancelledBy;
  refusals?: RunRow["refusals"];
}

export interface RunQuery {
  state?: RunState;
  node?: string;
  dag?: string;
  /** Only runs created before this Unix time in milliseconds. */
  before?: number;
  limit: number;
}

export interface AttemptRow {
  task: string;
  /** 0: the outcome of a task that had no attempt of its own. */
  attempt: number;
  state: "running" | "finished";
  isFinal: boolean;
  time: number;
  outcome?: Outcome;
  facts?: Facts;
  hasResult: boolean;
  progress?: { fraction: number; text?: string };
}

export interface LogChunk {
  firstSeq: number;
  lastSeq: number;
  /** NDJSON: one line of the log per line of text, each ended by a newline. */
  text: string;
}

export interface ObjectRow {
  id: number;
  kind: "result" | "artifact";
  task: string;
  attempt: number;
  name: string;
  parts: number;
  partsStored: number;
  sizeBytes: number;
  sha256: string;
  state: "arriving" | "whole" | "verified" | "corrupt";
}
