// Who asks at the HTTP API: the holder of the master's token, the holder of an API key, or anybody
// where neither is configured. Keeps digests, never secrets, and compares without telling by time how
// much of one was right.
import type { Role } from "./roles.ts";
import { digestOf, isSameDigest } from "./secret-digest.ts";

export interface ApiKey {
  /** Shown in lists, logs and metrics; fairness and rate limits are between names. */
  name: string;
  /** The key itself, or `sha256:` and the hex digest of it. */
  key: string;
  /** Absent: snippets. */
  role?: Role;
}

export interface Identity {
  /** Name of the API key; "" for the master's token, and where there are no secrets. */
  owner: string;
  role: Role;
  /** May do everything, not only ask for its own. */
  isAdmin: boolean;
}

export interface Secrets {
  token?: string;
  apiKeys: readonly ApiKey[];
  /** Everybody may send snippets, whoever else may do more. */
  isOpen?: boolean;
}

export type Headers = { readonly [name: string]: string | string[] | undefined };

/** Undefined: nobody that is known. */
export function identityCheck(secrets: Secrets): (headers: Headers) => Identity | undefined {
  const { token, apiKeys, isOpen = false } = secrets;
  if (token === undefined && apiKeys.length === 0) {
    const anybody = identityOf("", isOpen ? "snippets" : "admin");
    return () => anybody;
  }
  const known = apiKeys.map(({ name, key, role = "snippets" }) => ({
    digest: keptDigest(key),
    identity: identityOf(name, role),
  }));
  if (token !== undefined) {
    known.push({ digest: digestOf(token), identity: identityOf("", "admin") });
  }
  const stranger = identityOf("", "snippets");
  return (headers) => {
    const given = secretOf(headers);
    if (given === undefined) return isOpen ? stranger : undefined;
    const shown = digestOf(given);
    let found: Identity | undefined;
    // All of them: which one it was must not show in the time.
    for (const entry of known) {
      if (isSameDigest(entry.digest, shown)) found = entry.identity;
    }
    return found;
  };
}

function identityOf(owner: string, role: Role): Identity {
  return { owner, role, isAdmin: role === "admin" };
}

const digestForm = /^sha256:([0-9a-f]{64})$/;

function keptDigest(key: string): Buffer {
  const hex = digestForm.exec(key)?.[1];
  return hex === undefined ? digestOf(key) : Buffer.from(hex, "hex");
}

/** `Authorization: Bearer`, or one of the headers that other services of this kind use. */
export function secretOf(headers: Headers): string | undefined {
  const bearer = bearerOf(textOf(headers.authorization));
  if (bearer !== undefined) return bearer;
  const plain = textOf(headers["x-api-key"]) || textOf(headers["x-sandbox-token"]);
  return plain === "" ? undefined : plain.trim();
}

export function bearerOf(header: string | undefined): string | undefined {
  return /^Bearer +(.+)$/i.exec(header ?? "")?.[1]?.trim();
}

function textOf(value: string | string[] | undefined): string {
  return (Array.isArray(value) ? value[0] : value) ?? "";
}
