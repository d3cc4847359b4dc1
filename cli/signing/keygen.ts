// `edgedag keygen -o NAME`: an Ed25519 key pair, NAME.key for who signs and NAME.pub for the nodes.
import { generateKeyPairSync } from "node:crypto";
import { existsSync } from "node:fs";
import { writeNewFile } from "../../agent/signing/key-files.ts";
import { exitCodes } from "../../protocol/exit-codes.ts";
import { signingProblem } from "../../protocol/signing/codes.ts";
import { inlineKey, publicKeyOf } from "../../protocol/signing/public-key.ts";
import type { Io } from "../io.ts";
import { printDiagnostics } from "../print.ts";

/** EX_CANTCREAT. */
const cannotCreate = 73;

export function keygen({ out, json }: { out: string; json?: boolean }, io: Io): number {
  const { privateKey } = generateKeyPairSync("ed25519");
  const publicKey = publicKeyOf(privateKey);
  if (typeof publicKey === "string") throw new Error(`a new key is not good: ${publicKey}`);
  const files = { key: `${out}.key`, pub: `${out}.pub` };
  // Looked at together first: no half a pair is left behind.
  const there = Object.values(files).find((path) => existsSync(path));
  if (there !== undefined) {
    const remedy = "Choose another name: keys are never overwritten.";
    printDiagnostics(io, [signingProblem("E_KEY_FILE", "there is such a file", remedy, there)]);
    return cannotCreate;
  }
  const secret = privateKey.export({ format: "pem", type: "pkcs8" }).toString();
  const open = publicKey.key.export({ format: "pem", type: "spki" }).toString();
  for (const [path, text, mode] of [
    [files.key, secret, 0o600],
    [files.pub, open, 0o644],
  ] as const) {
    const written = writeNewFile(path, text, mode);
    if (!written.ok) {
      printDiagnostics(io, written.diagnostics);
      return cannotCreate;
    }
  }
  const { id } = publicKey;
  const inline = inlineKey(publicKey);
  io.stdout.write(
    json === true
      ? `${JSON.stringify({ id, inline, private: files.key, public: files.pub })}\n`
      : `key ${id}\n  private ${files.key}: for who signs, never for nodes\n  public  ${files.pub}, or inline ${inline}: for EDGEDAG_TRUSTED_KEYS\n`,
  );
  return exitCodes.ok;
}
