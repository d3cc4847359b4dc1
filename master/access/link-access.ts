// Decides who may speak on the link, and for which node. In order: where client certificates are asked
// for, a valid one; then the name in the hello is proven by that certificate, by the node's own key, or,
// where the name is nobody's yet, by the shared token. A revoked node is refused whatever it shows.
import { randomBytes } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { TLSSocket } from "node:tls";
import type { AgentToMaster } from "../../protocol/link.ts";
import { channelBytes, channelLabel, keyHeader, keyPattern } from "../../protocol/node-proof.ts";
import type { Clock } from "../clock.ts";
import type { Hello } from "../nodes/nodes.ts";
import { type Certificate, certificateOf } from "./client-certificate.ts";
import type { FailedAttempts } from "./failed-attempts.ts";
import { bearerOf } from "./identity.ts";
import { type NodeKeys, revokedVerdict } from "./node-keys.ts";
import { digestOf, isSameDigest } from "./secret-digest.ts";

export type Proof = AgentToMaster & { type: "proof" };

export interface LinkAccessOptions {
  keys: NodeKeys;
  clock: Clock;
  /** The shared token. */
  token?: string;
  /** Nodes are let in without any secret: there is no token, and only this machine is served. */
  isOpen: boolean;
  /** The shared token is no identity of a node. */
  needsIdentity: boolean;
  /** Every connection must show a certificate of the authority for clients. */
  needsCertificate: boolean;
  failures?: FailedAttempts;
  /** The node in this process, which comes by the master's own socket. */
  localNode?: string;
}

/** What a connection has shown before its hello. */
export interface Visitor {
  address: string;
  isLocal: boolean;
  hasToken: boolean;
  certificate: Certificate;
  /** Keying material of its TLS channel; absent: there is none here. */
  channel?: string;
}

export interface Refusal {
  detail: string;
  remedy?: string;
}
/** `nextKey`: the node's next key, which is known from now on. */
export type Admission = { kind: "in"; nextKey?: string } | ({ kind: "refused" } & Refusal);
export type HelloAdmission = Admission | { kind: "prove"; nonce: string; channel: "tls" | "plain" };

const tokenRemedy = "Give the agent the master's token (EDGEDAG_TOKEN or EDGEDAG_TOKEN_FILE).";
const certificateRemedy =
  "Give the agent a certificate of the fleet's authority (EDGEDAG_NODE_CERT and EDGEDAG_NODE_KEY).";

export class LinkAccess {
  readonly #options: LinkAccessOptions;
  readonly #digest: Buffer | undefined;

  constructor(options: LinkAccessOptions) {
    this.#options = options;
    this.#digest = options.token === undefined ? undefined : digestOf(options.token);
  }

  /** Before anything is read from the connection. */
  atUpgrade(request: IncomingMessage, isLocal: boolean): { visitor: Visitor } | Refusal {
    const { needsCertificate } = this.#options;
    const address = request.socket.remoteAddress ?? "";
    const secure = request.socket instanceof TLSSocket ? request.socket : undefined;
    const certificate: Certificate =
      secure === undefined ? { kind: "none" } : certificateOf(secure);
    const channel = secure?.exportKeyingMaterial(channelBytes, channelLabel, Buffer.alloc(0));
    const visitor: Visitor = {
      address,
      isLocal,
      hasToken: false,
      certificate,
      ...(channel === undefined ? {} : { channel: channel.toString("base64url") }),
    };
    if (isLocal) return { visitor };
    if (needsCertificate && certificate.kind !== "valid") {
      return certificate.kind === "none"
        ? { detail: "the master asks for a client certificate", remedy: certificateRemedy }
        : { detail: `the client certificate ${certificate.why}`, remedy: certificateRemedy };
    }
    const header = request.headers[keyHeader];
    const hasOther = certificate.kind === "valid" || keyPattern.test(String(header));
    const token = this.#token(bearerOf(request.headers.authorization), address);
    if (token === "right") return { visitor: { ...visitor, hasToken: true } };
    // A key or a certificate may still prove the name; a wrong token beside it does no harm.
    return hasOther ? { visitor } : token;
  }

  async atHello(visitor: Visitor, hello: Hello): Promise<HelloAdmission> {
    const { localNode } = this.#options;
    const { node } = hello;
    if (visitor.isLocal) {
      return node === localNode
        ? { kind: "in" }
        : { kind: "refused", detail: `the master's own socket is not for node ${node}` };
    }
    const isNamed = isNameOf(visitor.certificate, node);
    if (isNamed && !this.isRevoked(node)) return { kind: "in" };
    if (hello.identity !== undefined) {
      // Judged with the proof, also whether it was revoked: a token may let it in again.
      const channel = visitor.channel === undefined ? "plain" : "tls";
      return { kind: "prove", nonce: randomBytes(32).toString("base64url"), channel };
    }
    if (isNamed) return this.#unlessRevoked(node);
    return this.#byToken(visitor, node);
  }

  async #byToken(visitor: Visitor, node: string): Promise<Admission> {
    const { keys, needsIdentity } = this.#options;
    if (!visitor.hasToken || needsIdentity) return this.#unnamed(visitor, node);
    if (keys.revokedAt(node) === undefined && (await keys.isEnrolled(node))) {
      return {
        kind: "refused",
        detail: `node ${node} has a key of its own: the shared token does not speak for it`,
        remedy: `Start the agent with the EDGEDAG_STATE that holds the key, or let it in anew (edgedag nodes enroll ${node}).`,
      };
    }
    return this.#unlessRevoked(node);
  }

  async atProof(visitor: Visitor, hello: Hello, nonce: string, proof: Proof): Promise<Admission> {
    const { keys, clock, failures } = this.#options;
    const { node, boot, identity } = hello;
    if (identity === undefined) return { kind: "refused", detail: "nothing was to be proven" };
    const now = clock();
    if (proof.token !== undefined && (failures?.blockedMs(visitor.address, now) ?? 0) > 0) {
      return tooMany;
    }
    const { channel } = visitor;
    const next =
      identity.next === undefined || proof.nextSignature === undefined
        ? undefined
        : { key: identity.next, signature: proof.nextSignature };
    const verdict = await keys.judge(node, {
      key: identity.key,
      signature: proof.signature,
      ...(next === undefined ? {} : { next }),
      ...(proof.token === undefined ? {} : { token: proof.token }),
      parts: { node, boot, nonce, ...(channel === undefined ? {} : { channel }) },
    });
    if (verdict.ok) {
      const { nextKey } = verdict;
      return { kind: "in", ...(nextKey === undefined ? {} : { nextKey }) };
    }
    // A token speaks for names that are nobody's, whatever key is shown beside it.
    const byToken = await this.#byToken(visitor, node);
    if (byToken.kind === "in") return byToken;
    if (proof.token !== undefined) failures?.failed(visitor.address, digestOf(proof.token), now);
    const { detail, remedy } = verdict;
    return { kind: "refused", detail, remedy };
  }

  /** Looked at once more when a connection is taken in: a revocation may have come meanwhile. */
  isRevoked(node: string): boolean {
    return this.#options.keys.revokedAt(node) !== undefined;
  }

  #unlessRevoked(node: string): Admission {
    if (!this.isRevoked(node)) return { kind: "in" };
    const { detail, remedy } = revokedVerdict(node);
    return { kind: "refused", detail, remedy };
  }

  #unnamed({ certificate }: Visitor, node: string): Admission & { kind: "refused" } {
    if (certificate.kind === "valid") {
      const names = certificate.names.join(", ") || "nobody";
      return {
        kind: "refused",
        detail: `the client certificate is that of ${names}, not of node ${node}`,
        remedy: "Start the agent with the EDGEDAG_NODE that its certificate names.",
      };
    }
    return {
      kind: "refused",
      detail: `the master lets nodes in by their own identity; ${node} has shown none`,
      remedy: `Make a token at the master (edgedag nodes enroll ${node}) and start the agent with it in EDGEDAG_ENROLL_TOKEN.`,
    };
  }

  #token(shown: string | undefined, address: string): "right" | Refusal {
    const { isOpen, failures, clock } = this.#options;
    if (isOpen) return "right";
    if (shown === undefined) return { detail: "the token is missing", remedy: tokenRemedy };
    const now = clock();
    if ((failures?.blockedMs(address, now) ?? 0) > 0) return tooMany;
    const digest = digestOf(shown);
    if (this.#digest !== undefined && isSameDigest(this.#digest, digest)) return "right";
    failures?.failed(address, digest, now);
    return { detail: "the token is wrong", remedy: tokenRemedy };
  }
}

const tooMany: Admission & { kind: "refused" } = {
  kind: "refused",
  detail: "too many wrong secrets came from this address",
  remedy: "Wait, or give EDGEDAG_AUTH_LIMIT of the master another value.",
};

function isNameOf(certificate: Certificate, node: string): boolean {
  return certificate.kind === "valid" && certificate.names.includes(node);
}
