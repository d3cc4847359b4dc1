// What the master keeps of the identities of nodes. `sqlite/identity-storage.ts` implements it; as with
// `MasterStorage`, an implementation owns atomicity and decides nothing.

export interface NodeKey {
  /** The raw Ed25519 public key as base64url. */
  key: string;
  node: string;
  /** next: announced by the valid key of the node, and not used yet. revoked: never again. */
  state: "valid" | "next" | "revoked";
  createdAt: number;
}

export interface EnrollToken {
  id: string;
  /** SHA-256 of the token; the token itself is kept nowhere. */
  digest: Uint8Array;
  node: string;
  createdAt: number;
  expiresAt: number;
  usedAt?: number;
}

export interface IdentityStorage {
  key(key: string): Promise<NodeKey | undefined>;
  keysOf(node: string): Promise<NodeKey[]>;
  /** Forgets tokens that have expired before `forgetBefore`. */
  addToken(token: EnrollToken, forgetBefore: number): Promise<void>;
  token(id: string): Promise<EnrollToken | undefined>;
  /**
   * Spends the token and makes the key the only valid one of the node, which is not revoked any more.
   * False, and nothing is changed, when the token is spent or gone, or the key is known.
   */
  enroll(token: string, key: NodeKey, now: number): Promise<boolean>;
  /** In place of one that was announced before. False when the key is known as something else. */
  announce(key: NodeKey): Promise<boolean>;
  /** A key that was announced was used: the others of its node are forgotten. */
  promote(key: NodeKey): Promise<void>;
  /** Its keys are revoked and its tokens are gone. */
  revoke(node: string, now: number): Promise<void>;
  revokedNodes(): Promise<{ node: string; revokedAt: number }[]>;
}
