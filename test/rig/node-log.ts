// The combined log of a run as it lies on the node: the lines of all segments in order.
import { readdir, readFile } from "node:fs/promises";
import type { LogLine } from "../../protocol/log.ts";
import { runLogDir, segmentPath } from "../../protocol/state-paths.ts";

export async function nodeLog(stateDir: string, run: string): Promise<LogLine[]> {
  const names = await readdir(runLogDir(stateDir, run));
  const segments = names.map((name) => Number.parseInt(name, 10)).sort((a, b) => a - b);
  const texts = await Promise.all(
    segments.map((segment) => readFile(segmentPath(stateDir, run, segment), "utf8")),
  );
  const lines = texts.join("").split("\n").slice(0, -1);
  return lines.map((line) => JSON.parse(line) as LogLine);
}
