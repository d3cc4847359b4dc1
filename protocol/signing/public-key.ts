// Ed25519 public keys: reading them, and their ids. The id of a key is the SHA-256 of its
// SubjectPublicKeyInfo (DER), which `openssl pkey -pubin -outform DER | sha256sum` gives as well.
// Keys with which anybody could sign (points of small order, and second spellings) are refused. No I/O.
import { createPublicKey, type KeyObject } from "node:crypto";
import { sha256Hex } from "../canonical.ts";
import { fromBase64 } from "./dsse.ts";

export interface PublicKey {
  id: string;
  key: KeyObject;
}

/** By id. */
export type TrustedKeys = ReadonlyMap<string, PublicKey>;

const pemBlock = /-----BEGIN ([A-Z0-9 ]+)-----[\s\S]*?-----END \1-----/g;

/** All keys of a PEM text; a text says what is wrong. */
export function readPublicKeys(pem: string): PublicKey[] | string {
  const blocks = [...pem.matchAll(pemBlock)];
  if (blocks.length === 0) return "it holds no PEM block";
  const keys: PublicKey[] = [];
  for (const [block, label] of blocks) {
    // Node.js would take the public half of a private key in silence.
    if (label?.endsWith("PRIVATE KEY")) {
      return "it holds a private key, which belongs to the signer alone";
    }
    if (label !== "PUBLIC KEY") return `it holds a ${label}, not a public key`;
    let key: KeyObject;
    try {
      key = createPublicKey(block);
    } catch (error) {
      return `it cannot be read: ${error instanceof Error ? error.message : error}`;
    }
    const checked = checkKey(key);
    if (typeof checked === "string") return checked;
    keys.push(checked);
  }
  return keys;
}

/** `ed25519:` and the 32 bytes of the key in base64. */
export function readInlineKey(text: string): PublicKey | string {
  const raw = text.startsWith(inlinePrefix)
    ? fromBase64(text.slice(inlinePrefix.length))
    : undefined;
  if (raw?.length !== 32) return "it is not ed25519: and the base64 of 32 bytes";
  try {
    return checkKey(
      createPublicKey({ key: Buffer.concat([spkiHead, raw]), format: "der", type: "spki" }),
    );
  } catch (error) {
    return `it cannot be read: ${error instanceof Error ? error.message : error}`;
  }
}
export const inlinePrefix = "ed25519:";

export function inlineKey({ key }: Pick<PublicKey, "key">): string {
  return `${inlinePrefix}${rawKey(key).toString("base64")}`;
}

export function publicKeyOf(privateKey: KeyObject): PublicKey | string {
  return checkKey(createPublicKey(privateKey));
}

function checkKey(key: KeyObject): PublicKey | string {
  if (key.asymmetricKeyType !== "ed25519") {
    return `it is a key of type ${key.asymmetricKeyType}, not ed25519`;
  }
  if (isWeak(rawKey(key))) return "it is a weak key, with which anybody can sign";
  return { id: sha256Hex(key.export({ format: "der", type: "spki" })), key };
}

const spkiHead = Buffer.from("302a300506032b6570032100", "hex");

function rawKey(key: KeyObject): Buffer {
  return key.export({ format: "der", type: "spki" }).subarray(spkiHead.length);
}

const prime = 2n ** 255n - 19n;
/** The y coordinates of the eight points of small order. */
const smallOrder: ReadonlySet<bigint> = new Set([
  0n,
  1n,
  prime - 1n,
  littleEndian(
    Buffer.from("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", "hex"),
  ),
  littleEndian(
    Buffer.from("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", "hex"),
  ),
]);

function isWeak(raw: Buffer): boolean {
  // The highest bit is the sign of x.
  const y = littleEndian(raw) & (2n ** 255n - 1n);
  return y >= prime || smallOrder.has(y);
}

function littleEndian(bytes: Buffer): bigint {
  return BigInt(`0x${Buffer.from(bytes).reverse().toString("hex")}`);
}
