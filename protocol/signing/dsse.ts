// The envelope of signatures and receipts: DSSE (github.com/secure-systems-lab/dsse), with exactly one
// Ed25519 signature. Strict, so that there is one text for one signature: base64 is the canonical one,
// no field is left over, and key ids are those of `public-key.ts`. No I/O.
import { type KeyObject, sign, verify } from "node:crypto";

export interface Envelope {
  payloadType: string;
  /** Base64. */
  payload: string;
  signatures: [{ keyid: string; sig: string }];
}

export const statementType = "application/vnd.in-toto+json";

/** What is signed: DSSE's pre-authentication encoding, version 1. */
export function preAuthentication(payloadType: string, payload: Uint8Array): Buffer {
  const type = Buffer.from(payloadType, "utf8");
  return Buffer.concat([
    Buffer.from(`DSSEv1 ${type.length} `),
    type,
    Buffer.from(` ${payload.length} `),
    payload,
  ]);
}

export function seal(payload: string, { id, key }: { id: string; key: KeyObject }): Envelope {
  const bytes = Buffer.from(payload, "utf8");
  const sig = sign(null, preAuthentication(statementType, bytes), key);
  return {
    payloadType: statementType,
    payload: bytes.toString("base64"),
    signatures: [{ keyid: id, sig: sig.toString("base64") }],
  };
}

export interface OpenedEnvelope {
  keyId: string;
  payload: Buffer;
  isSignedBy(key: KeyObject): boolean;
}

/** What is in an envelope, before any key was asked; a text says what is wrong with its form. */
export function readEnvelope(value: unknown): OpenedEnvelope | string {
  if (!hasOnly(value, ["payloadType", "payload", "signatures"])) {
    return "it is not an object of payloadType, payload and signatures";
  }
  const { payloadType, payload: payloadText, signatures } = value;
  if (payloadType !== statementType) return `its payloadType is not ${statementType}`;
  const payload = fromBase64(payloadText);
  if (payload === undefined) return "its payload is not canonical base64";
  const only: unknown =
    Array.isArray(signatures) && signatures.length === 1 ? signatures[0] : undefined;
  if (!hasOnly(only, ["keyid", "sig"])) return "it has not exactly one signature of keyid and sig";
  const { keyid } = only;
  if (typeof keyid !== "string" || !keyIdPattern.test(keyid)) return "its keyid is no key id";
  const sig = fromBase64(only.sig);
  if (sig?.length !== signatureBytes) return "its sig is not the base64 of 64 bytes";
  return {
    keyId: keyid,
    payload,
    isSignedBy: (key) => verify(null, preAuthentication(statementType, payload), key, sig),
  };
}

export const keyIdPattern = /^[0-9a-f]{64}$/;
const signatureBytes = 64;

/** Undefined for everything but the one way to write these bytes. */
export function fromBase64(text: unknown): Buffer | undefined {
  if (typeof text !== "string" || text.length > mostChars) return undefined;
  const bytes = Buffer.from(text, "base64");
  return bytes.toString("base64") === text ? bytes : undefined;
}
const mostChars = 512 * 1024 * 1024;

/** True for a plain object with all of these fields and no other. */
export function hasOnly<const Name extends string>(
  value: unknown,
  names: readonly Name[],
): value is { [K in Name]: unknown } {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const found = Object.keys(value);
  return found.length === names.length && names.every((name) => Object.hasOwn(value, name));
}
