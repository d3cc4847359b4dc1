// Why a connection to the master did not come about, in words for the person who has to put it right.
// The code of Node.js or OpenSSL stays in the sentence, for those who search for it. Pure.

import { frameLimitBytes } from "../../protocol/link-decode.ts";

const certificates: { readonly [code: string]: string } = {
  CERT_HAS_EXPIRED:
    "the master's certificate has expired by this machine's clock; renew it, or set the clock",
  CERT_NOT_YET_VALID:
    "the master's certificate is not valid yet by this machine's clock; set the clock",
  DEPTH_ZERO_SELF_SIGNED_CERT:
    "the master's certificate is self-signed; name it, or its authority, in EDGEDAG_MASTER_CA",
  SELF_SIGNED_CERT_IN_CHAIN:
    "the master's certificate is of an authority (self-signed) that is not trusted here; name the authority in EDGEDAG_MASTER_CA",
  UNABLE_TO_GET_ISSUER_CERT:
    "the master's certificate is of an authority that is not trusted here; name it in EDGEDAG_MASTER_CA",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    "the master's certificate is of an authority that is not trusted here; name it in EDGEDAG_MASTER_CA",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    "the master's certificate is of an authority that is not trusted here; name it in EDGEDAG_MASTER_CA",
  CERT_SIGNATURE_FAILURE:
    "the master's certificate was not signed by the authority in EDGEDAG_MASTER_CA, though the names are the same",
  CERT_REVOKED: "the master's certificate was revoked",
  INVALID_PURPOSE: "the master's certificate is not made for servers (extendedKeyUsage)",
  ERR_TLS_CERT_ALTNAME_INVALID:
    "the master's certificate is for other names than the one in EDGEDAG_MASTER",
};

export function troubleOf(error: unknown, url: string): string {
  if (!(error instanceof Error)) return String(error);
  const code = "code" in error ? String(error.code) : "";
  const said = error.message.trim();
  const certificate = certificates[code];
  if (certificate !== undefined) return `${certificate} (${code}: ${said})`;
  if (code === "EPROTO" && said.includes("wrong version number")) {
    return "the address does not speak TLS: use http:// in EDGEDAG_MASTER, or give the master a certificate (EPROTO: wrong version number)";
  }
  if (code.includes("_ALERT_")) {
    const reason = code
      .replace(/^ERR_SSL_.*_ALERT_/, "")
      .replaceAll("_", " ")
      .toLowerCase();
    return `the other side ended the TLS handshake (${reason}); it may want a certificate of this node (EDGEDAG_NODE_CERT) or another version of TLS (${code})`;
  }
  if (code === "ERR_OSSL_X509_KEY_VALUES_MISMATCH") {
    return `EDGEDAG_NODE_KEY is not the key of EDGEDAG_NODE_CERT (${code})`;
  }
  if (code.startsWith("ERR_OSSL")) {
    return `a file of EDGEDAG_MASTER_CA, EDGEDAG_NODE_CERT or EDGEDAG_NODE_KEY is no PEM (${code}: ${said})`;
  }
  if (code === "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH") {
    return `the master sent a frame that is larger than ${frameLimitBytes} bytes (${code})`;
  }
  if (code === "ECONNRESET" && url.startsWith("ws:")) {
    return `${said}; if the master has TLS, use https:// in EDGEDAG_MASTER`;
  }
  return said === "" ? code : said;
}
