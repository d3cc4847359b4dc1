// The node's own key: made on the node, kept in its state folder, shown to nobody but as signatures.
// Owns the file; the link thread is its only writer. At most three keys: the one that is used; the next
// one, while the master does not know it yet; the one before, for a master that was restored from
// an older backup. A key is on the disk before it is shown.
import {
  createHash,
  createPrivateKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
} from "node:crypto";
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { keyPattern, type ProofParts, proofText } from "../../protocol/node-proof.ts";
import { identityPath } from "../../protocol/state-paths.ts";

interface KeptKey {
  key: string;
  /** PKCS #8, PEM. */
  secret: string;
  /** Unix milliseconds of this machine's clock, which may be wrong. */
  createdAt: number;
}

interface IdentityFile {
  version: 1;
  current: KeptKey;
  next?: KeptKey;
  previous?: KeptKey;
  /** The master has let the present key in. */
  isKnown: boolean;
  /** Digest of the one-time token that the key was made for. */
  token?: string;
}

export interface Shown {
  key: string;
  next?: string;
}

export interface IdentityOptions {
  stateDir: string;
  /** A one-time token; without one, and without a file, the node has no identity. */
  enrollToken?: string;
  /** Age at which a key is replaced; 0: never. */
  rotationMs: number;
  now: number;
}

export class Identity {
  readonly #path: string;
  readonly #rotationMs: number;
  readonly #enrollToken: string | undefined;
  #file: IdentityFile;
  #usesPrevious = false;
  /** The master has asked for a proof on this connection. */
  #isProven = false;

  private constructor(path: string, options: IdentityOptions, file: IdentityFile) {
    this.#path = path;
    this.#rotationMs = options.rotationMs;
    this.#enrollToken = options.enrollToken;
    this.#file = file;
  }

  /** Undefined: the node has none. Throws, with a sentence, when the file cannot be used. */
  static open(options: IdentityOptions): Identity | undefined {
    const path = identityPath(options.stateDir);
    const found = readIdentity(path);
    const { enrollToken, now } = options;
    const token = enrollToken === undefined ? undefined : digestOf(enrollToken);
    if (found !== undefined && (token === undefined || token === found.token)) {
      return new Identity(path, options, found);
    }
    if (token === undefined) return undefined;
    // Another token than the one before: somebody lets this node in anew. The key before stays for
    // the case that the token is worth nothing.
    const file: IdentityFile = {
      version: 1,
      current: newKey(now),
      isKnown: false,
      token,
      ...(found === undefined ? {} : { previous: found.current }),
    };
    writeIdentity(path, file);
    return new Identity(path, options, file);
  }

  /** What the hello says. */
  shown(): Shown {
    this.#isProven = false;
    const { next } = this.#file;
    const { key } = this.#used;
    return next === undefined || this.#usesPrevious ? { key } : { key, next: next.key };
  }

  prove(parts: Omit<ProofParts, "purpose" | "key">): {
    signature: string;
    nextSignature?: string;
    token?: string;
  } {
    this.#isProven = true;
    const used = this.#used;
    const { next, isKnown } = this.#file;
    const isNext = next !== undefined && !this.#usesPrevious;
    const needsToken = !isKnown && !this.#usesPrevious && this.#enrollToken !== undefined;
    return {
      signature: signed(used, { ...parts, purpose: "key", key: used.key }),
      ...(isNext
        ? { nextSignature: signed(next, { ...parts, purpose: "next", key: next.key }) }
        : {}),
      ...(needsToken ? { token: this.#enrollToken ?? "" } : {}),
    };
  }

  /** The master has let it in. True: connect again, to use the key that it knows now. */
  welcomed(nextKey: string | undefined): boolean {
    const { current, next, previous } = this.#file;
    if (this.#usesPrevious) {
      // The master knows only the key before: the present one is announced to it again.
      if (previous === undefined) return false;
      this.#usesPrevious = false;
      this.#save({ ...this.#file, current: previous, next: current, isKnown: true });
      return true;
    }
    const { next: _, ...rest } = this.#file;
    const isProven = this.#isProven;
    this.#isProven = false;
    if (next !== undefined && nextKey === next.key) {
      this.#save({ ...rest, current: next, previous: current, isKnown: true });
      return true;
    }
    if (next !== undefined && isProven) {
      // It was shown and not taken: another one is made when it is time.
      this.#save({ ...rest, isKnown: true });
      return false;
    }
    // Without a proof another thing has let the node in, and the key may still be unknown.
    if (isProven && !this.#file.isKnown) this.#save({ ...this.#file, isKnown: true });
    return false;
  }

  /** The master does not let it in. True: there is another key to be tried. */
  refused(): boolean {
    if (this.#usesPrevious) {
      this.#usesPrevious = false;
      return false;
    }
    this.#usesPrevious = this.#file.previous !== undefined;
    return this.#usesPrevious;
  }

  /** True: a new key was made, and is announced at the next hello. */
  rotate(now: number): boolean {
    const { current, next, isKnown } = this.#file;
    if (this.#rotationMs === 0 || !isKnown || next !== undefined) return false;
    // A clock that was put back does not make a key young for ever.
    if (Math.abs(now - current.createdAt) < this.#rotationMs) return false;
    this.#save({ ...this.#file, next: newKey(now) });
    return true;
  }

  get #used(): KeptKey {
    const { current, previous } = this.#file;
    return this.#usesPrevious && previous !== undefined ? previous : current;
  }

  #save(file: IdentityFile): void {
    writeIdentity(this.#path, file);
    this.#file = file;
  }
}

function newKey(now: number): KeptKey {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  return {
    key: String(publicKey.export({ format: "jwk" }).x),
    secret: String(privateKey.export({ format: "pem", type: "pkcs8" })),
    createdAt: now,
  };
}

function signed(key: KeptKey, parts: ProofParts): string {
  const secret: KeyObject = createPrivateKey(key.secret);
  return sign(null, Buffer.from(proofText(parts)), secret).toString("base64url");
}

function digestOf(token: string): string {
  return createHash("sha256").update(token).digest("hex");
}

function readIdentity(path: string): IdentityFile | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
  const broken = new Error(
    `${path} is damaged: remove it, and let the node in anew with a one-time token`,
  );
  try {
    const file: Partial<IdentityFile> | null = JSON.parse(text);
    const keys = [file?.current, file?.next, file?.previous].filter((key) => key !== undefined);
    if (file?.version !== 1 || file.current === undefined || !keys.every(isKept)) throw broken;
    return file as IdentityFile; // the keys were looked at; the rest is words and flags
  } catch {
    throw broken;
  }
}

function isKept(key: KeptKey): boolean {
  if (!keyPattern.test(key.key) || typeof key.createdAt !== "number") return false;
  return createPrivateKey(key.secret).asymmetricKeyType === "ed25519";
}

/** Whole or not at all, whatever is killed, and for nobody else to read. */
function writeIdentity(path: string, file: IdentityFile): void {
  const beside = `${path}.new`;
  const descriptor = openSync(beside, "w", 0o600);
  try {
    writeSync(descriptor, `${JSON.stringify(file)}\n`);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  renameSync(beside, path);
  const folder = openSync(dirname(path), "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
