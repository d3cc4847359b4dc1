// The identities of nodes: one-time tokens that let a node in, the keys that it shows from then on,
// their rotation and revocation. Knows which nodes are revoked at any moment; asks no socket and no
// clock of a device.
import { createPublicKey, type KeyObject, randomBytes, verify } from "node:crypto";
import { type ProofParts, proofText } from "../../protocol/node-proof.ts";
import type { Clock } from "../clock.ts";
import type { IdentityStorage, NodeKey } from "./identity-storage.ts";
import { digestOf, isSameDigest } from "./secret-digest.ts";

/** Tokens that have expired are known for so long, so that a late node is told what is wrong. */
const keepExpiredMs = 30 * 86_400_000;
const tokenForm = /^edt_([0-9a-f]{16})_[A-Za-z0-9_-]{43}$/;

/** `nextKey`: the next key that was shown is known from now on. */
export type Verdict =
  | { ok: true; nextKey?: string }
  | { ok: false; detail: string; remedy: string };

export interface Shown {
  key: string;
  signature: string;
  /** A key that is to take its place, and its own signature. */
  next?: { key: string; signature: string };
  /** A one-time token, in the clear. */
  token?: string;
  /** What both sign, beside key and purpose. */
  parts: Omit<ProofParts, "purpose" | "key">;
}

export class NodeKeys {
  readonly #storage: IdentityStorage;
  readonly #clock: Clock;
  readonly #revoked: Map<string, number>;
  #revocations = 0;

  private constructor(storage: IdentityStorage, clock: Clock, revoked: Map<string, number>) {
    this.#storage = storage;
    this.#clock = clock;
    this.#revoked = revoked;
  }

  static async load(storage: IdentityStorage, clock: Clock): Promise<NodeKeys> {
    const rows = await storage.revokedNodes();
    const revoked = new Map(rows.map(({ node, revokedAt }) => [node, revokedAt]));
    return new NodeKeys(storage, clock, revoked);
  }

  revokedAt(node: string): number | undefined {
    return this.#revoked.get(node);
  }

  keysOf(node: string): Promise<NodeKey[]> {
    return this.#storage.keysOf(node);
  }

  /** Whether the node's name is spoken for: then its key is asked for. */
  async isEnrolled(node: string): Promise<boolean> {
    return (await this.#storage.keysOf(node)).some(({ state }) => state !== "revoked");
  }

  /** The token is told once, here, and kept as a digest. */
  async makeToken(node: string, expiresMs: number): Promise<{ token: string; expiresAt: number }> {
    const now = this.#clock();
    const id = randomBytes(8).toString("hex");
    const token = `edt_${id}_${randomBytes(32).toString("base64url")}`;
    const expiresAt = now + expiresMs;
    await this.#storage.addToken(
      { id, digest: digestOf(token), node, createdAt: now, expiresAt },
      now - keepExpiredMs,
    );
    return { token, expiresAt };
  }

  async revoke(node: string): Promise<number> {
    const now = this.#revoked.get(node) ?? this.#clock();
    // In memory first: from now on nobody comes in, also while the disk is slow.
    this.#revoked.set(node, now);
    this.#revocations += 1;
    await this.#storage.revoke(node, now);
    return now;
  }

  /** Whether what was shown proves the node's name; enrols it, and takes its next key, on the way. */
  async judge(node: string, shown: Shown): Promise<Verdict> {
    if (!isSigned("key", shown.key, shown.signature, shown.parts)) {
      return refused(
        "the proof of the node's key is wrong",
        "Run agent and master of the same release; a proxy that ends TLS needs a master without TLS.",
      );
    }
    const known = await this.#storage.key(shown.key);
    const admitted =
      known === undefined ? await this.#enroll(node, shown) : this.#admit(node, known);
    if (!admitted.ok) return admitted;
    if (known?.state === "next") await this.#storage.promote(known);
    return shown.next === undefined ? admitted : this.#announce(node, shown.next, shown.parts);
  }

  #admit(node: string, known: NodeKey): Verdict {
    if (known.node !== node) {
      return refused(
        `this key is that of node ${known.node}, not of ${node}`,
        `Start the agent with EDGEDAG_NODE=${known.node}, or let ${node} in with a token of its own in an own EDGEDAG_STATE.`,
      );
    }
    if (known.state === "revoked" || this.#revoked.has(node)) return revokedVerdict(node);
    return { ok: true };
  }

  async #enroll(node: string, { key, token }: Shown): Promise<Verdict> {
    if (token === undefined) {
      return refused(`the master does not know the key of node ${node}`, howToEnroll(node));
    }
    const id = tokenForm.exec(token)?.[1];
    const kept = id === undefined ? undefined : await this.#storage.token(id);
    if (kept === undefined || !isSameDigest(kept.digest, digestOf(token))) {
      return refused("the master does not know this enrolment token", howToEnroll(node));
    }
    if (kept.node !== node) {
      return refused(`this enrolment token is not for node ${node}`, howToEnroll(node));
    }
    if (kept.usedAt !== undefined) {
      return refused("this enrolment token was used already", howToEnroll(node));
    }
    const now = this.#clock();
    if (now >= kept.expiresAt) {
      return refused("this enrolment token has expired", howToEnroll(node));
    }
    const revocations = this.#revocations;
    const isIn = await this.#storage.enroll(
      kept.id,
      { key, node, state: "valid", createdAt: now },
      now,
    );
    if (!isIn) return refused("this enrolment token was used already", howToEnroll(node));
    if (revocations !== this.#revocations) {
      // Somebody was revoked meanwhile: only the storage knows what came first.
      const rows = await this.#storage.revokedNodes();
      if (rows.some((row) => row.node === node)) return revokedVerdict(node);
    }
    this.#revoked.delete(node);
    return { ok: true };
  }

  async #announce(
    node: string,
    next: { key: string; signature: string },
    parts: Shown["parts"],
  ): Promise<Verdict> {
    const isTaken =
      isSigned("next", next.key, next.signature, parts) &&
      (await this.#storage.announce({
        key: next.key,
        node,
        state: "next",
        createdAt: this.#clock(),
      }));
    // The node is who it says all the same: it keeps its key, and makes another next one.
    return isTaken ? { ok: true, nextKey: next.key } : { ok: true };
  }
}

export function revokedVerdict(node: string): Verdict & { ok: false } {
  return refused(`node ${node} was revoked`, howToEnroll(node));
}

function howToEnroll(node: string): string {
  return `Make a token at the master (edgedag nodes enroll ${node}) and start the agent with it in EDGEDAG_ENROLL_TOKEN.`;
}

function refused(detail: string, remedy: string): Verdict & { ok: false } {
  return { ok: false, detail, remedy };
}

function isSigned(
  purpose: ProofParts["purpose"],
  key: string,
  signature: string,
  parts: Shown["parts"],
): boolean {
  const text = proofText({ ...parts, purpose, key });
  const publicKey = publicKeyOf(key);
  if (publicKey === undefined) return false;
  return verify(null, Buffer.from(text), publicKey, Buffer.from(signature, "base64url"));
}

function publicKeyOf(key: string): KeyObject | undefined {
  try {
    return createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: key }, format: "jwk" });
  } catch {
    // 32 bytes that are no point of the curve: nobody can sign for them.
    return undefined;
  }
}
