// What a node signs to show who it is, and how its key and the master's challenge are written. The
// text names everything that must not be exchanged between the signing and the looking: the node,
// its process, the master's nonce, and the TLS channel it came through. No clock takes part. Pure.

/** Label of the TLS exporter (RFC 5705) that binds a proof to its channel. */
export const channelLabel = "EXPORTER-edgedag-link-1";
export const channelBytes = 32;

/** A raw Ed25519 public key, and the nonce: 32 bytes as base64url. */
export const keyPattern = /^[A-Za-z0-9_-]{43}$/;
/** An Ed25519 signature: 64 bytes as base64url. */
export const signaturePattern = /^[A-Za-z0-9_-]{86}$/;
/** Header of the upgrade with which a node says that it will show a key. */
export const keyHeader = "edgedag-key";

export interface ProofParts {
  /** The key signs for itself, or is to take the place of the one that signs beside it. */
  purpose: "key" | "next";
  node: string;
  boot: string;
  key: string;
  nonce: string;
  /** Keying material of the TLS channel as base64url; absent: the master has no TLS of its own. */
  channel?: string;
}

export function proofText({ purpose, node, boot, key, nonce, channel }: ProofParts): string {
  // As JSON: where one part ends and the next begins cannot be moved.
  return JSON.stringify(["edgedag-link-proof-1", purpose, node, boot, key, nonce, channel ?? null]);
}
