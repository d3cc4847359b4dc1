// Reads what commands are given by path: a document, which is packed, or an artifact.
import { isUtf8 } from "node:buffer";
import { open, readFile } from "node:fs/promises";
import type { DagArtifact } from "../protocol/artifact.ts";
import { type Diagnostic, formatDiagnostic, type Result } from "../protocol/diagnostic.ts";
import { exitCodes } from "../protocol/exit-codes.ts";
import { refuse } from "../protocol/findings.ts";
import { isArtifact, loadArtifact } from "../protocol/pack.ts";
import type { Io } from "./io.ts";
import { packDag } from "./pack.ts";

export async function loadPath(path: string): Promise<Result<DagArtifact>> {
  if (!(await isArtifactFile(path))) return packDag(path);
  return loadBytes(await readFile(path));
}

/** An artifact as it lies on a disk. */
export async function loadBytes(bytes: Buffer): Promise<Result<DagArtifact>> {
  // Bytes that are no UTF-8 must not turn into characters that a signature is good for.
  if (!isUtf8(bytes)) {
    return refuse("E_DAG_ARTIFACT", "", "The file is not UTF-8 text.", "Copy the file again.");
  }
  return loadArtifact(bytes.toString("utf8"));
}

/** As opposed to a document, which would have to be packed. */
export async function isArtifactFile(path: string): Promise<boolean> {
  try {
    await using file = await open(path);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(256), 0, 256, 0);
    return isArtifact(buffer.toString("utf8", 0, bytesRead));
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
  return isMissing ? exitCodes.noInput : exitCodes.badDocument;
}
