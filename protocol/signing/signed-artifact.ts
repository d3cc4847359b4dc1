// The form of a signed artifact: signatures that can be read, and one text for one value. No I/O.
import type { DagArtifact } from "../artifact.ts";
import { canonicalJson } from "../canonical.ts";
import type { Result } from "../diagnostic.ts";
import { mostSignatures } from "./artifact-signature.ts";
import { signingProblem } from "./codes.ts";
import { type Envelope, readEnvelope } from "./dsse.ts";

/**
 * Of a signed artifact there is one text: nothing may be in it that the digest does not tell of. Whether
 * the signatures are good is for who runs it.
 */
export function withSignatures(
  artifact: DagArtifact,
  value: { readonly [name: string]: unknown },
  text: string | undefined,
): Result<DagArtifact> {
  const refused = (message: string): Result<DagArtifact> => {
    const remedy = "Take the file as `edgedag sign` wrote it.";
    return {
      ok: false,
      diagnostics: [signingProblem("E_SIGNATURE_FORM", message, remedy, "signatures")],
    };
  };
  const { signatures } = value;
  if (!Array.isArray(signatures) || signatures.length === 0 || signatures.length > mostSignatures) {
    return refused(`\`signatures\` must be a list of 1 to ${mostSignatures} envelopes.`);
  }
  for (const [at, envelope] of signatures.entries()) {
    const read = readEnvelope(envelope);
    if (typeof read === "string") return refused(`Signature ${at + 1} cannot be read: ${read}.`);
  }
  if (new Set(signatures.map(canonicalJson)).size < signatures.length) {
    return refused("The same signature is there twice.");
  }
  // Looked at one by one above.
  const signed: DagArtifact = { ...artifact, signatures: signatures as Envelope[] };
  const canonical = canonicalJson(signed);
  if (canonical !== canonicalJson(value)) {
    return refused("The signed artifact has values that are not written as packing writes them.");
  }
  if (text !== undefined && text !== canonical && text !== `${canonical}\n`) {
    return refused("The signed artifact is not canonical JSON: its text was changed.");
  }
  return { ok: true, value: signed };
}
