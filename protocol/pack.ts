// Checks of a packed artifact: its DAG, its paths, its digests, and that every file that a task
// names is in it. No I/O: `cli/pack.ts` makes artifacts, `agent/unpack-artifact.ts` writes them.
import { type ArtifactFile, artifactVersion, type DagArtifact } from "./artifact.ts";
import { sha256Hex } from "./canonical.ts";
import { isMapping } from "./check-graph.ts";
import type { DagDocument } from "./dag.ts";
import type { Result } from "./diagnostic.ts";
import { Findings, pathText, refuse } from "./findings.ts";
import { decodeDag } from "./load-dag.ts";
import { artifactPathProblem } from "./safe-path.ts";

/** Most bytes of all files of an artifact together. */
export const maxArtifactBytes = 256 * 1024 * 1024;
const remedy = "Pack the DAG again with `edgedag pack`.";

/** Artifacts are canonical JSON, so they begin with their own field. */
export function isArtifact(text: string): boolean {
  return /^\uFEFF?\s*\{\s*"artifact"/.test(text);
}

/** `input` is the text of an artifact file, or its value. Digests are checked. */
export async function loadArtifact(input: unknown): Promise<Result<DagArtifact>> {
  const value = typeof input === "string" ? parse(input) : input;
  if (!isMapping(value) || value.artifact === undefined) {
    return refuse("E_DAG_ARTIFACT", "", "The file is not an artifact.", remedy);
  }
  const findings = new Findings();
  if (value.artifact !== artifactVersion) {
    const message = `The artifact has version ${JSON.stringify(value.artifact)?.slice(0, 80)}, not ${artifactVersion}.`;
    findings.add("E_DAG_VERSION", "artifact", message, remedy);
  }
  for (const name of Object.keys(value)) {
    if (["artifact", "dag", "files", "signatures"].includes(name)) continue;
    findings.add("E_DAG_FIELD", pathText([name]), "There is no such field in an artifact.", remedy);
  }
  const files = readFiles(value.files, findings);
  const dag = await decodeDag(value.dag);
  if (!dag.ok) {
    for (const { code, path, message, remedy } of dag.diagnostics) {
      const below = path === "" ? "dag" : `dag${path.startsWith("[") ? "" : "."}${path}`;
      // Codes of diagnostics that this folder made.
      findings.add(code as Parameters<Findings["add"]>[0], below, message, remedy);
    }
    return { ok: false, diagnostics: findings.diagnostics() };
  }
  checkFunctionFiles(dag.value, new Set(files.map(({ path }) => path)), findings);
  const artifact: DagArtifact = { artifact: artifactVersion, dag: dag.value, files };
  if (value.signatures === undefined || !findings.isEmpty) return findings.result(artifact);
  // Loaded for signed artifacts only.
  const { withSignatures } = await import("./signing/signed-artifact.ts");
  return withSignatures(artifact, value, typeof input === "string" ? input : undefined);
}

/** The bytes of a file of an artifact. */
export function fileBytes(file: ArtifactFile): Buffer {
  return file.base64 === undefined
    ? Buffer.from(file.text ?? "", "utf8")
    : Buffer.from(file.base64, "base64");
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Reported by the caller as not being an artifact.
    return undefined;
  }
}

function readFiles(value: unknown, findings: Findings): ArtifactFile[] {
  if (!Array.isArray(value)) {
    findings.add("E_DAG_ARTIFACT", "files", "`files` must be a list.", remedy);
    return [];
  }
  const files: ArtifactFile[] = [];
  const seen = new Set<string>();
  let totalBytes = 0;
  for (const [i, raw] of value.entries()) {
    const file = readFile(raw);
    const problem = typeof file === "string" ? file : fileProblem(file, seen);
    if (problem !== undefined || typeof file === "string") {
      const message = `The file ${problem}.`;
      findings.add("E_DAG_ARTIFACT", pathText(["files", i]), message, remedy);
      continue;
    }
    totalBytes += fileBytes(file).length;
    files.push(file);
  }
  if (totalBytes > maxArtifactBytes) {
    const message = `The files have ${totalBytes} bytes; at most ${maxArtifactBytes} are accepted.`;
    findings.add("E_DAG_LIMIT", "files", message, "Fetch large data in a task instead.");
  }
  return files;
}

function readFile(raw: unknown): ArtifactFile | string {
  if (!isMapping(raw)) return "is not a mapping";
  const { path, sha256, text, base64, executable } = raw;
  for (const name in raw) {
    if (!["path", "sha256", "text", "base64", "executable"].includes(name)) {
      return `has the unknown field ${JSON.stringify(name.slice(0, 80))}`;
    }
  }
  if (typeof path !== "string" || typeof sha256 !== "string") return "has no path or no digest";
  if (executable !== undefined && executable !== true) return "has a bad `executable`";
  const bit = executable === true ? ({ executable: true } as const) : {};
  if (typeof text === "string" && base64 === undefined) return { path, ...bit, sha256, text };
  if (typeof base64 === "string" && text === undefined) return { path, ...bit, sha256, base64 };
  return "must have either `text` or `base64`";
}

function fileProblem(file: ArtifactFile, seen: Set<string>): string | undefined {
  const shown = JSON.stringify(file.path.slice(0, 200));
  const problem = artifactPathProblem(file.path);
  if (problem !== undefined) return `${shown} must not be unpacked: ${problem}`;
  if (seen.has(file.path)) return `${shown} is there twice`;
  // A file must not also be a folder of another one.
  const parents = file.path.split("/").map((_, i, all) => all.slice(0, i).join("/"));
  const clash = parents.find((parent) => parent !== "" && seen.has(parent));
  if (clash !== undefined) return `${shown} is below ${JSON.stringify(clash)}, which is a file`;
  seen.add(file.path);
  const digest = sha256Hex(fileBytes(file));
  return digest === file.sha256 ? undefined : `${shown} is not what its digest says`;
}

/** Every `file` of a function task must be among `known`. */
function checkFunctionFiles(
  dag: DagDocument,
  known: ReadonlySet<string>,
  findings: Findings,
): void {
  for (const [i, { attributes }] of dag.nodes.entries()) {
    const { run } = attributes;
    if (!("file" in run) || run.file === undefined || known.has(plainPath(run.file))) continue;
    findings.add(
      "E_DAG_FILE",
      `dag.nodes[${i}].attributes.run.file`,
      `The file ${JSON.stringify(run.file)} is not in the artifact.`,
      remedy,
    );
  }
}

/** `./lib//a.py` to `lib/a.py`: the spelling that artifacts use. */
export function plainPath(path: string): string {
  return path
    .split("/")
    .filter((segment) => segment !== "" && segment !== ".")
    .join("/");
}
