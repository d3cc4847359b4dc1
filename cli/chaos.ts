// `edgedag chaos`: runs a DAG on real agents and masters, kills them and what they started, and says
// whether anything was lost, came twice, or stayed behind.
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { type CrashPoint, crashPoints, isCrashPoint } from "../protocol/crash-points.ts";
import { exitCodes } from "../protocol/exit-codes.ts";
import type { Json } from "../protocol/json.ts";
import { type BoxOptions, type BoxReport, ChaosBox } from "./chaos/box.ts";
import { writeBuiltIn } from "./chaos/built-in.ts";
import { expectedOf } from "./chaos/compare.ts";
import { Plan, type Target, targets } from "./chaos/plan.ts";
import { printReport, summaryOf } from "./chaos/report.ts";
import type { Io } from "./io.ts";
import { loadPath, report } from "./load.ts";

export interface ChaosOptions {
  seed?: number;
  kills: number;
  dag?: string;
  params: { [name: string]: Json };
  /** Separated by commas; absent: all. */
  points?: string;
  targets?: string;
  jobs?: number;
  megabytes: number;
  json: boolean;
  env: Readonly<Record<string, string | undefined>>;
}

/** More kills are spread over further boxes, so that what is judged stays small. */
const killsPerBox = 50;
/** What the two undisturbed runs take on a small machine that does nothing else. */
const quietMs = 5_000;

export async function chaos(options: ChaosOptions, io: Io): Promise<number> {
  const usage = (message: string) => {
    io.stderr.write(`edgedag: ${message}\n`);
    return exitCodes.usage;
  };
  const points = listOf(options.points, Object.keys(crashPoints)).filter((name) => name !== "none");
  const wrong = points.filter((name) => !isCrashPoint(name));
  if (wrong.length > 0) {
    return usage(`no such point: ${wrong.join(", ")}\n${Object.keys(crashPoints).join("\n")}`);
  }
  const aims = listOf(options.targets, targets);
  const odd = aims.filter((name) => !(targets as readonly string[]).includes(name));
  if (odd.length > 0) return usage(`no such target: ${odd.join(", ")} (${targets.join(", ")})`);
  if (process.platform !== "linux") {
    io.stderr.write("edgedag: chaos finds processes in /proc: it needs Linux\n");
    return exitCodes.unavailable;
  }
  const seed = options.seed ?? Math.floor(Math.random() * 2 ** 31);
  const say = (text: string) => io.stderr.write(`${text}\n`);
  say(`seed ${seed}`);
  const scratch = mkdtempSync("/tmp/chaos-dag-");
  const abort = new AbortController();
  const onSignal = () => abort.abort();
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  try {
    const path = options.dag ?? (await writeBuiltIn(join(scratch, "dag"), options.megabytes));
    const loaded = await loadPath(path);
    if (!loaded.ok) return report(path, loaded.diagnostics, io);
    const [, main = ""] = process.argv;
    const shared = {
      artifact: loaded.value,
      params: options.params,
      // As bin/edgedag does it; agent and master must be this process's own children.
      command: [process.execPath, "--disable-warning=ExperimentalWarning", main],
      env: options.env,
      signal: abort.signal,
      say,
    };
    const startedAt = performance.now();
    say("two undisturbed runs");
    const calm = await ChaosBox.run({
      ...shared,
      number: 0,
      plan: undefined,
      kills: 0,
      runs: 2,
      pace: 1,
      expected: undefined,
    });
    const [first, second] = calm.seen;
    if (first === undefined || second === undefined) {
      if (abort.signal.aborted) return exitCodes.cancelled;
      printReport(summaryOf([calm], { seed, startedAt, unsteady: [] }), options.json, io);
      return exitCodes.runFailed;
    }
    const expected = expectedOf(first, second);
    const jobs = options.jobs ?? Math.max(2, availableParallelism());
    const pace = Math.max(1, calm.wallMs / quietMs);
    const plan = { seed, pace, points: points as CrashPoint[], targets: aims as Target[] };
    const reports = await runBoxes(boxesOf(options.kills, jobs), jobs, (number, kills) => ({
      ...shared,
      number,
      plan: new Plan({ ...plan, box: number }),
      kills,
      runs: 1,
      pace,
      expected,
    }));
    if (abort.signal.aborted) return exitCodes.cancelled;
    const summary = summaryOf([calm, ...reports], {
      seed,
      startedAt,
      unsteady: [...expected.unsteady],
    });
    printReport(summary, options.json, io);
    return summary.problems.length === 0 ? exitCodes.ok : exitCodes.runFailed;
  } finally {
    process.off("SIGINT", onSignal);
    process.off("SIGTERM", onSignal);
    rmSync(scratch, { recursive: true, force: true });
  }
}

function listOf(text: string | undefined, all: readonly string[]): string[] {
  if (text === undefined) return [...all];
  return text.split(",").map((name) => name.trim());
}

/** Kills of each box, all about the same. */
function boxesOf(kills: number, jobs: number): number[] {
  const count = Math.max(Math.min(jobs, kills), Math.ceil(kills / killsPerBox), 1);
  return Array.from(
    { length: count },
    (_, index) => Math.floor((kills * (index + 1)) / count) - Math.floor((kills * index) / count),
  );
}

async function runBoxes(
  kills: readonly number[],
  jobs: number,
  optionsOf: (number: number, kills: number) => BoxOptions,
): Promise<BoxReport[]> {
  const reports: BoxReport[] = [];
  let next = 0;
  const work = async () => {
    while (next < kills.length) {
      const index = next++;
      const options = optionsOf(index + 1, kills[index] ?? 0);
      if (options.signal.aborted) return;
      const done = await ChaosBox.run(options);
      reports.push(done);
      const verdict = done.problems.length === 0 ? "well" : `${done.problems.length} PROBLEMS`;
      options.say(
        `box ${done.number}: ${done.kills.length} kills, ${done.recoveries} recoveries, ${done.runs} runs in ${Math.round(done.wallMs / 1000)} s: ${verdict}`,
      );
    }
  };
  await Promise.all(Array.from({ length: jobs }, work));
  return reports.sort((a, b) => a.number - b.number);
}
