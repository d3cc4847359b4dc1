// Signed artifacts, envelopes, statements and keys: nothing that was changed is taken for what was
// signed, and what cannot be read is said in words.
import { artifactDigest, canonicalJson } from "../../../protocol/canonical.ts";
import { isDagCode } from "../../../protocol/codes.ts";
import { decodeDag } from "../../../protocol/load-dag.ts";
import { loadArtifact } from "../../../protocol/pack.ts";
import { openSignature, signaturePredicate } from "../../../protocol/signing/artifact-signature.ts";
import { signingCodes } from "../../../protocol/signing/codes.ts";
import { readEnvelope, seal } from "../../../protocol/signing/dsse.ts";
import { judgeSignatures } from "../../../protocol/signing/judge.ts";
import { inlineKey, readInlineKey, readPublicKeys } from "../../../protocol/signing/public-key.ts";
import { statementText } from "../../../protocol/signing/statement.ts";
import { newKey, pem, signed } from "../../signing/signed.ts";
import { mutateBytes } from "../engine/bytes.ts";
import { mutateTree } from "../engine/tree.ts";
import { must, shown, type Target } from "../target.ts";
import { mustBeDiagnostics, mustBeInnocent } from "./diagnostics.ts";

const now = Date.UTC(2026, 11, 1);
const words = [
  "signatures",
  "payload",
  "payloadType",
  "keyid",
  "sig",
  "_type",
  "predicateType",
  "predicate",
  "subject",
  "digest",
  "sha256",
  "notBefore",
  "expires",
  "nodes",
  "once",
  "signedAt",
  "id",
  "key",
  "ed25519:",
  "n*",
  "-----BEGIN PUBLIC KEY-----\n",
  signaturePredicate,
  "application/vnd.in-toto+json",
  "https://in-toto.io/Statement/v1",
];

const isKnown = (code: unknown): code is never =>
  isDagCode(code) || (typeof code === "string" && Object.hasOwn(signingCodes, code));

/** What an input is, by its first byte. */
const kinds = { artifact: "A", statement: "S", envelope: "E", key: "K" } as const;

export async function open(): Promise<Target> {
  const dag = await decodeDag({ dag: "a", tasks: { x: { command: ["b"] } } });
  if (!dag.ok) throw new Error(shown(dag.diagnostics));
  const [key, stranger] = [newKey(), newKey()];
  const trusted = new Map([[key.id, key]]);
  const plain = { artifact: 1, dag: dag.value, files: [] } as const;
  const digest = artifactDigest({ ...plain, files: [] });
  const conditions = { notBefore: now - 1000, expires: now + 1000, nodes: ["n*"] };
  const artifact = signed({ ...plain, files: [] }, key, conditions, now);
  const both = signed(artifact, stranger, {}, now);
  const circumstances = { trusted, node: "n1", now };
  const [envelope] = artifact.signatures ?? [];
  if (envelope === undefined) throw new Error("nothing was signed");
  const statement = statementText(signaturePredicate, [{ name: "a", digest: { sha256: digest } }], {
    id: "00000000-0000-4000-8000-000000000000",
    key: key.id,
    signedAt: now,
    ...conditions,
  });

  const judgeArtifact = async (text: string): Promise<void> => {
    const loaded = await loadArtifact(text);
    if (!loaded.ok) return mustBeDiagnostics(loaded.diagnostics, isKnown);
    const about = artifactDigest(loaded.value);
    const judged = judgeSignatures(
      { signatures: loaded.value.signatures, digest: about },
      circumstances,
    );
    if (!judged.ok) return mustBeDiagnostics(judged.diagnostics, isKnown);
    must(about === digest, `another artifact is taken for the signed one: ${shown(text)}`);
    must(judged.signature.key === key.id, "a key that is not trusted is taken for one that is");
    must(canonicalJson(judged.envelope) === canonicalJson(envelope), "another envelope is taken");
  };

  return {
    covers: /\/protocol\/(signing\/|pack)/,
    dictionary: words,
    maxBytes: 16 * 1024,
    seeds: () => [
      `A${canonicalJson(artifact)}`,
      `A${canonicalJson(both)}\n`,
      `A${canonicalJson(plain)}`,
      `S${statement}`,
      `E${canonicalJson(envelope)}`,
      `K${inlineKey(key)}`,
      `K${pem(key).public}${pem(stranger).public}`,
      `K${pem(key).private}`,
    ],
    mutate: (input, random, other) => {
      const rest = input.subarray(1);
      const donor = other.subarray(1);
      const made =
        (random.once(3) ? undefined : mutateTree(rest, random, donor, words)) ??
        mutateBytes(rest, random, donor, words);
      return Buffer.concat([input.subarray(0, 1), made]);
    },
    async run(input) {
      const kind = String.fromCharCode(input[0] ?? 0);
      const text = input.subarray(1).toString("utf8");
      if (kind === kinds.statement) {
        // Signed by a trusted key, so that what is inside is read.
        const made = seal(text, { id: key.id, key: key.privateKey });
        const opened = openSignature(made, trusted);
        if (opened.is === "bad") mustBeInnocent(opened.why);
        const judged = judgeSignatures({ signatures: [made], digest }, circumstances);
        if (!judged.ok) return mustBeDiagnostics(judged.diagnostics, isKnown);
        const { notBefore = 0, expires = Number.POSITIVE_INFINITY } = judged.signature;
        must(notBefore <= now + 86_400_000 && expires > now, "a time that is not now is taken");
      } else if (kind === kinds.envelope) {
        const value = parsed(text);
        const read = readEnvelope(value);
        if (typeof read === "string") mustBeInnocent(read);
        const opened = openSignature(value, trusted);
        must(
          opened.is === "bad" || canonicalJson(value as never) === canonicalJson(envelope),
          `an envelope that was changed is good: ${shown(text)}`,
        );
      } else if (kind === kinds.key) {
        for (const read of [readPublicKeys(text), readInlineKey(text)]) {
          if (typeof read === "string") mustBeInnocent(read);
        }
      } else {
        await judgeArtifact(text);
      }
    },
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
