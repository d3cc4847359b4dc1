// What is inside the envelopes: in-toto Statement v1 (in-toto.io/Statement/v1), as canonical JSON.
// A payload that is not exactly the canonical text of its value is refused, so that nothing can be
// said twice or in two ways. No I/O.
import { canonicalJson } from "../canonical.ts";
import { hasOnly } from "./dsse.ts";

export interface Subject {
  name: string;
  digest: { sha256: string };
}

export interface Statement {
  _type: "https://in-toto.io/Statement/v1";
  subject: Subject[];
  predicateType: string;
  predicate: unknown;
}

export function statementText(
  predicateType: string,
  subject: readonly Subject[],
  predicate: object,
): string {
  return canonicalJson({
    _type: "https://in-toto.io/Statement/v1",
    subject,
    predicateType,
    predicate,
  });
}

/** A text says what is wrong. */
export function readStatement(payload: Buffer, predicateType: string): Statement | string {
  let value: unknown;
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(payload);
    value = JSON.parse(text);
  } catch (error) {
    return `its payload is no JSON (${error instanceof Error ? error.message : error})`;
  }
  if (canonicalJson(value) !== text) return "its payload is not canonical JSON";
  if (!hasOnly(value, ["_type", "subject", "predicateType", "predicate"])) {
    return "its payload is no in-toto statement";
  }
  const { _type, subject, predicate } = value;
  if (_type !== "https://in-toto.io/Statement/v1") return "its payload is no in-toto statement v1";
  if (value.predicateType !== predicateType) return `it does not tell of ${predicateType}`;
  if (!Array.isArray(subject) || !subject.every(isSubject) || subject.length === 0) {
    return "its subject is not a list of names with SHA-256 digests";
  }
  return { _type, subject, predicateType, predicate };
}

function isSubject(value: unknown): value is Subject {
  return (
    hasOnly(value, ["name", "digest"]) &&
    typeof value.name === "string" &&
    hasOnly(value.digest, ["sha256"]) &&
    isSha256(value.digest.sha256)
  );
}

export function isSha256(value: unknown): value is string {
  return typeof value === "string" && /^[0-9a-f]{64}$/.test(value);
}
