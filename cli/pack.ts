// Makes one artifact of a DAG document and every file that its tasks need. Reads only below the
// document's folder: links that lead out of it are refused.
import { isUtf8 } from "node:buffer";
import { glob, lstat, readFile, realpath, stat } from "node:fs/promises";
import { basename, dirname, isAbsolute, relative, resolve, sep } from "node:path";
import { type ArtifactFile, artifactVersion, type DagArtifact } from "../protocol/artifact.ts";
import { sha256Hex } from "../protocol/canonical.ts";
import type { DagDocument, TaskRun } from "../protocol/dag.ts";
import type { Result } from "../protocol/diagnostic.ts";
import { Findings, refuse } from "../protocol/findings.ts";
import { parseDagText } from "../protocol/load-dag.ts";
import { maxArtifactBytes, plainPath } from "../protocol/pack.ts";
import { pathProblem } from "../protocol/safe-path.ts";

/** `E_DAG_FILE` with an empty path: the document itself cannot be read. */
export async function packDag(documentPath: string): Promise<Result<DagArtifact>> {
  let text: string;
  try {
    text = await readFile(documentPath, "utf8");
  } catch (error) {
    const message = `The document ${JSON.stringify(documentPath)} cannot be read: ${reasonOf(error)}.`;
    return refuse("E_DAG_FILE", "", message, "Give the path of a file that exists.");
  }
  const parsed = await parseDagText(text, { path: documentPath });
  if (!parsed.ok) return parsed;
  const collector = new Collector(await realpath(dirname(documentPath)));
  await collector.collect(parsed.value, basename(documentPath));
  const files = [...collector.files.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
  return collector.findings.result({ artifact: artifactVersion, dag: parsed.value, files });
}

class Collector {
  readonly findings = new Findings();
  readonly files = new Map<string, ArtifactFile>();
  readonly #folder: string;
  readonly #asked = new Set<string>();
  #bytes = 0;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async collect({ nodes, attributes }: DagDocument, document: string): Promise<void> {
    for (const { key, attributes } of nodes) {
      const { run } = attributes;
      if ("file" in run && run.file !== undefined) await this.#add(run.file, `tasks.${key}`, true);
      for (const word of wordsOf(run)) {
        if (pathProblem(word) === undefined) await this.#add(word, `tasks.${key}`, false);
      }
    }
    for (const [i, pattern] of (attributes.files ?? []).entries()) {
      let count = 0;
      for await (const path of glob(pattern, { cwd: this.#folder })) {
        if (path === document) continue;
        count++;
        await this.#add(path, `files[${i}]`, false);
      }
      if (count === 0) {
        const message = `No file matches ${JSON.stringify(pattern)}.`;
        this.findings.add("E_DAG_FILE", `files[${i}]`, message, "Correct or remove the pattern.");
      }
    }
  }

  /** Adds a regular file. What does not exist is a finding only where a file is meant. */
  async #add(name: string, where: string, isNeeded: boolean): Promise<void> {
    const path = plainPath(name);
    if (path === "" || (this.#asked.has(path) && !isNeeded)) return;
    this.#asked.add(path);
    const absolute = resolve(this.#folder, path);
    try {
      const real = await realpath(absolute);
      const below = relative(this.#folder, real);
      if (below === ".." || below.startsWith(`..${sep}`) || isAbsolute(below)) {
        const message = `The file ${JSON.stringify(path)} leads out of the document's folder.`;
        this.findings.add("E_DAG_FILE", where, message, "Copy it into the folder.");
        return;
      }
      const found = await stat(real);
      if (!found.isFile()) {
        if (!isNeeded) return;
        const message = `${JSON.stringify(path)} is not a regular file.`;
        this.findings.add("E_DAG_FILE", where, message, "Name a file.");
        return;
      }
      if (this.files.has(path)) return;
      this.#bytes += found.size;
      if (this.#bytes > maxArtifactBytes) {
        const message = `The files have more than ${maxArtifactBytes} bytes.`;
        this.findings.add("E_DAG_LIMIT", "files", message, "Fetch large data in a task instead.");
        return;
      }
      this.files.set(path, toArtifactFile(path, await readFile(real), found.mode));
    } catch (error) {
      // A word that names no file is just a word; a link that leads nowhere is not.
      if (!isNeeded && !(await isLink(absolute))) return;
      const message = `The file ${JSON.stringify(path)} cannot be read: ${reasonOf(error)}.`;
      const remedy = `Paths are relative to the document's folder, ${this.#folder}.`;
      this.findings.add("E_DAG_FILE", where, message, remedy);
    }
  }
}

function toArtifactFile(path: string, bytes: Buffer, mode: number): ArtifactFile {
  const bit = (mode & 0o111) === 0 ? {} : ({ executable: true } as const);
  const content = isUtf8(bytes)
    ? { text: bytes.toString("utf8") }
    : { base64: bytes.toString("base64") };
  return { path, ...bit, sha256: sha256Hex(bytes), ...content };
}

/** Words that may name files. A script is only split: a wrong guess adds a file that exists. */
function wordsOf(run: TaskRun): string[] {
  if (run.kind === "command") return run.argv;
  if (run.kind === "code") return run.args;
  if (run.kind !== "shell") return [];
  return run.script.split(/[\s;&|()<>"'`]+/).filter((word) => word !== "" && word.length < 4096);
}

async function isLink(path: string): Promise<boolean> {
  try {
    return (await lstat(path)).isSymbolicLink();
  } catch {
    // Nothing is there.
    return false;
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return "code" in error ? String(error.code) : error.message;
}
