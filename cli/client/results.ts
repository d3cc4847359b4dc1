// `edgedag results RUN [TASK]` and `edgedag artifacts RUN [--out FOLDER]`.
import { createHash } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, resolve, sep } from "node:path";
import { exitCodes } from "../../protocol/exit-codes.ts";
import type { Io } from "../io.ts";
import { type ClientArgs, call, get, printFailure } from "./api.ts";
import { outcomeText, runPath, type ShownArtifact, type ShownResult } from "./shown.ts";
import { bytes, plain, table } from "./table.ts";

const shownChars = 100;

export async function results(
  args: ClientArgs & { run: string; task?: string },
  io: Io,
): Promise<number> {
  if (args.task !== undefined) {
    const path = runPath(args.run, `/results/${encodeURIComponent(args.task)}`);
    const answer = await call(args, path);
    if (!answer.ok) return printFailure(io, answer);
    io.stdout.write(`${await answer.value.text()}\n`);
    return exitCodes.ok;
  }
  const answer = await get<{ results: ShownResult[] }>(args, runPath(args.run, "/results"));
  if (!answer.ok) return printFailure(io, answer);
  if (args.json) {
    io.stdout.write(`${JSON.stringify(answer.value.results)}\n`);
    return exitCodes.ok;
  }
  const rows = answer.value.results.map((result) => [
    result.task,
    outcomeText(result.outcome),
    valueText(result),
  ]);
  io.stdout.write(table(["TASK", "OUTCOME", "RESULT"], rows));
  return exitCodes.ok;
}

function valueText({ value, large, items }: ShownResult): string {
  if (large !== undefined) return `${bytes(large.sizeBytes)} (${large.state})`;
  const shown = items === undefined ? value : items.map((item) => item.value ?? null);
  const text = shown === undefined ? "" : JSON.stringify(shown);
  return text.length > shownChars ? `${text.slice(0, shownChars)}...` : text;
}

export interface ArtifactsArgs extends ClientArgs {
  run: string;
  /** Folder to download all of them into, as TASK/NAME. */
  out?: string;
}

export async function artifacts(args: ArtifactsArgs, io: Io): Promise<number> {
  const answer = await get<{ artifacts: ShownArtifact[] }>(args, runPath(args.run, "/artifacts"));
  if (!answer.ok) return printFailure(io, answer);
  const found = answer.value.artifacts;
  if (args.json) {
    io.stdout.write(`${JSON.stringify(found)}\n`);
  } else {
    const rows = found.map((artifact) => [
      artifact.task,
      artifact.name,
      bytes(artifact.sizeBytes),
      artifact.state,
    ]);
    io.stdout.write(
      rows.length === 0 ? "no artifacts\n" : table(["TASK", "NAME", "SIZE", "STATE"], rows),
    );
  }
  if (args.out === undefined) return exitCodes.ok;
  for (const artifact of found) {
    const code = await download(args, args.out, artifact, io);
    if (code !== exitCodes.ok) return code;
  }
  return exitCodes.ok;
}

async function download(
  args: ArtifactsArgs,
  folder: string,
  { task, name, attempt, sha256 }: ShownArtifact,
  io: Io,
): Promise<number> {
  const root = resolve(folder);
  const path = resolve(root, task, name);
  // The name comes from a node: it must not lead out of the folder.
  if (!path.startsWith(`${root}${sep}`)) {
    io.stderr.write(`edgedag: ${plain(`${task}/${name}`)} would lead out of ${folder}; left out\n`);
    return exitCodes.badDocument;
  }
  const where = [task, ...name.split("/")].map(encodeURIComponent).join("/");
  const answer = await call(args, runPath(args.run, `/artifacts/${where}?attempt=${attempt}`));
  if (!answer.ok) return printFailure(io, answer);
  const data = new Uint8Array(await answer.value.arrayBuffer());
  if (createHash("sha256").update(data).digest("hex") !== sha256) {
    io.stderr.write(`edgedag: ${plain(name)} arrived damaged\n    Ask again.\n`);
    return exitCodes.unavailable;
  }
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, data);
  io.stderr.write(`${plain(path)}\n`);
  return exitCodes.ok;
}
