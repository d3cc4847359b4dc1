// The secrets of this node: where they are, and reading them. Files are read again for every run, so
// that a secret that was changed (rotated) counts from the next run on. Keeps no value.
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  openSync,
  readdirSync,
  readSync,
  realpathSync,
  statSync,
} from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import { type SecretUse, secretPattern } from "../../protocol/dag.ts";
import { leastSecretBytes } from "./patterns.ts";

export interface NodeSecretsOptions {
  /** Folders with one file a secret; the first that has it wins. */
  folders: readonly string[];
  /** What follows EDGEDAG_SECRET_ in the name of a variable, and its value. */
  variables: { readonly [name: string]: string };
  /** Files of the agent's own settings are no secrets for tasks, also in the same folder. */
  hostEnv: Readonly<Record<string, string | undefined>>;
}

/** Why a secret cannot be given. */
export interface SecretProblem {
  code: "E_SECRET_MISSING" | "E_SECRET_VALUE";
  /** Goes on after "the secret `x`". */
  message: string;
  remedy: string;
}

const longestBytes = 64 * 1024;
const fileEnding = "_FILE";

export class NodeSecrets {
  readonly #options: NodeSecretsOptions;

  constructor(options: NodeSecretsOptions) {
    this.#options = options;
  }

  /** The bytes as they are. */
  read(name: string): Buffer | SecretProblem {
    const { variables } = this.#options;
    if (!secretPattern.test(name)) return missing();
    const value = name.endsWith(fileEnding) ? undefined : ownValue(variables, name);
    const file = ownValue(variables, `${name}${fileEnding}`);
    if (value !== undefined && file !== undefined) {
      return unusable(
        `is set by EDGEDAG_SECRET_${name} and by EDGEDAG_SECRET_${name}_FILE`,
        "Keep one of them; the file is the safer one.",
      );
    }
    if (value !== undefined) return checked(Buffer.from(value));
    if (file !== undefined) return this.#file(file) ?? missing();
    for (const folder of this.#options.folders) {
      const found = this.#file(join(folder, name));
      if (found !== undefined) return found;
    }
    return missing();
  }

  /** Folders that are configured and not there; a mount may still come. */
  missingFolders(): string[] {
    return this.#options.folders.filter(
      (folder) => statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true,
    );
  }

  /** Files of secrets that every user of the machine may read: those of sandboxes are users too. */
  openFiles(): string[] {
    const found: string[] = [];
    for (const folder of this.#options.folders) {
      if (!existsSync(folder) || !isOpen(folder, 0o001)) continue;
      for (const name of namesIn(folder)) {
        const path = join(folder, name);
        if (secretPattern.test(name) && isOpen(path, 0o004)) found.push(path);
      }
    }
    return found;
  }

  /** Undefined when nothing is there. */
  #file(path: string): Buffer | SecretProblem | undefined {
    let fd: number | undefined;
    try {
      // Links are followed: Kubernetes mounts secrets as links. A pipe must not be waited for.
      fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
      const stat = fstatSync(fd);
      if (this.#isOwn(stat)) return undefined;
      if (!stat.isFile()) return unusable("is not a regular file", "Put a file in its place.");
      if (stat.size > longestBytes) return tooLong();
      const bytes = Buffer.alloc(longestBytes + 1);
      let length = 0;
      for (let read = -1; read !== 0 && length < bytes.length; length += read) {
        read = readSync(fd, bytes, length, bytes.length - length, null);
      }
      return checked(bytes.subarray(0, length));
    } catch (error) {
      const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
      if (code === "ENOENT" || code === "ENOTDIR") return undefined;
      return unusable(`cannot be read (${code})`, "Let the agent's user read the file.");
    } finally {
      if (fd !== undefined) closeSync(fd);
    }
  }

  /** The agent's token, key or the like: every variable of ours that names this file. */
  #isOwn(found: { dev: number; ino: number }): boolean {
    for (const [name, value] of Object.entries(this.#options.hostEnv)) {
      if (!name.startsWith("EDGEDAG_") || name.startsWith("EDGEDAG_SECRET")) continue;
      if (value === undefined || !isAbsolute(value)) continue;
      try {
        const own = statSync(value, { throwIfNoEntry: false });
        if (own?.dev === found.dev && own.ino === found.ino) return true;
      } catch {
        // Not a path that we can look at, so not the file that was just opened either.
      }
    }
    return false;
  }
}

/** The value of a variable, without the newline that editors and `echo` put at the end. */
export function textOf(bytes: Buffer): string | undefined {
  const text = withoutNewline(bytes).toString("utf8");
  if (text.includes("\0") || !Buffer.from(text).equals(withoutNewline(bytes))) return undefined;
  return text;
}

export function withoutNewline(bytes: Buffer): Buffer {
  let end = bytes.length;
  if (bytes[end - 1] === 10) end -= 1;
  if (end < bytes.length && bytes[end - 1] === 13) end -= 1;
  return bytes.subarray(0, end);
}

export function isProblem(read: Buffer | SecretProblem): read is SecretProblem {
  return !Buffer.isBuffer(read);
}

/** What is wrong with giving these bytes in this way. */
export function useProblem(bytes: Buffer, use: SecretUse): SecretProblem | undefined {
  if (use.isFile === true || textOf(bytes) !== undefined) return undefined;
  return unusable("is no text, and a variable can hold nothing else", "Ask for it as a file.");
}

function checked(bytes: Buffer): Buffer | SecretProblem {
  if (bytes.length > longestBytes) return tooLong();
  if (bytes.toString("latin1").trim().length >= leastSecretBytes) return bytes;
  return unusable(
    `has fewer than ${leastSecretBytes} characters: it would stand everywhere, and cannot be masked`,
    "Use a longer secret.",
  );
}

/** None where we may not look: then a secret there cannot be read either, which is told when one is. */
function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** Others have this right, and may pass through every folder above. */
function isOpen(path: string, right: number): boolean {
  let stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined || (stat.mode & right) === 0) return false;
  for (let at = dirname(realpathSync(path)); ; at = dirname(at)) {
    stat = statSync(at, { throwIfNoEntry: false });
    if (stat === undefined || (stat.mode & 0o001) === 0) return false;
    if (at === dirname(at)) return true;
  }
}

function ownValue(values: { readonly [name: string]: string }, name: string): string | undefined {
  return Object.hasOwn(values, name) ? values[name] : undefined;
}

function tooLong(): SecretProblem {
  return unusable(`has more than ${longestBytes} bytes`, "Give tasks a key to it instead.");
}

function missing(): SecretProblem {
  return {
    code: "E_SECRET_MISSING",
    message: "is not on this node",
    remedy: "Put a file of this name into EDGEDAG_SECRETS_DIR of the node, or take it out.",
  };
}

function unusable(message: string, remedy: string): SecretProblem {
  return { code: "E_SECRET_VALUE", message, remedy };
}
