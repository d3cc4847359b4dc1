// The packed artifact: one JSON file with the DAG and every file that it needs.
import type { DagDocument } from "./dag.ts";
import type { Envelope } from "./signing/dsse.ts";

export const artifactVersion = 1;

export interface ArtifactFile {
  /** Relative, with `/`, never `..`, never absolute. */
  path: string;
  /** Only the executable bit is kept. */
  executable?: true;
  sha256: string;
  /** UTF-8 text, or base64 when the file is not valid UTF-8. */
  text?: string;
  base64?: string;
}

export interface DagArtifact {
  artifact: typeof artifactVersion;
  dag: DagDocument;
  files: ArtifactFile[];
  /** Who signed all of the above; not part of the digest. */
  signatures?: Envelope[];
}
