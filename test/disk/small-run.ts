// A small run on an agent whose disk may be bad, and the question whether what the master knows of it
// in the end is true: nothing lost that was told, nothing wrong, and whatever is missing said so.

import { exitCodes } from "../../protocol/exit-codes.ts";
import type { LogLine } from "../../protocol/log.ts";
import type { Box } from "../rig/box.ts";
import type { CliEnd } from "../rig/cli.ts";
import { type FaultPlan, type FaultReport, faultEnv, readReport } from "../rig/faults/faults.ts";
import type { RealMaster } from "../rig/master.ts";
import { until } from "../rig/until.ts";

export const smallDag = `dag: small
tasks:
  a: { shell: "echo from a; echo 41 > $EDGEDAG_RESULT" }
  b: { needs: [a], shell: "echo {{ needs.a.result }} is it; echo 42 > $EDGEDAG_RESULT" }
  c: { needs: [b], shell: "seq 300; echo artifact > c.txt", outputs: [c.txt] }
`;

const wantedLines: { [task: string]: string[] } = {
  a: ["from a"],
  b: ["41 is it"],
  c: Array.from({ length: 300 }, (_, index) => String(index + 1)),
};

export interface SmallRun {
  box: Box;
  master: RealMaster;
  dag: string;
  node: string;
}

export interface Told {
  report: FaultReport;
  /** Ends of the agents, the one with the fault first. */
  ends: CliEnd[];
}

const mostStarts = 4;

/** First without a master and with the fault; then, with a good disk, until the master has everything. */
export async function runWithFault(
  { box, master, dag, node }: SmallRun,
  fault: Omit<FaultPlan, "under" | "report">,
): Promise<Told> {
  const state = box.path(node);
  const report = box.path(`${node}.report`);
  const env = {
    // The bundle, as on a device; `scripts/setup` has built it.
    EDGEDAG_FROM_SOURCE: undefined,
    EDGEDAG_STATE: state,
    EDGEDAG_NODE: node,
    EDGEDAG_DAG: dag,
    EDGEDAG_AFTER: "exit",
  };
  const offline = { EDGEDAG_MASTER: "http://127.0.0.1:1", EDGEDAG_DRAIN: "0s" };
  const faults = faultEnv({ ...fault, under: state, report });
  const ends = [await box.run(["agent"], { env: { ...env, ...offline, ...faults } })];
  while (ends.length < mostStarts && ends.at(-1)?.code !== exitCodes.ok) {
    ends.push(await box.run(["agent"], { env: { ...env, ...offline } }));
  }
  const last = box.start(["agent"], {
    env: { ...env, ...master.env, EDGEDAG_DAG: undefined, EDGEDAG_AFTER: "stay" },
  });
  await until(
    `the master has everything of ${node}`,
    () => master.node(node),
    (view) =>
      last.hasEnded || (view?.connected === true && view.outbox === 0 && view.activity === "idle"),
    { describe: (view) => `${JSON.stringify(view)} ${last.stderr}` },
  );
  ends.push(await last.stop());
  return { report: readReport(report), ends };
}

/** Everything that is not as it has to be; empty: the report is true. */
export async function findLies(
  run: SmallRun,
  { ends }: Told,
  isSilent: boolean,
): Promise<string[]> {
  const { master, node } = run;
  const lies: string[] = [];
  for (const [index, { code, signal, stderr }] of ends.entries()) {
    const isFine = code === exitCodes.ok;
    if (/a bug of edgedag|\n {4}at /.test(stderr)) lies.push(`start ${index}: ${stderr}`);
    if (signal !== null) lies.push(`start ${index} ended by ${signal}`);
    if (!isFine && !/E_[A-Z]+_?[A-Z]*/.test(stderr)) lies.push(`start ${index}: ${code} untold`);
    if (!isFine && index > 0 && !isSilent) lies.push(`start ${index}: ${code} ${stderr}`);
  }
  if (ends.at(-2)?.code !== exitCodes.ok) lies.push("the node does not come up");
  const all = ends.map(({ stderr }) => stderr).join("\n");
  // Silent damage may cost something; then it must have been found and said.
  const isLossTold = isSilent && /E_STATE_CORRUPT|E_LINK_FILE|damaged|cannot go on/.test(all);
  const runs = (await master.runs()).filter((found) => found.node === node);
  const told = [...all.matchAll(/run (\S+) succeeded\n/g)].map(([, id]) => id ?? "");
  if (told.length === 0) lies.push("no run was told as succeeded");
  for (const id of told) {
    const found = runs.find((known) => known.id === id);
    if (found?.outcome?.kind !== "succeeded" && !isLossTold) {
      lies.push(`${id} was told as succeeded and is ${JSON.stringify(found)} at the master`);
    }
  }
  for (const { id, outcome } of runs) {
    if (outcome?.kind === "succeeded") {
      if (!told.includes(id)) lies.push(`${id} never succeeded here`);
      lies.push(...(await liesOf(master, id, isLossTold)));
    }
  }
  return lies;
}

/** Of one run that the master takes for succeeded. */
async function liesOf(master: RealMaster, id: string, isLossTold: boolean): Promise<string[]> {
  const lies: string[] = [];
  const { tasks } = await master.run(id);
  const results = new Map((await master.results(id)).map((result) => [result.task, result.value]));
  for (const [task, value] of [
    ["a", 41],
    ["b", 42],
  ] as const) {
    const attempts = tasks.find((found) => found.task === task)?.attempts ?? [];
    const good = attempts.filter(({ outcome }) => outcome?.kind === "succeeded");
    if (good.length === 1 && results.get(task) === value) continue;
    const isWrong = good.length > 1 || (good.length === 1 && results.get(task) !== value);
    if (isWrong || !isLossTold) {
      lies.push(`${id} ${task}: ${JSON.stringify({ attempts, result: results.get(task) })}`);
    }
  }
  const artifacts = await until(
    "artifacts are checked",
    () => master.artifacts(id),
    (found) => found.every(({ state }) => state !== "whole"),
  );
  const [file] = artifacts;
  if (file?.state === "verified") {
    const bytes = await (await master.get(`/api/runs/${id}/artifacts/c/c.txt`)).text();
    if (bytes !== "artifact\n") lies.push(`${id}: c.txt is ${JSON.stringify(bytes)}`);
  } else if (!isLossTold) {
    lies.push(`${id}: artifacts are ${JSON.stringify(artifacts)}`);
  }
  lies.push(...liesOfLog(await master.log(id), isLossTold).map((lie) => `${id}: ${lie}`));
  return lies;
}

function liesOfLog(lines: readonly LogLine[], isLossTold: boolean): string[] {
  const lies: string[] = [];
  let next = 1;
  let missing = 0;
  for (const { seq, fields } of lines) {
    if (seq !== next && !isLossTold) lies.push(`line ${next} is missing, ${seq} follows`);
    const gap = fields?.gap as { lines: number } | undefined; // GapFields of protocol/log.ts
    missing += gap?.lines ?? 0;
    next = seq + (gap?.lines ?? 1);
  }
  if (missing > 0 && !isLossTold) lies.push(`${missing} lines are missing`);
  for (const [task, wanted] of Object.entries(wantedLines)) {
    const got = lines.filter((line) => line.task === task).map((line) => line.text ?? "");
    const strangers = got.filter((text) => !wanted.includes(text));
    if (strangers.length > 0) lies.push(`${task} never said ${JSON.stringify(strangers[0])}`);
    if (got.length !== wanted.length && !isLossTold) {
      lies.push(`${task} said ${wanted.length} lines, the master has ${got.length}`);
    }
  }
  return lies;
}
