// `edgedag pack`: writes the artifact of a document as canonical JSON.
import { writeFile } from "node:fs/promises";
import { artifactDigest, canonicalJson } from "../protocol/canonical.ts";
import { exitCodes } from "../protocol/exit-codes.ts";
import type { Io } from "./io.ts";
import { report } from "./load.ts";
import { packDag } from "./pack.ts";

/** EX_CANTCREAT: the output file cannot be written. */
const cannotCreate = 73;

/** `out` absent or `-`: to stdout. */
export async function pack(path: string, { out }: { out?: string }, io: Io): Promise<number> {
  const packed = await packDag(path);
  if (!packed.ok) return report(path, packed.diagnostics, io);
  const text = `${canonicalJson(packed.value)}\n`;
  if (out === undefined || out === "-") {
    io.stdout.write(text);
    return exitCodes.ok;
  }
  try {
    await writeFile(out, text);
  } catch (error) {
    io.stderr.write(
      `${out}: cannot be written: ${error instanceof Error ? error.message : error}\n`,
    );
    return cannotCreate;
  }
  const { files } = packed.value;
  io.stdout.write(`${out}: files ${files.length}, sha256 ${artifactDigest(packed.value)}\n`);
  return exitCodes.ok;
}
