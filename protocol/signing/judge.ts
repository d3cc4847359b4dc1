// Whether an artifact may run: one of its signatures must be of a trusted key, about this artifact, for
// this node and now. Pure: clock, keys and the record of used signatures are passed in.
import type { DagArtifact } from "../artifact.ts";
import type { Diagnostic } from "../diagnostic.ts";
import { type ArtifactSignature, isForNode, openSignature } from "./artifact-signature.ts";
import { type SigningCode, signingProblem } from "./codes.ts";
import type { Envelope } from "./dsse.ts";
import type { TrustedKeys } from "./public-key.ts";

/** When this release was made: a clock that is before it is wrong. Moved on with each release. */
export const releasedAt = Date.UTC(2026, 10, 25);
/** Clocks that differ by less may both be right. */
export const clockSlackMs = 86_400_000;

export interface Circumstances {
  trusted: TrustedKeys;
  /** Absent: not asked. */
  node?: string;
  /** Unix milliseconds by the clock of this machine; absent: not asked. */
  now?: number;
  /** A time that has surely passed, by what trusted keys have signed. */
  provenAt?: number;
  /** The other run that a signature for one run was used for. */
  usedBy?(signature: ArtifactSignature): string | undefined;
}

export type Judgement =
  | { ok: true; signature: ArtifactSignature; envelope: Envelope }
  | { ok: false; diagnostics: Diagnostic[] };

/** Of several signatures one that fits is enough; else each says what is wrong with it. */
export function judgeSignatures(
  { signatures, digest }: { signatures?: DagArtifact["signatures"] | undefined; digest: string },
  circumstances: Circumstances,
): Judgement {
  if (signatures === undefined) {
    const message = "the artifact has no signature";
    return { ok: false, diagnostics: [signingProblem("E_SIGNATURE_MISSING", message, signIt)] };
  }
  const found: Finding[] = [];
  for (const [at, envelope] of signatures.entries()) {
    const judged = judgeOne(envelope, digest, circumstances);
    if (!("code" in judged)) return { ok: true, signature: judged, envelope };
    found.push({ at, ...judged });
  }
  // The one that came furthest is told first: with rotated keys the others are expected to fail.
  found.sort((a, b) => stages.indexOf(b.code) - stages.indexOf(a.code) || a.at - b.at);
  const diagnostics = found.map(({ code, why, at }) =>
    signingProblem(code, `signature ${at + 1}: ${why}`, remedies[code], `signatures[${at}]`),
  );
  return { ok: false, diagnostics };
}

interface Problem {
  code: (typeof stages)[number];
  why: string;
}
type Finding = Problem & { at: number };

function judgeOne(
  envelope: Envelope,
  digest: string,
  circumstances: Circumstances,
): ArtifactSignature | Problem {
  const { trusted, node, now, usedBy } = circumstances;
  const opened = openSignature(envelope, trusted);
  if (opened.is === "bad") return opened;
  const { signature } = opened;
  if (opened.digest !== digest) {
    const why = `it is for the artifact ${opened.digest}, and this is ${digest}`;
    return { code: "E_SIGNATURE_DIGEST", why };
  }
  if (node !== undefined && !isForNode(signature, node)) {
    const why = `it is for ${signature.nodes?.join(", ")}, and this is ${node}`;
    return { code: "E_SIGNATURE_NODE", why };
  }
  const late = now === undefined ? undefined : judgeTime(signature, now, circumstances.provenAt);
  if (late !== undefined) return late;
  const other = signature.once === true ? usedBy?.(signature) : undefined;
  if (other !== undefined) {
    return { code: "E_SIGNATURE_REPLAYED", why: `it is for one run, and was used for ${other}` };
  }
  return signature;
}

function judgeTime(
  { notBefore, expires, signedAt }: ArtifactSignature,
  now: number,
  provenAt = 0,
): Problem | undefined {
  if (notBefore === undefined && expires === undefined) return undefined;
  const passed = Math.max(releasedAt, provenAt);
  if (expires !== undefined && Math.max(now, passed) >= expires) {
    return { code: "E_SIGNATURE_EXPIRED", why: `it has expired at ${timeText(expires)}` };
  }
  const least = Math.max(passed, signedAt);
  if (now < least - clockSlackMs) {
    const why = `the clock says ${timeText(now)}, but it is ${timeText(least)} or later`;
    return { code: "E_SIGNATURE_CLOCK", why };
  }
  if (notBefore !== undefined && now < notBefore) {
    return { code: "E_SIGNATURE_NOT_YET", why: `it is valid from ${timeText(notBefore)} on` };
  }
  return undefined;
}

/** What an accepted signature proves of the time; undefined when the clock does not agree. */
export function provenTime({ signedAt }: ArtifactSignature, now: number): number | undefined {
  return signedAt <= now + clockSlackMs ? signedAt : undefined;
}

export function timeText(time: number): string {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? `${time} ms` : date.toISOString();
}

/** In the order in which they are looked at. */
const stages = [
  "E_SIGNATURE_FORM",
  "E_SIGNATURE_KEY",
  "E_SIGNATURE_INVALID",
  "E_SIGNATURE_DIGEST",
  "E_SIGNATURE_NODE",
  "E_SIGNATURE_EXPIRED",
  "E_SIGNATURE_CLOCK",
  "E_SIGNATURE_NOT_YET",
  "E_SIGNATURE_REPLAYED",
] as const satisfies SigningCode[];

const signIt = "Sign the packed artifact with `edgedag sign`.";
const remedies: Record<(typeof stages)[number], string> = {
  E_SIGNATURE_FORM: signIt,
  E_SIGNATURE_KEY: "Sign it with a trusted key, or put its public key into EDGEDAG_TRUSTED_KEYS.",
  E_SIGNATURE_INVALID: "The file was changed or damaged: fetch it again from who signed it.",
  E_SIGNATURE_DIGEST: "The artifact was changed after it was signed: sign it again.",
  E_SIGNATURE_NODE: "Sign it for this node: `edgedag sign --node`.",
  E_SIGNATURE_EXPIRED: "Sign it again.",
  E_SIGNATURE_CLOCK: "Set the node's clock (NTP); the run is taken when it is right.",
  E_SIGNATURE_NOT_YET: "Submit it later, or look at the node's clock.",
  E_SIGNATURE_REPLAYED: "Sign it again for another run, or without `--once`.",
};
