// Keys and signed artifacts for tests of signatures.
import { generateKeyPairSync } from "node:crypto";
import type { DagArtifact } from "../../protocol/artifact.ts";
import { artifactDigest } from "../../protocol/canonical.ts";
import {
  type Conditions,
  type SigningKey,
  signArtifact,
} from "../../protocol/signing/artifact-signature.ts";
import { inlineKey, publicKeyOf } from "../../protocol/signing/public-key.ts";

export function newKey(): SigningKey {
  const { privateKey } = generateKeyPairSync("ed25519");
  const key = publicKeyOf(privateKey);
  if (typeof key === "string") throw new Error(key);
  return { ...key, privateKey };
}

export function inlineOf(...keys: SigningKey[]): string {
  return keys.map(inlineKey).join(",");
}

export function signed(
  artifact: DagArtifact,
  key: SigningKey,
  conditions: Conditions = {},
  signedAt = Date.now(),
): DagArtifact {
  const about = { digest: artifactDigest(artifact), dag: artifact.dag.attributes.dag };
  const { envelope } = signArtifact(about, conditions, key, signedAt);
  return { ...artifact, signatures: [...(artifact.signatures ?? []), envelope] };
}

export function pem(key: SigningKey): { private: string; public: string } {
  return {
    private: key.privateKey.export({ format: "pem", type: "pkcs8" }).toString(),
    public: key.key.export({ format: "pem", type: "spki" }).toString(),
  };
}
