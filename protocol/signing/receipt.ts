// Receipts: what a node signs of a run that has ended. Facts for people and auditors; fields that are
// not known are left alone, because a later release may tell more. No I/O.
import type { RunSummary } from "../link.ts";
import type { Outcome, RunOutcome } from "../outcome.ts";
import { readEnvelope } from "./dsse.ts";
import type { LogDigest, LogSegment } from "./log-chain.ts";
import type { TrustedKeys } from "./public-key.ts";
import { isSha256, readStatement, type Subject } from "./statement.ts";

export const receiptPredicate = "urn:edgedag:receipt:1";
/** Under which names the receipt is among the run's artifacts; no task can have this one. */
export const receiptTask = ".run";
export const receiptName = "receipt.json";

export interface TaskReceipt {
  task: string;
  outcome: Outcome;
  attempts: number;
  /** SHA-256 of the result as canonical JSON. */
  result?: string;
  /** Of a large result: SHA-256 of its file. */
  resultFile?: { sha256: string; sizeBytes: number };
}

export interface Receipt {
  run: string;
  node: string;
  /** Version of the agent. */
  agent: string;
  dag: string;
  /** SHA-256 of the params as canonical JSON. */
  params: string;
  /** With which signature the artifact was let in. */
  signature?: { id: string; key: string };
  startedAt: number;
  finishedAt: number;
  outcome: RunOutcome;
  summary: RunSummary;
  tasks: TaskReceipt[];
  artifacts: { task: string; attempt: number; name: string; sizeBytes: number; sha256: string }[];
  log: LogDigest;
}

export interface OpenedReceipt {
  key: string;
  /** Digest of the DAG artifact that was run. */
  artifact: string;
  receipt: Receipt;
}

export type ReceiptProblem = {
  code: "E_RECEIPT_FORM" | "E_SIGNATURE_KEY" | "E_SIGNATURE_INVALID";
  why: string;
};

export function subjectsOf(artifact: string, { dag, artifacts }: Receipt): Subject[] {
  return [
    { name: dag, digest: { sha256: artifact } },
    ...artifacts.map(({ task, attempt, name, sha256 }) => ({
      name: `${task}#${attempt}/${name}`,
      digest: { sha256 },
    })),
  ];
}

export function openReceipt(value: unknown, trusted: TrustedKeys): OpenedReceipt | ReceiptProblem {
  const envelope = readEnvelope(value);
  if (typeof envelope === "string") return { code: "E_RECEIPT_FORM", why: envelope };
  const { keyId, payload } = envelope;
  const key = trusted.get(keyId);
  if (key === undefined) {
    return { code: "E_SIGNATURE_KEY", why: `its key ${keyId} is not trusted here` };
  }
  if (!envelope.isSignedBy(key.key)) {
    return { code: "E_SIGNATURE_INVALID", why: `it is not a signature of the key ${keyId}` };
  }
  const statement = readStatement(payload, receiptPredicate);
  if (typeof statement === "string") return { code: "E_RECEIPT_FORM", why: statement };
  const { predicate, subject } = statement;
  const [first] = subject;
  if (first === undefined || !isReceipt(predicate)) {
    return { code: "E_RECEIPT_FORM", why: "it does not tell what a receipt must tell" };
  }
  return { key: keyId, artifact: first.digest.sha256, receipt: predicate };
}

/** What is read of it here; the rest is for people, as its signer wrote it. */
function isReceipt(value: unknown): value is Receipt {
  return (
    isObjectValue(value) &&
    isText(value.run) &&
    isText(value.node) &&
    isObjectValue(value.outcome) &&
    isText(value.outcome.kind) &&
    Array.isArray(value.tasks) &&
    Array.isArray(value.artifacts) &&
    isLogDigest(value.log)
  );
}

function isLogDigest(value: unknown): value is LogDigest {
  if (!isObjectValue(value) || !isSha256(value.head) || !isCount(value.lines)) return false;
  const { before, segments } = value;
  if (!Array.isArray(segments) || !segments.every(isSegment)) return false;
  return (
    before === undefined ||
    (isObjectValue(before) && isCount(before.lastLine) && isSha256(before.head))
  );
}

function isSegment(value: unknown): value is LogSegment {
  return (
    isObjectValue(value) &&
    isCount(value.firstLine) &&
    isCount(value.lastLine) &&
    (value.sha256 === undefined || isSha256(value.sha256))
  );
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function isObjectValue(value: unknown): value is { readonly [name: string]: unknown } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}
