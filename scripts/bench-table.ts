// The table of `npm run bench`: one line for each who took part, ours first, with the ratio of ours
// to each other. Pure: figures in, Markdown out.
import { type Answer, type Figure, median, type RowResult, short } from "../test/bench/frame.ts";

export interface Machine {
  cpu: string;
  cores: number;
  memoryGiB: number;
  kernel: string;
  nodejs: string;
}

export interface Report {
  date: string;
  commit: string;
  machine: Machine;
  /** The one-minute average before the first row. */
  loadBefore: number;
  isQuick: boolean;
  /** Said by the one who ran it. */
  label?: string;
  seconds: number;
  rows: ({ row: string; load: number; seconds: number } & (RowResult | { failed: string }))[];
}

export function markdownOf(report: Report): string {
  const { machine, rows } = report;
  const about = [
    `${report.date}, commit ${report.commit}`,
    `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, Linux ${machine.kernel}, Node.js ${machine.nodejs}`,
    `load before: ${report.loadBefore.toFixed(2)}`,
    ...(report.isQuick ? ["small sizes (`--quick`): not to be quoted"] : []),
    ...(report.label === undefined ? [] : [report.label]),
  ];
  const head = [
    "| work | who | median | min..max | ratio of edgedag to it |",
    "| --- | --- | --- | --- | --- |",
  ];
  const lines = rows.flatMap((row) =>
    "failed" in row
      ? [`| ${row.row} | **failed**: ${cell(row.failed)} | | | |`]
      : row.answers.flatMap(linesOf),
  );
  const notes = rows.flatMap((row) => ("failed" in row ? [] : row.answers.flatMap(notesOf)));
  return [`${about.join("; ")}.`, "", ...head, ...lines, "", ...notes, ""].join("\n");
}

function linesOf(answer: Answer): string[] {
  const { question, unit, goal, figures } = answer;
  const main = figures.find((figure) => figure.isOurs);
  return figures.map((figure, i) => {
    const wanted = goal === undefined ? "" : `; goal ${short(goal)}`;
    const work = i === 0 ? `${question}, ${unit}${wanted}` : "";
    const who = figure.isOurs ? `**${figure.name}**` : figure.name;
    const ratio = figure.isOurs || main === undefined ? "" : ratioOf(main, figure);
    const value = short(median(figure.samples));
    return `| ${cell(work)} | ${cell(who)} | ${value} | ${spread(figure.samples)} | ${ratio} |`;
  });
}

function notesOf(answer: Answer): string[] {
  const parts = [
    ...(answer.on === undefined ? [] : [`on: ${answer.on}`]),
    ...answer.notes,
    ...(answer.absent.length === 0 ? [] : [`not here: ${answer.absent.join(", ")}`]),
  ];
  return parts.length === 0 ? [] : [`- ${answer.question}: ${parts.join("; ")}.`];
}

function ratioOf(main: Figure, other: Figure): string {
  return short(median(main.samples) / median(other.samples));
}

function spread(samples: readonly number[]): string {
  return `${short(Math.min(...samples))}..${short(Math.max(...samples))}`;
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ");
}
