// The artifacts that the agent has accepted: kept by digest, so that a run can go on after a
// restart without the place it came from.
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import type { DagArtifact } from "../protocol/artifact.ts";
import { artifactDigest, sha256Hex, unsignedText } from "../protocol/canonical.ts";

function pathOf(stateDir: string, digest: string): string {
  return join(stateDir, "artifacts", `${digest}.json`);
}

/** Writes the artifact and returns its digest. Throws what the file system throws. */
export function keepArtifact(
  stateDir: string,
  artifact: DagArtifact,
  { sync }: { sync: boolean },
): string {
  // Signatures belong to the run that they let in: they are in the journal.
  const text = unsignedText(artifact);
  const digest = sha256Hex(text);
  const path = pathOf(stateDir, digest);
  if (isThere(path, text)) return digest;
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  // Renamed into place: a crash leaves no half an artifact under a good name.
  writeFileSync(`${path}.new`, text, { mode: 0o600, flush: sync });
  renameSync(`${path}.new`, path);
  if (sync) for (const folder of [dirname(path), stateDir]) syncNames(folder);
  return digest;
}

/** What lies there may have been damaged since. */
function isThere(path: string, text: string): boolean {
  try {
    return readFileSync(path, "utf8") === text;
  } catch {
    return false; // not there, or not to be read: written again
  }
}

function syncNames(folder: string): void {
  const fd = openSync(folder, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Removes the artifacts that no run needs any more. Throws what the file system throws. */
export function removeArtifacts(stateDir: string, wanted: ReadonlySet<string>): void {
  const folder = join(stateDir, "artifacts");
  if (!existsSync(folder)) return;
  for (const name of readdirSync(folder)) {
    const [digest = ""] = name.split(".");
    if (!wanted.has(digest)) rmSync(join(folder, name), { force: true });
  }
}

/** An artifact that `keepArtifact` wrote. Throws when it is not there or was changed. */
export function readKeptArtifact(stateDir: string, digest: string): DagArtifact {
  const text = readFileSync(pathOf(stateDir, digest), "utf8");
  const artifact = JSON.parse(text) as DagArtifact; // the digest says that it is what was kept
  if (artifactDigest(artifact) !== digest) {
    throw new Error(`the artifact ${digest} was changed on disk`);
  }
  return artifact;
}
