// Reads what commands are given by path: a document, which is packed, or an artifact.
import { open, readFile } from "node:fs/promises";
import type { DagArtifact } from "../protocol/artifact.ts";
import { type Diagnostic, formatDiagnostic, type Result } from "../protocol/diagnostic.ts";
import { loadArtifact } from "../protocol/pack.ts";
import { exitCodes, type Io } from "./io.ts";
import { packDag } from "./pack.ts";

/** Artifacts are canonical JSON, so they begin with their own field. */
const artifactStart = /^\uFEFF?\s*\{\s*"artifact"/;

export async function loadPath(path: string): Promise<Result<DagArtifact>> {
  if (!(await isArtifact(path))) return packDag(path);
  return loadArtifact(await readFile(path, "utf8"));
}

async function isArtifact(path: string): Promise<boolean> {
  try {
    await using file = await open(path);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(256), 0, 256, 0);
    return artifactStart.test(buffer.toString("utf8", 0, bytesRead));
  } catch {
    // `packDag` reports a file that cannot be read.
    return false;
  }
}

/** Prints the diagnostics of one path and gives the exit code. */
export function report(path: string, diagnostics: readonly Diagnostic[], io: Io): number {
  for (const diagnostic of diagnostics)
    io.stderr.write(`${path}: ${formatDiagnostic(diagnostic)}\n`);
  return exitCodeOf(diagnostics);
}

export function exitCodeOf(diagnostics: readonly Diagnostic[]): number {
  const isMissing = diagnostics.some(({ code, path }) => code === "E_DAG_FILE" && path === "");
  return isMissing ? exitCodes.noInput : exitCodes.dataErr;
}
