// Reads and writes files of keys. A private key is never printed, and no file is ever overwritten.
import { createPrivateKey } from "node:crypto";
import {
  closeSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import type { Diagnostic, Result } from "../../protocol/diagnostic.ts";
import type { SigningKey } from "../../protocol/signing/artifact-signature.ts";
import { signingProblem } from "../../protocol/signing/codes.ts";
import {
  inlinePrefix,
  type PublicKey,
  publicKeyOf,
  readInlineKey,
  readPublicKeys,
  type TrustedKeys,
} from "../../protocol/signing/public-key.ts";

/**
 * `spec`: paths of files and folders, and inline keys (`ed25519:BASE64`), separated by commas; or PEM
 * text. Of a folder all `*.pub`. Fails with E_SIGNATURE_KEYS, also when there is no key at all.
 */
export function readTrustedKeys(spec: string, path = "EDGEDAG_TRUSTED_KEYS"): Result<TrustedKeys> {
  const keys = new Map<string, PublicKey>();
  const diagnostics: Diagnostic[] = [];
  const wrong = (what: string, why: string) => {
    diagnostics.push(signingProblem("E_SIGNATURE_KEYS", `${what}: ${why}`, keysRemedy, path));
  };
  const take = (what: string, read: PublicKey[] | PublicKey | string) => {
    if (typeof read === "string") wrong(what, read);
    else for (const key of [read].flat()) keys.set(key.id, key);
  };
  const isPem = spec.includes("-----BEGIN ");
  for (const part of isPem ? [spec] : spec.split(",").map((text) => text.trim())) {
    if (part === "") continue;
    if (isPem) take("the PEM text", readPublicKeys(part));
    else if (part.startsWith(inlinePrefix)) take(`the key ${part}`, readInlineKey(part));
    else {
      for (const file of filesOf(part, wrong)) take(file, readFileKeys(file));
    }
  }
  if (keys.size === 0 && diagnostics.length === 0) wrong("no key", "there is none to be found");
  return diagnostics.length > 0 ? { ok: false, diagnostics } : { ok: true, value: keys };
}

const keysRemedy =
  "Name files or folders of public keys (NAME.pub of `edgedag keygen`), or inline keys ed25519:BASE64.";

function filesOf(path: string, wrong: (what: string, why: string) => void): string[] {
  try {
    if (!statSync(path).isDirectory()) return [path];
    const names = readdirSync(path).filter((name) => name.endsWith(".pub"));
    if (names.length === 0) wrong(path, "the folder has no file *.pub");
    return names.sort().map((name) => join(path, name));
  } catch (error) {
    wrong(path, reason(error));
    return [];
  }
}

function readFileKeys(path: string): PublicKey[] | string {
  try {
    return readPublicKeys(readFileSync(path, "utf8"));
  } catch (error) {
    return reason(error);
  }
}

/** An unencrypted PKCS#8 or OpenSSL PEM of an Ed25519 key. Fails with E_KEY_FILE. */
export function readSigningKey(path: string): Result<SigningKey> {
  const remedy = "Name the private key NAME.key of `edgedag keygen`.";
  try {
    const privateKey = createPrivateKey(readFileSync(path));
    const key = publicKeyOf(privateKey);
    if (typeof key !== "string") return { ok: true, value: { ...key, privateKey } };
    return problem(path, key, remedy);
  } catch (error) {
    return problem(path, reason(error), remedy);
  }
}

/** Fails with E_KEY_FILE when there is such a file already. */
export function writeNewFile(path: string, text: string, mode: number): Result<null> {
  try {
    const fd = openSync(path, "wx", mode);
    try {
      writeSync(fd, text);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    return { ok: true, value: null };
  } catch (error) {
    return problem(path, reason(error), "Choose another name: keys are never overwritten.");
  }
}

function problem(
  path: string,
  why: string,
  remedy: string,
): { ok: false; diagnostics: Diagnostic[] } {
  return {
    ok: false,
    diagnostics: [signingProblem("E_KEY_FILE", `the key file: ${why}`, remedy, path)],
  };
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
