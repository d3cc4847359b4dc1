// Reads what commands are given by path: a document, which is packed, or an artifact.
import { open, readFile } from "node:fs/promises";
import type { DagArtifact } from "../protocol/artifact.ts";
import { type Diagnostic, formatDiagnostic, type Result } from "../protocol/diagnostic.ts";
import { exitCodes } from "../protocol/exit-codes.ts";
import { isArtifact, loadArtifact } from "../protocol/pack.ts";
import type { Io } from "./io.ts";
import { packDag } from "./pack.ts";

export async function loadPath(path: string): Promise<Result<DagArtifact>> {
  if (!(await startsAsArtifact(path))) return packDag(path);
  return loadArtifact(await readFile(path, "utf8"));
}

async function startsAsArtifact(path: string): Promise<boolean> {
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
