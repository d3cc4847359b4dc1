// Signatures of artifacts: who signed which artifact, for when, for which nodes. What is signed is a
// statement about the digest of the artifact; it lies beside the artifact, in `signatures`. A field
// that is not known here is refused: a condition must never be passed over. No I/O, no clock.
import { randomUUID } from "node:crypto";
import { type Envelope, hasOnly, keyIdPattern, readEnvelope, seal } from "./dsse.ts";
import type { PublicKey, TrustedKeys } from "./public-key.ts";
import { readStatement, type Subject, statementText } from "./statement.ts";

export const signaturePredicate = "urn:edgedag:artifact-signature:1";
/** More signatures than rotations of keys would ever need. */
export const mostSignatures = 16;

/** Times are Unix milliseconds. */
export interface Conditions {
  notBefore?: number;
  /** From then on it is not valid. */
  expires?: number;
  /** Names of nodes, `*` stands for any characters; absent: all. */
  nodes?: string[];
  /** Each node takes it for one run. */
  once?: true;
}

export interface ArtifactSignature extends Conditions {
  /** Unique. */
  id: string;
  key: string;
  signedAt: number;
}

export interface SigningKey extends PublicKey {
  privateKey: Parameters<typeof seal>[1]["key"];
}

export function signArtifact(
  { digest, dag }: { digest: string; dag: string },
  conditions: Conditions,
  { id: key, privateKey }: SigningKey,
  signedAt: number,
): { envelope: Envelope; signature: ArtifactSignature } {
  const signature: ArtifactSignature = { id: randomUUID(), key, signedAt, ...conditions };
  const subject: Subject[] = [{ name: dag, digest: { sha256: digest } }];
  const text = statementText(signaturePredicate, subject, signature);
  return { envelope: seal(text, { id: key, key: privateKey }), signature };
}

export type Opened =
  | { is: "good"; digest: string; signature: ArtifactSignature }
  | {
      is: "bad";
      code: "E_SIGNATURE_FORM" | "E_SIGNATURE_KEY" | "E_SIGNATURE_INVALID";
      why: string;
    };

/** Says whether the signature is one of a trusted key, not whether it fits here and now. */
export function openSignature(value: unknown, trusted: TrustedKeys): Opened {
  const envelope = readEnvelope(value);
  if (typeof envelope === "string") return bad("E_SIGNATURE_FORM", envelope);
  const { keyId, payload } = envelope;
  const key = trusted.get(keyId);
  if (key === undefined) return bad("E_SIGNATURE_KEY", `its key ${keyId} is not trusted here`);
  if (!envelope.isSignedBy(key.key)) {
    return bad("E_SIGNATURE_INVALID", `it is not a signature of the key ${keyId}`);
  }
  const statement = readStatement(payload, signaturePredicate);
  if (typeof statement === "string") return bad("E_SIGNATURE_FORM", statement);
  const signature = readSignature(statement.predicate);
  const [subject, ...others] = statement.subject;
  if (signature === undefined || subject === undefined || others.length > 0) {
    return bad("E_SIGNATURE_FORM", "its conditions cannot be read");
  }
  if (signature.key !== keyId) return bad("E_SIGNATURE_FORM", "it names another key inside");
  return { is: "good", digest: subject.digest.sha256, signature };
}

function bad(code: Extract<Opened, { is: "bad" }>["code"], why: string): Opened {
  return { is: "bad", code, why };
}

const optional = ["notBefore", "expires", "nodes", "once"] as const;

function readSignature(value: unknown): ArtifactSignature | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const present = optional.filter((name) => Object.hasOwn(value, name));
  if (!hasOnly(value, ["id", "key", "signedAt", ...present])) return undefined;
  const { id, key, signedAt } = value;
  if (typeof id !== "string" || !/^[0-9a-f-]{36}$/.test(id)) return undefined;
  if (typeof key !== "string" || !keyIdPattern.test(key) || !isTime(signedAt)) return undefined;
  const signature: ArtifactSignature = { id, key, signedAt };
  for (const name of present) {
    const condition: unknown = Reflect.get(value, name);
    if (name === "once" && condition === true) signature.once = true;
    else if (name === "nodes" && isNodeList(condition)) signature.nodes = condition;
    else if ((name === "notBefore" || name === "expires") && isTime(condition)) {
      signature[name] = condition;
    } else return undefined;
  }
  return signature;
}

function isTime(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

const nodePattern = /^[A-Za-z0-9*][A-Za-z0-9._*-]{0,127}$/;

function isNodeList(value: unknown): value is string[] {
  return Array.isArray(value) && value.length > 0 && value.every(isNodePattern);
}

export function isNodePattern(value: unknown): value is string {
  return typeof value === "string" && nodePattern.test(value);
}

/** Linear: `*` takes as few characters as it can, and the last one the rest. */
export function isForNode({ nodes }: Conditions, node: string): boolean {
  return nodes === undefined || nodes.some((pattern) => fits(pattern, node));
}

function fits(pattern: string, node: string): boolean {
  const [first = "", ...rest] = pattern.split("*");
  if (rest.length === 0) return pattern === node;
  const last = rest.pop() ?? "";
  if (!node.startsWith(first)) return false;
  let at = first.length;
  for (const part of rest) {
    const found = node.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return node.length - last.length >= at && node.endsWith(last);
}
