// The end of `edgedag chaos`: how many kills of what and where, and all that was wrong.
import type { Io } from "../io.ts";
import type { BoxReport } from "./box.ts";

export interface ChaosSummary {
  seed: number;
  kills: number;
  byTarget: { [target: string]: number };
  byPoint: { [point: string]: number };
  /** Kills at a time instead of a point. */
  atTimes: number;
  /** Points that were armed and not passed before the time was up. */
  missed: { [point: string]: number };
  recoveries: number;
  runs: number;
  wallMs: number;
  /** Tasks that differ between undisturbed runs: not compared. */
  unsteady: string[];
  problems: { box: number; folder: string; problem: string }[];
}

export function summaryOf(
  reports: readonly BoxReport[],
  { seed, startedAt, unsteady }: { seed: number; startedAt: number; unsteady: string[] },
): ChaosSummary {
  const kills = reports.flatMap((report) => report.kills);
  return {
    seed,
    kills: kills.length,
    byTarget: counted(kills.map(({ target }) => target)),
    byPoint: counted(kills.flatMap(({ point }) => (point === undefined ? [] : [nameOf(point)]))),
    atTimes: kills.filter(({ point }) => point === undefined).length,
    missed: counted(reports.flatMap(({ missed }) => missed.map(nameOf))),
    recoveries: sum(reports.map((report) => report.recoveries)),
    runs: sum(reports.map((report) => report.runs)),
    wallMs: Math.round(performance.now() - startedAt),
    unsteady,
    problems: reports.flatMap(({ number, dir, problems }) =>
      problems.map((problem) => ({ box: number, folder: dir, problem })),
    ),
  };
}

export function printReport(summary: ChaosSummary, isJson: boolean, { stdout }: Io): void {
  if (isJson) {
    stdout.write(`${JSON.stringify(summary, null, 2)}\n`);
    return;
  }
  const { seed, kills, recoveries, runs, wallMs, atTimes, problems, unsteady } = summary;
  const table = (counts: { [name: string]: number }) =>
    Object.entries(counts)
      .map(([name, count]) => `  ${String(count).padStart(5)}  ${name}\n`)
      .join("");
  stdout.write(`${kills} kills, each seen dead of SIGKILL:\n${table(summary.byTarget)}`);
  stdout.write(`at ${Object.keys(summary.byPoint).length} points:\n${table(summary.byPoint)}`);
  stdout.write(`  ${String(atTimes).padStart(5)}  at a time\n`);
  if (unsteady.length > 0) {
    stdout.write(`not compared, because undisturbed runs differ: ${unsteady.join(", ")}\n`);
  }
  stdout.write(`${recoveries} recoveries, ${runs} runs, ${(wallMs / 1000).toFixed(1)} s\n`);
  for (const { box, folder, problem } of problems) {
    stdout.write(`PROBLEM in box ${box} (${folder}): ${problem}\n`);
  }
  if (problems.length > 0) stdout.write(`again with: edgedag chaos --seed ${seed}\n`);
  else stdout.write("nothing was lost, nothing came twice, nothing is left\n");
}

function nameOf(point: string): string {
  return point.replace(/:\d+$/, "");
}

function counted(names: readonly string[]): { [name: string]: number } {
  const counts: { [name: string]: number } = {};
  for (const name of [...names].sort()) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
