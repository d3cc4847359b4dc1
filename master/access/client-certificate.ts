// What a client's certificate says: whose it is, or in words what is wrong with it.
import type { TLSSocket } from "node:tls";

export type Certificate =
  | { kind: "none" }
  /** Of the authority that the master trusts, and valid now. */
  | { kind: "valid"; names: readonly string[] }
  | { kind: "invalid"; why: string };

export function certificateOf(socket: TLSSocket): Certificate {
  const shown = socket.getPeerCertificate();
  // What Node.js gives where there is none is an empty object, whatever its types say.
  if (Object.keys(shown).length === 0) return { kind: "none" };
  if (!socket.authorized) return { kind: "invalid", why: whyNot(socket.authorizationError) };
  const { CN: common } = shown.subject;
  const names = Array.isArray(common) ? common : common === undefined ? [] : [common];
  return { kind: "valid", names: [...names, ...alternativeNames(shown.subjectaltname)] };
}

/** `DNS:a, URI:b`: only plain ones; Node.js quotes those that would break the list. */
function alternativeNames(text: string | undefined): string[] {
  return (text ?? "")
    .split(", ")
    .flatMap((entry) => /^(?:DNS|URI):([^"]+)$/.exec(entry)?.[1] ?? []);
}

const sentences: { readonly [code: string]: string } = {
  CERT_HAS_EXPIRED: "has expired",
  CERT_NOT_YET_VALID: "is not valid yet by the master's clock",
  DEPTH_ZERO_SELF_SIGNED_CERT: "is self-signed",
  SELF_SIGNED_CERT_IN_CHAIN: "is of an authority that the master does not know",
  UNABLE_TO_GET_ISSUER_CERT: "is of an authority that the master does not know",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "is of an authority that the master does not know",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "is of an authority that the master does not know",
  CERT_SIGNATURE_FAILURE: "has a signature that is wrong",
  CERT_REVOKED: "was revoked",
  INVALID_PURPOSE: "is not made for clients (extendedKeyUsage)",
};

function whyNot(error: unknown): string {
  // A string, or an error with the code: the types and the releases of Node.js differ.
  const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
  return `${sentences[code] ?? "cannot be verified"} (${code})`;
}
