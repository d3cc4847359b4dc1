// Who asks: the holder of the master's token, the holder of an API key, or anybody where neither is
// configured. Compares without telling by time how much of a secret was right.
import { createHash, timingSafeEqual } from "node:crypto";

export interface ApiKey {
  /** Shown in lists, logs and metrics; fairness and rate limits are between names. */
  name: string;
  key: string;
}

export interface Identity {
  /** Name of the API key; "" for the master's token, and where there are no secrets. */
  owner: string;
  /** May do everything, not only send snippets and ask for its own. */
  isAdmin: boolean;
}

export interface Secrets {
  token?: string;
  apiKeys: readonly ApiKey[];
  /** Everybody may send snippets, whoever else may do more. */
  isOpen?: boolean;
}

type Headers = { readonly [name: string]: string | string[] | undefined };

/** Undefined: nobody that is known. */
export function identityCheck(secrets: Secrets): (headers: Headers) => Identity | undefined {
  const { token, apiKeys, isOpen = false } = secrets;
  if (token === undefined && apiKeys.length === 0) {
    return () => ({ owner: "", isAdmin: !isOpen });
  }
  const known = apiKeys.map(({ name, key }) => ({
    digest: digest(key),
    identity: { owner: name, isAdmin: false },
  }));
  if (token !== undefined) {
    known.push({ digest: digest(token), identity: { owner: "", isAdmin: true } });
  }
  return (headers) => {
    const given = secretOf(headers);
    if (given !== undefined) {
      const shown = digest(given);
      let found: Identity | undefined;
      // All of them: which one it was must not show in the time.
      for (const entry of known) {
        if (timingSafeEqual(entry.digest, shown)) found = entry.identity;
      }
      if (found !== undefined) return found;
    }
    return isOpen && given === undefined ? { owner: "", isAdmin: false } : undefined;
  };
}

/** `Authorization: Bearer`, or one of the headers that other services of this kind use. */
function secretOf(headers: Headers): string | undefined {
  const bearer = /^Bearer +(.+)$/i.exec(textOf(headers.authorization))?.[1]?.trim();
  if (bearer !== undefined) return bearer;
  const plain = textOf(headers["x-api-key"]) || textOf(headers["x-sandbox-token"]);
  return plain === "" ? undefined : plain.trim();
}

function textOf(value: string | string[] | undefined): string {
  return (Array.isArray(value) ? value[0] : value) ?? "";
}

/** Digests are of one length, which the comparison needs. */
function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
