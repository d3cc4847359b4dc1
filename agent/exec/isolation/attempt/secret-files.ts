// Secrets that a task in a box is given as files: beside its working folder, for its user alone, in
// memory, and gone with the box.
import { statfs } from "node:fs/promises";
import type { Box, BoxFolder } from "../box.ts";
import { type InputProblem, writeIoFile } from "../files/input-files.ts";
import type { SandboxSpec } from "../sandbox-spec.ts";

/** Of a box. */
interface Places {
  folder: Pick<BoxFolder, "io" | "uid">;
  inside: Box["inside"];
}

type Given =
  | { env: Readonly<Record<string, string>> | undefined; problem?: undefined }
  | { problem: InputProblem };

const memoryFileSystems: ReadonlySet<number> = new Set([0x0102_1994, 0x8584_58f6]); // tmpfs, ramfs

/** What the task's environment gets: values, and the paths of the files, which are there by then. */
export async function giveSecrets(
  { folder, inside }: Places,
  { secrets }: Pick<SandboxSpec, "secrets">,
): Promise<Given> {
  if (secrets === undefined || secrets.files.length === 0) return { env: secrets?.env };
  const { type } = await statfs(folder.io);
  if (!memoryFileSystems.has(type)) {
    const why = `a secret cannot be a file: ${folder.io} lies on a disk`;
    const detail = `${why}; ask for a variable, or set EDGEDAG_RUNTIME to a folder in memory`;
    return { problem: { kind: "refused", detail } };
  }
  const env: Record<string, string> = { ...secrets.env };
  for (const { variable, content } of secrets.files) {
    const name = `secret-${variable}`;
    const problem = await writeIoFile(folder, name, content, 0o600);
    if (problem !== undefined) return { problem };
    env[variable] = `${inside.io}/${name}`;
  }
  return { env };
}
