// The secrets of one run: read once, given to the tasks that name them, and taken out of everything
// that tasks hand on. The only place that keeps values; they are in no spec longer than an attempt.
import { closeSync, constants, existsSync, openSync, rmSync, statfsSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { DagDocument, TaskAttributes } from "../../protocol/dag.ts";
import type { Diagnostic } from "../../protocol/diagnostic.ts";
import { pathText } from "../../protocol/findings.ts";
import { secretSet } from "../../protocol/secret-set.ts";
import { Mask } from "./mask.ts";
import {
  isProblem,
  type NodeSecrets,
  type SecretProblem,
  textOf,
  useProblem,
  withoutNewline,
} from "./node-secrets.ts";

/** What a task is given. */
export interface GivenSecrets {
  env: { [variable: string]: string };
  files: { variable: string; content: Buffer }[];
}

/** What the node's secrets have against the document; nothing is kept. */
export function checkSecrets(document: DagDocument, node: NodeSecrets): Diagnostic[] {
  const found: Diagnostic[] = [];
  const known = new Map<string, Buffer | SecretProblem>();
  for (const { key, attributes } of document.nodes) {
    for (const [variable, use] of Object.entries(attributes.secrets ?? {})) {
      let read = known.get(use.secret);
      if (read === undefined) {
        read = node.read(use.secret);
        known.set(use.secret, read);
      }
      const problem = isProblem(read)
        ? read
        : (useProblem(read, use) ?? placeProblem(attributes, use.isFile === true));
      if (problem === undefined) continue;
      found.push({
        code: problem.code,
        path: pathText(["tasks", key, "secrets", variable]),
        message: `The secret \`${use.secret}\` of task \`${key}\` ${problem.message}.`,
        remedy: problem.remedy,
      });
    }
  }
  return found;
}

export class RunSecrets {
  readonly mask: Mask;
  readonly #values: ReadonlyMap<string, Buffer | SecretProblem>;

  /** Undefined for a run that names none: it then pays for none of this. */
  static open(document: DagDocument, node: NodeSecrets): RunSecrets | undefined {
    const values = new Map<string, Buffer | SecretProblem>();
    for (const { attributes } of document.nodes) {
      for (const { secret } of Object.values(attributes.secrets ?? {})) {
        if (!values.has(secret)) values.set(secret, node.read(secret));
      }
    }
    return values.size === 0 ? undefined : new RunSecrets(values);
  }

  private constructor(values: ReadonlyMap<string, Buffer | SecretProblem>) {
    this.#values = values;
    const known = [...values.values()].flatMap((value) => (isProblem(value) ? [] : [value]));
    this.mask = new Mask(known.map(withoutNewline));
  }

  /** Undefined: the task names none. A text: why it cannot be given what it names. */
  of(task: TaskAttributes): GivenSecrets | string | undefined {
    if (secretSet(task) === undefined) return undefined;
    const given: GivenSecrets = { env: {}, files: [] };
    for (const [variable, use] of Object.entries(task.secrets ?? {})) {
      const value = this.#values.get(use.secret);
      // It was there when the run was taken in: changed since, with a restart between.
      if (value === undefined) return `the secret \`${use.secret}\` was not read`;
      const problem = isProblem(value) ? value : useProblem(value, use);
      if (problem !== undefined) return `the secret \`${use.secret}\` ${problem.message}`;
      if (isProblem(value)) continue;
      if (use.isFile === true) given.files.push({ variable, content: value });
      else given.env[variable] = textOf(value) ?? "";
    }
    return given;
  }

  close(): void {
    this.mask.close();
  }
}

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = constants;
/** How files of secrets end, by which those of a killed agent are found. */
export const secretFileEnding = ".secret";

/**
 * Writes the files of an attempt at level none; `env` gets their paths. `remove` takes them away.
 * The folder is of the agent's user alone. A text: why there can be none.
 */
export function writeSecretFiles(
  { env, files }: GivenSecrets,
  folder: string,
  attemptKey: string,
): { env: { [variable: string]: string }; remove(): void } | string {
  if (files.length > 0 && !isInMemory(folder)) {
    return `a secret cannot be a file: ${folder} lies on a disk; ask for a variable`;
  }
  const all = { ...env };
  const paths: string[] = [];
  const remove = () => {
    for (const path of paths) rmSync(path, { force: true });
  };
  for (const { variable, content } of files) {
    const path = join(folder, `${attemptKey}.${variable}${secretFileEnding}`);
    paths.push(path);
    all[variable] = path;
    try {
      rmSync(path, { force: true });
      writeNew(path, content);
    } catch (error) {
      remove();
      throw error;
    }
  }
  return { env: all, remove };
}

const memoryFileSystems: ReadonlySet<number> = new Set([0x0102_1994, 0x8584_58f6]); // tmpfs, ramfs

export function isInMemory(folder: string): boolean {
  return memoryFileSystems.has(statfsSync(folder).type);
}

function writeNew(path: string, content: Buffer): void {
  const fd = openSync(path, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY, 0o600);
  try {
    for (let at = 0; at < content.length; ) at += writeSync(fd, content, at);
  } finally {
    closeSync(fd);
  }
}

/** Sandboxes have folders of their own, and see to that themselves. */
function placeProblem(
  { isolation, run }: TaskAttributes,
  isFile: boolean,
): SecretProblem | undefined {
  if (!isFile || isolation !== "none" || run.kind === "code" || existsSync("/dev/shm")) {
    return undefined;
  }
  return {
    code: "E_SECRET_VALUE",
    message: "cannot be a file: this node has no /dev/shm, and it would lie on the disk",
    remedy: "Ask for it as a variable, or mount a tmpfs on /dev/shm.",
  };
}
