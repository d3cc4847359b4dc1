// Copies out what a task left, by pattern. The tree is a stranger's: it is walked by descriptors of
// its folders, no link is ever followed, only regular files with one name are opened, and count,
// size, depth and time are bounded. Called when everything in the box is dead; holds also if not.
import { constants } from "node:fs";
import { type FileHandle, lstat, mkdir, open, opendir, rm } from "node:fs/promises";
import { join } from "node:path";
import { artifactPathProblem } from "../../../../protocol/safe-path.ts";
import type { KeptOutput, OutputRules, SandboxOutputs } from "../sandbox-spec.ts";
import { matchesPath, mayMatchBelow, type OutputPattern, parsePattern } from "./output-pattern.ts";

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK, O_DIRECTORY, O_NOCTTY, O_CREAT, O_EXCL, O_WRONLY } =
  constants;
/** Names that are looked at, whether they are meant or not. */
const maxVisited = 200_000;
const maxDepth = 64;
/** Refusals that are told one by one. */
const maxRefused = 100;
const pieceBytes = 2 ** 20;

interface Search {
  patterns: readonly OutputPattern[];
  found: string[][];
  visited: number;
  refuse(path: string, why: string): void;
}

/** `keepIn` is made when there is something to keep. */
export async function keepOutputs(
  work: string,
  rules: OutputRules,
  keepIn: string,
): Promise<SandboxOutputs> {
  const outputs: SandboxOutputs = { artifacts: [], refused: [] };
  if (rules.patterns.length === 0) return outputs;
  let refused = 0;
  const refuse = (path: string, why: string): void => {
    refused += 1;
    if (refused <= maxRefused) outputs.refused.push({ path, why });
  };
  try {
    await using root = await open(work, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    const { dev } = await root.stat();
    const patterns = rules.patterns.map(parsePattern);
    const search: Search = { patterns, found: [], visited: 0, refuse };
    await walk(root, [], search);
    // Which ones fit must not depend on the order in which a file system lists them.
    const paths = search.found.map((path) => path.join("/")).sort();
    if (paths.length > 0) await mkdir(keepIn, { recursive: true, mode: 0o700 });
    let leftBytes = rules.maxBytes;
    for (const path of paths) {
      if (outputs.artifacts.length >= rules.maxCount) {
        refuse(path, `there are more than ${rules.maxCount} outputs`);
        continue;
      }
      const keptAt = join(keepIn, `artifact-${outputs.artifacts.length}`);
      const kept = await keepOne(root, path, { keptAt, leftBytes, dev });
      if (typeof kept === "string") {
        refuse(path, kept);
        continue;
      }
      leftBytes -= kept.sizeBytes;
      outputs.artifacts.push(kept);
    }
  } catch (error) {
    refuse("", `the outputs could not be collected: ${reasonOf(error)}`);
  }
  if (refused > maxRefused) {
    outputs.refused.push({ path: "", why: `${refused - maxRefused} further ones` });
  }
  return outputs;
}

async function walk(folder: FileHandle, path: readonly string[], search: Search): Promise<void> {
  const names: string[] = [];
  const shown = path.join("/");
  // Names as bytes: one that is no UTF-8 would come back as another.
  const entries = await opendir(`/proc/self/fd/${folder.fd}`, {
    encoding: "buffer" as BufferEncoding, // Node.js takes it; its types do not say so
    bufferSize: 512,
  });
  for await (const entry of entries) {
    search.visited += 1;
    if (search.visited > maxVisited) {
      search.refuse(shown, `there are more than ${maxVisited} files; the rest was not looked at`);
      break;
    }
    const bytes = entry.name as unknown as Buffer; // as asked for by `encoding`
    const name = bytes.toString("utf8");
    const here = [...path, name];
    const isMeant = search.patterns.some((pattern) => matchesPath(pattern, here));
    const isOpen = search.patterns.some((pattern) => mayMatchBelow(pattern, here));
    if (!isMeant && !isOpen) continue;
    const problem = nameProblem(bytes, name, here);
    if (problem !== undefined) search.refuse(here.join("/"), problem);
    else if (entry.isDirectory()) names.push(name);
    else if (isMeant) search.found.push(here);
  }
  for (const name of names.sort()) {
    if (search.visited > maxVisited) return;
    const here = [...path, name];
    if (here.length > maxDepth) {
      search.refuse(here.join("/"), `it lies more than ${maxDepth} folders deep`);
      continue;
    }
    try {
      await using below = await openFolder(folder, name);
      await walk(below, here, search);
    } catch (error) {
      search.refuse(here.join("/"), `the folder cannot be read: ${reasonOf(error)}`);
    }
  }
}

function nameProblem(bytes: Buffer, name: string, path: readonly string[]): string | undefined {
  if (!Buffer.from(name).equals(bytes)) return "its name is not UTF-8";
  return artifactPathProblem(path.join("/"));
}

function openFolder(folder: FileHandle, name: string): Promise<FileHandle> {
  return open(below(folder, name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK);
}

/** The kept file, or why it was not kept. */
async function keepOne(
  root: FileHandle,
  path: string,
  limits: { keptAt: string; leftBytes: number; dev: number },
): Promise<KeptOutput | string> {
  const parts = path.split("/");
  const opened: FileHandle[] = [];
  try {
    let folder = root;
    for (const part of parts.slice(0, -1)) {
      folder = await openFolder(folder, part);
      opened.push(folder);
    }
    const source = below(folder, parts.at(-1) ?? "");
    // Looked at before it is opened: opening a device may do something.
    const seen = await lstat(source);
    const kind = kindProblem(seen);
    if (kind !== undefined) return kind;
    const file = await open(source, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    opened.push(file);
    const stat = await file.stat();
    if (stat.dev !== seen.dev || stat.ino !== seen.ino) return "it was replaced meanwhile";
    if (stat.dev !== limits.dev) return "it lies on another file system";
    const problem = kindProblem(stat);
    if (problem !== undefined) return problem;
    if (stat.size > limits.leftBytes) {
      return `it has ${stat.size} bytes, and ${limits.leftBytes} are left of what may be kept`;
    }
    return { path, keptAt: limits.keptAt, sizeBytes: await copy(file, stat.size, limits.keptAt) };
  } catch (error) {
    return `it cannot be read: ${reasonOf(error)}`;
  } finally {
    for (const handle of opened) await handle.close();
  }
}

function kindProblem(stat: Awaited<ReturnType<typeof lstat>>): string | undefined {
  if (stat.isSymbolicLink()) return "it is a symbolic link";
  if (!stat.isFile()) return "it is not a regular file";
  return Number(stat.nlink) > 1 ? "it has other names (hard links)" : undefined;
}

/** No more than `sizeBytes`, also if it grows. */
async function copy(file: FileHandle, sizeBytes: number, keptAt: string): Promise<number> {
  try {
    await using target = await open(keptAt, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
    const piece = Buffer.allocUnsafe(Math.min(pieceBytes, Math.max(1, sizeBytes)));
    let at = 0;
    while (at < sizeBytes) {
      const { bytesRead } = await file.read(piece, 0, Math.min(piece.length, sizeBytes - at), at);
      if (bytesRead === 0) break;
      let written = 0;
      while (written < bytesRead) {
        written += (await target.write(piece, written, bytesRead - written)).bytesWritten;
      }
      at += bytesRead;
    }
    return at;
  } catch (error) {
    await rm(keptAt, { force: true });
    throw error;
  }
}

function below(folder: FileHandle, name: string): string {
  return `/proc/self/fd/${folder.fd}/${name}`;
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = "code" in error ? String(error.code) : error.message;
  return code === "ELOOP" || code === "ENOTDIR" ? `${code}: a link stands in its place` : code;
}
