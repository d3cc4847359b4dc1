// The receipts of a node: its key, and one signed file for each run that has ended. Everything is made
// from what the run has left, at its end and without anybody else: no task waits for it.
import { createHash, generateKeyPairSync } from "node:crypto";
import { createReadStream, existsSync } from "node:fs";
import { open, rename } from "node:fs/promises";
import { setImmediate as nextTurn } from "node:timers/promises";
import { canonicalJson, sha256Hex } from "../../protocol/canonical.ts";
import type { Result } from "../../protocol/diagnostic.ts";
import type { Json } from "../../protocol/json.ts";
import type { RunSummary } from "../../protocol/link.ts";
import type { RunOutcome } from "../../protocol/outcome.ts";
import type { SigningKey } from "../../protocol/signing/artifact-signature.ts";
import { type Envelope, seal } from "../../protocol/signing/dsse.ts";
import type { LogDigest } from "../../protocol/signing/log-chain.ts";
import { inlineKey, publicKeyOf } from "../../protocol/signing/public-key.ts";
import {
  type Receipt,
  receiptPredicate,
  subjectsOf,
  type TaskReceipt,
} from "../../protocol/signing/receipt.ts";
import { statementText } from "../../protocol/signing/statement.ts";
import { receiptKeyPath, receiptPath } from "../../protocol/state-paths.ts";
import type { RunState } from "../core/run-state.ts";
import type { RunResults } from "../run-results.ts";
import { readSigningKey, writeNewFile } from "./key-files.ts";

export interface ReceiptConfig {
  node: string;
  stateDir: string;
  receipts: "auto" | "on" | "off";
  receiptKey: string;
  durability: "process" | "power";
}

/** A run that has ended, with its log closed. */
export interface EndedRun {
  run: string;
  digest: string;
  params: { [name: string]: Json };
  state: RunState;
  results: RunResults;
  artifacts: Receipt["artifacts"];
  /** With which signature it was let in. */
  envelope: Envelope | undefined;
  startedAt: number;
  finishedAt: number;
  outcome: RunOutcome;
  summary: RunSummary;
  log: LogDigest;
}

/** Where it lies, for the outbox. */
export interface WrittenReceipt {
  path: string;
  sizeBytes: number;
  sha256: string;
}

export class Receipts {
  readonly #config: ReceiptConfig;
  readonly #version: string;
  readonly #key: SigningKey;
  /** The key is new: its public half is to be told to whoever looks at receipts. */
  readonly isNewKey: boolean;

  private constructor(
    { config, version, isNewKey }: { config: ReceiptConfig; version: string; isNewKey: boolean },
    key: SigningKey,
  ) {
    this.#config = config;
    this.#version = version;
    this.#key = key;
    this.isNewKey = isNewKey;
  }

  /** The state folder must be this agent's. Fails with E_KEY_FILE. */
  static open(config: ReceiptConfig, version: string): Result<Receipts> {
    const own = receiptKeyPath(config.stateDir);
    const path = config.receiptKey === "" ? own : config.receiptKey;
    const isNewKey = path === own && !existsSync(path);
    if (isNewKey) {
      const made = makeKey(path);
      if (!made.ok) return made;
    }
    const key = readSigningKey(path);
    if (!key.ok) return key;
    return { ok: true, value: new Receipts({ config, version, isNewKey }, key.value) };
  }

  get keyId(): string {
    return this.#key.id;
  }

  /** As EDGEDAG_TRUSTED_KEYS and --trusted take it. */
  get inlineKey(): string {
    return inlineKey(this.#key);
  }

  /** Throws what the file system throws. */
  async write(ended: EndedRun): Promise<WrittenReceipt> {
    const receipt = await this.#receiptOf(ended);
    const text = statementText(receiptPredicate, subjectsOf(ended.digest, receipt), receipt);
    const sealed = seal(text, { id: this.#key.id, key: this.#key.privateKey });
    const bytes = Buffer.from(`${canonicalJson(sealed)}\n`);
    const path = receiptPath(this.#config.stateDir, ended.run);
    const part = `${path}.part`;
    const file = await open(part, "w", 0o600);
    try {
      await file.writeFile(bytes);
      if (this.#config.durability === "power") await file.sync();
    } finally {
      await file.close();
    }
    await rename(part, path);
    return { path, sizeBytes: bytes.length, sha256: sha256Hex(bytes) };
  }

  async #receiptOf(ended: EndedRun): Promise<Receipt> {
    const { run, params, state, envelope, startedAt, finishedAt, outcome, summary, log } = ended;
    const signature = envelope === undefined ? undefined : idOf(envelope);
    return {
      run,
      node: this.#config.node,
      agent: this.#version,
      dag: state.document.attributes.dag,
      params: sha256Hex(canonicalJson(params)),
      ...(signature === undefined ? {} : { signature }),
      startedAt: Math.round(startedAt),
      finishedAt: Math.round(finishedAt),
      outcome,
      summary,
      tasks: await tasksOf(state, ended.results),
      artifacts: ended.artifacts.map(({ task, attempt, name, sizeBytes, sha256 }) => ({
        task,
        attempt,
        name,
        sizeBytes,
        sha256,
      })),
      log,
    };
  }
}

/** Tasks in the order of the document, then items of fan-outs. */
async function tasksOf(state: RunState, results: RunResults): Promise<TaskReceipt[]> {
  const tasks: TaskReceipt[] = [];
  for (let instance = 0; instance < state.instanceCount; instance += 1) {
    // Large DAGs: the next run, and whoever asks, must not wait for all of it.
    if (instance % tasksAtOnce === tasksAtOnce - 1) await nextTurn();
    const now = state.stateOf(instance);
    if (now.id !== "finished") continue;
    const stored = results.get(instance);
    tasks.push({
      task: state.keyOf(instance),
      outcome: now.outcome,
      attempts: state.attemptOf(instance),
      ...(stored === undefined
        ? {}
        : "value" in stored
          ? { result: sha256Hex(canonicalJson(stored.value)) }
          : await fileDigest(stored.file.path)),
    });
  }
  return tasks;
}

const tasksAtOnce = 1000;

/** Nothing where the file is gone: shared memory does not survive a reboot. */
async function fileDigest(path: string): Promise<Pick<TaskReceipt, "resultFile">> {
  if (!existsSync(path)) return {};
  const hash = createHash("sha256");
  let sizeBytes = 0;
  for await (const chunk of createReadStream(path)) {
    hash.update(chunk);
    sizeBytes += chunk.length;
  }
  return { resultFile: { sha256: hash.digest("hex"), sizeBytes } };
}

/** It was looked at when the run was taken; here it is only named. */
function idOf(envelope: Envelope): Receipt["signature"] {
  const statement: unknown = JSON.parse(Buffer.from(envelope.payload, "base64").toString());
  const id = (statement as { predicate?: { id?: unknown } }).predicate?.id;
  return { id: String(id), key: envelope.signatures[0].keyid };
}

function makeKey(path: string): Result<null> {
  const { privateKey } = generateKeyPairSync("ed25519");
  const publicKey = publicKeyOf(privateKey);
  if (typeof publicKey === "string") throw new Error(`a new key is not good: ${publicKey}`);
  const secret = privateKey.export({ format: "pem", type: "pkcs8" }).toString();
  const written = writeNewFile(path, secret, 0o600);
  if (!written.ok) return written;
  const open = publicKey.key.export({ format: "pem", type: "spki" }).toString();
  const told = writeNewFile(path.replace(/\.key$/, ".pub"), open, 0o644);
  // A crash between the two: the private one counts, and the public one is in every log.
  return told.ok || existsSync(path.replace(/\.key$/, ".pub")) ? written : told;
}
