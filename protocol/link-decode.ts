// Decodes the text frames of the link: `decodeAgentToMaster` and `decodeMasterToAgent` give a message
// or diagnostics, and never throw. Unknown fields are ignored, so that a newer peer of the same version can be
// understood. Codes: E_LINK_JSON (not JSON), E_LINK_TYPE (not a message known here), E_LINK_FIELD (a
// field is missing or wrong), E_LINK_VERSION (a hello or welcome of another version, whatever else it holds).
import type { DagArtifact } from "./artifact.ts";
import type { Diagnostic, Result } from "./diagnostic.ts";
import type { Json } from "./json.ts";
import {
  Findings,
  isObject,
  type JsonObject,
  readBoolean,
  readCount,
  readId,
  readList,
  readNumber,
  readObject,
  readString,
  readStringMap,
  readStrings,
  readWord,
} from "./json-read.ts";
import {
  type AgentToMaster,
  type Capabilities,
  linkVersion,
  type MasterToAgent,
  type RefusalCode,
  type SandboxPool,
} from "./link.ts";
import { readRecord } from "./link-record-decode.ts";
import { keyPattern, signaturePattern } from "./node-proof.ts";
import { readCancelledBy } from "./outcome-decode.ts";
import { readSnippetOrder, readSnippetWord } from "./snippet-decode.ts";

/** Largest text frame of the link, in bytes of UTF-8, both ways. */
export const frameLimitBytes = 16 * 1024 * 1024;

/** Most bytes that an agent may send before it is let in: its hello and its proof. */
export const greetingLimitBytes = 2 * 1024 * 1024;

const remedy =
  "Run agent and master of the same release; the messages are described in PROTOCOL.md.";
const nodeStates = ["starting", "idle", "running", "draining"] as const;
const refusalCodes: readonly [RefusalCode, ...RefusalCode[]] = [
  "unauthorized",
  "version",
  "twin",
  "bad-message",
  "too-large",
  "gap",
];

export function decodeAgentToMaster(text: string): Result<AgentToMaster> {
  return decodeFrame(text, readAgentToMaster);
}

export function decodeMasterToAgent(text: string): Result<MasterToAgent> {
  return decodeFrame(text, readMasterToAgent);
}

type Reader<T> = (frame: JsonObject, findings: Findings) => T | Diagnostic;

function decodeFrame<T extends { type: string }>(text: string, read: Reader<T>): Result<T> {
  let frame: Json;
  try {
    frame = JSON.parse(text);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return failed(diagnostic("E_LINK_JSON", "", `the frame is not JSON: ${message}`));
  }
  if (!isObject(frame)) {
    return failed(diagnostic("E_LINK_TYPE", "", "the frame is not a JSON object"));
  }
  const findings = new Findings("E_LINK_FIELD", remedy);
  const message = read(frame, findings);
  if ("code" in message && "remedy" in message && "path" in message) return failed(message);
  if (findings.list.length > 0) return { ok: false, diagnostics: findings.list };
  return { ok: true, value: message };
}

function failed(found: Diagnostic): { ok: false; diagnostics: Diagnostic[] } {
  return { ok: false, diagnostics: [found] };
}

function diagnostic(code: string, path: string, message: string): Diagnostic {
  return { code, path, message, remedy };
}

function unknownType(frame: JsonObject): Diagnostic {
  const type = typeof frame.type === "string" ? `"${frame.type.slice(0, 60)}"` : "no type";
  return diagnostic("E_LINK_TYPE", "type", `${type} is not a message that is known here`);
}

function otherVersion(frame: JsonObject): Diagnostic | undefined {
  if (frame.version === linkVersion || typeof frame.version !== "number") return undefined;
  return diagnostic(
    "E_LINK_VERSION",
    "version",
    `the peer speaks version ${frame.version} of the link, this side version ${linkVersion}`,
  );
}

function readAgentToMaster(frame: JsonObject, findings: Findings): AgentToMaster | Diagnostic {
  switch (frame.type) {
    case "records":
    case "early":
      return {
        type: frame.type,
        records: readList(frame, "records", "", findings).map((record, index) =>
          readRecord(record, index, findings),
        ),
      };
    case "heartbeat": {
      const heartbeat: AgentToMaster = {
        type: "heartbeat",
        state: readWord(frame, "state", "", findings, nodeStates),
        runs: readRunsProgress(frame, findings),
        load: readNumber(frame, "load", "", findings),
        rssBytes: readNumber(frame, "rssBytes", "", findings),
        outbox: readCount(frame, "outbox", "", findings),
        loopLagMs: readNumber(frame, "loopLagMs", "", findings),
      };
      if (frame.slots !== undefined) heartbeat.slots = readCount(frame, "slots", "", findings);
      if (frame.sentBytes !== undefined) {
        heartbeat.sentBytes = readCount(frame, "sentBytes", "", findings);
      }
      if (frame.sandboxes !== undefined) {
        heartbeat.sandboxes = readSandboxes(frame, findings);
      }
      return heartbeat;
    }
    case "hello":
      return otherVersion(frame) ?? readHello(frame, findings);
    case "proof":
      return {
        type: "proof",
        signature: readPattern(frame, "signature", "", findings, signaturePattern),
        ...(frame.nextSignature === undefined
          ? {}
          : { nextSignature: readPattern(frame, "nextSignature", "", findings, signaturePattern) }),
        ...(frame.token === undefined
          ? {}
          : { token: readString(frame, "token", "", findings, 200) }),
      };
    case "run-accepted":
      return { type: "run-accepted", run: readId(frame, "run", "", findings) };
    case "run-refused":
      return {
        type: "run-refused",
        run: readId(frame, "run", "", findings),
        code: readString(frame, "code", "", findings),
        detail: readString(frame, "detail", "", findings),
      };
    default:
      return readSnippetWord(frame, findings) ?? unknownType(frame);
  }
}

function readSandboxes(frame: JsonObject, findings: Findings): SandboxPool[] {
  return readList(frame, "sandboxes", "", findings).map((entry, i): SandboxPool => {
    const at = `sandboxes[${i}]`;
    if (!isObject(entry)) findings.add(at, "must be an object");
    const pool = isObject(entry) ? entry : {};
    const count = (name: string) => readCount(pool, name, at, findings);
    return {
      level: readString(pool, "level", at, findings, 50),
      language: readString(pool, "language", at, findings, 50),
      ready: count("ready"),
      starting: count("starting"),
      inUse: count("inUse"),
      served: count("served"),
      cold: count("cold"),
      died: count("died"),
      expired: count("expired"),
      failed: count("failed"),
    };
  });
}

function readHello(frame: JsonObject, findings: Findings): AgentToMaster {
  return {
    ...(frame.identity === undefined ? {} : { identity: readIdentity(frame, findings) }),
    ...(frame.snippetSlots === undefined
      ? {}
      : { snippetSlots: readCount(frame, "snippetSlots", "", findings) }),
    type: "hello",
    version: readCount(frame, "version", "", findings, 1),
    node: readId(frame, "node", "", findings),
    boot: readString(frame, "boot", "", findings, 200),
    agentVersion: readString(frame, "agentVersion", "", findings, 200),
    capabilities: readCapabilities(frame, findings),
    labels: readStringMap(frame, "labels", "", findings),
    firstHeldSeq: readCount(frame, "firstHeldSeq", "", findings, 1),
    nextSeq: readCount(frame, "nextSeq", "", findings, 1),
    runs: readStrings(frame, "runs", "", findings),
    wantsRuns: readBoolean(frame, "wantsRuns", "", findings),
  };
}

function readIdentity(hello: JsonObject, findings: Findings): { key: string; next?: string } {
  const at = "identity";
  const from = readObject(hello, at, "", findings);
  const key = readPattern(from, "key", at, findings, keyPattern);
  if (from.next === undefined) return { key };
  return { key, next: readPattern(from, "next", at, findings, keyPattern) };
}

function readPattern(
  from: JsonObject,
  key: string,
  at: string,
  findings: Findings,
  pattern: RegExp,
): string {
  const value = readString(from, key, at, findings, 200);
  if (!pattern.test(value)) findings.field(at, key, `must match ${pattern.source}`);
  return value;
}

function readCapabilities(hello: JsonObject, findings: Findings): Capabilities {
  const at = "capabilities";
  const from = readObject(hello, at, "", findings);
  return {
    architecture: readString(from, "architecture", at, findings, 200),
    os: readString(from, "os", at, findings, 200),
    cores: readNumber(from, "cores", at, findings),
    memoryBytes: readNumber(from, "memoryBytes", at, findings),
    ...(from.gpus === undefined ? {} : { gpus: readCount(from, "gpus", at, findings) }),
    levels: readStrings(from, "levels", at, findings),
    languages: readStringMap(from, "languages", at, findings),
    launcher: readBoolean(from, "launcher", at, findings),
  };
}

function readRunsProgress(frame: JsonObject, findings: Findings) {
  const runs = readObject(frame, "runs", "", findings);
  return Object.fromEntries(
    Object.keys(runs).map((run) => {
      const at = `runs.${run.slice(0, 128)}`;
      const progress = readObject(runs, run, "runs", findings);
      return [
        run,
        {
          done: readCount(progress, "done", at, findings),
          total: readCount(progress, "total", at, findings),
          running: readCount(progress, "running", at, findings),
        },
      ];
    }),
  );
}

function readMasterToAgent(frame: JsonObject, findings: Findings): MasterToAgent | Diagnostic {
  switch (frame.type) {
    case "ack":
      return {
        type: "ack",
        seq: readCount(frame, "seq", "", findings),
        ...(frame.early === undefined ? {} : { early: readCount(frame, "early", "", findings) }),
      };
    case "welcome":
      return (
        otherVersion(frame) ?? {
          type: "welcome",
          version: readCount(frame, "version", "", findings, 1),
          acked: readCount(frame, "acked", "", findings),
          heartbeatMs: readCount(frame, "heartbeatMs", "", findings, 1),
          time: readNumber(frame, "time", "", findings),
          ...(frame.snippets === true ? { snippets: true } : {}),
          ...(frame.nextKey === undefined
            ? {}
            : { nextKey: readPattern(frame, "nextKey", "", findings, keyPattern) }),
          ...(frame.lanes === true ? { lanes: true } : {}),
          ...(frame.deflate === true ? { deflate: true } : {}),
        }
      );
    case "challenge":
      return {
        type: "challenge",
        nonce: readPattern(frame, "nonce", "", findings, keyPattern),
        channel: readWord(frame, "channel", "", findings, ["tls", "plain"]),
      };
    case "refused":
      return {
        type: "refused",
        code: readWord(frame, "code", "", findings, refusalCodes),
        detail: readString(frame, "detail", "", findings),
        remedy: readString(frame, "remedy", "", findings),
      };
    case "run-offered": {
      const artifact = readArtifact(frame, "artifact", findings);
      const offer: MasterToAgent = {
        type: "run-offered",
        run: readId(frame, "run", "", findings),
        artifact,
      };
      if (frame.params !== undefined) offer.params = readObject(frame, "params", "", findings);
      return offer;
    }
    case "cancel-run":
      return {
        type: "cancel-run",
        run: readId(frame, "run", "", findings),
        by: readCancelledBy(frame, "by", "", findings),
      };
    case "drain":
      return { type: "drain" };
    default:
      return readSnippetOrder(frame, findings) ?? unknownType(frame);
  }
}

/**
 * An artifact that travels over the link or into the gateway. Checked here is what carrying, storing
 * and placing it needs; the agent validates the DAG itself in full before it accepts a run.
 */
export function readArtifact(from: JsonObject, key: string, findings: Findings): DagArtifact {
  const artifact = readObject(from, key, "", findings);
  if (artifact.artifact !== 1) findings.field(key, "artifact", "must be 1");
  const dag = readObject(artifact, "dag", key, findings);
  const attributes = readObject(dag, "attributes", `${key}.dag`, findings);
  readString(attributes, "dag", `${key}.dag.attributes`, findings, 1000);
  readObject(dag, "options", `${key}.dag`, findings);
  readList(dag, "edges", `${key}.dag`, findings);
  for (const [index, node] of readList(dag, "nodes", `${key}.dag`, findings).entries()) {
    const at = `${key}.dag.nodes[${index}]`;
    if (!isObject(node)) {
      findings.add(at, "must be an object");
      continue;
    }
    readString(node, "key", at, findings, 1000);
    const task = readObject(node, "attributes", at, findings);
    readString(task, "isolation", `${at}.attributes`, findings);
    const run = readObject(task, "run", `${at}.attributes`, findings);
    readString(run, "kind", `${at}.attributes.run`, findings);
  }
  for (const [index, file] of readList(artifact, "files", key, findings).entries()) {
    const at = `${key}.files[${index}]`;
    if (!isObject(file)) {
      findings.add(at, "must be an object");
      continue;
    }
    const path = readString(file, "path", at, findings, 4096);
    if (path.startsWith("/") || path.split("/").includes("..")) {
      findings.add(`${at}.path`, "must be relative and must not hold '..'");
    }
    readString(file, "sha256", at, findings, 64);
  }
  // The boundary: everything that is read before the agent's own validation was checked above.
  return artifact as unknown as DagArtifact;
}
