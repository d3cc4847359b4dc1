// `edgedag validate`: all diagnostics of every path, for people or as JSON.

import { exitCodes } from "../protocol/exit-codes.ts";
import type { Io } from "./io.ts";
import { exitCodeOf, loadPath, report } from "./load.ts";

/** Gives the exit code: that of the last path that is not fine. */
export async function validate(
  paths: readonly string[],
  { json }: { json?: boolean },
  io: Io,
): Promise<number> {
  let exitCode: number = exitCodes.ok;
  const reports: object[] = [];
  for (const path of paths) {
    const loaded = await loadPath(path);
    if (!loaded.ok) {
      exitCode = exitCodeOf(loaded.diagnostics);
      reports.push({ path, ok: false, diagnostics: loaded.diagnostics });
      if (json !== true) report(path, loaded.diagnostics, io);
      continue;
    }
    const { dag, files } = loaded.value;
    const counts = { tasks: dag.nodes.length, edges: dag.edges.length, files: files.length };
    reports.push({ path, ok: true, dag: dag.attributes.dag, ...counts, diagnostics: [] });
    if (json !== true) {
      io.stdout.write(
        `${path}: ${dag.attributes.dag} is fine: tasks ${counts.tasks}, edges ${counts.edges}, files ${counts.files}\n`,
      );
    }
  }
  if (json === true) io.stdout.write(`${JSON.stringify(reports, null, 2)}\n`);
  return exitCode;
}
