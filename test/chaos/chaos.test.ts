// The crash matrix as users run it, over the built-in DAG: kills of everything at times and at named
// points, and nothing is lost. CHAOS_KILLS=1000 is the long form; CHAOS_SEED chooses another sequence.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import type { ChaosSummary } from "../../cli/chaos/report.ts";
import { crashPoints } from "../../protocol/crash-points.ts";
import { exitCodes } from "../../protocol/exit-codes.ts";
import { root, run } from "../e2e/command.ts";

const kills = Number(process.env.CHAOS_KILLS ?? 100);
const seed = Number(process.env.CHAOS_SEED ?? 20261126);
const env = { EDGEDAG_FROM_SOURCE: "1" };
const edgedag = join(root, "bin", "edgedag");

t.test(`${kills} kills, and nothing is lost (CHAOS_SEED=${seed})`, async (t) => {
  const args = ["chaos", "--json", "--kills", String(kills), "--seed", String(seed)];
  // The net is wide: under load from other tests everything takes longer, and that is no fault.
  const ended = await run(edgedag, args, { env, timeoutMs: 9_000 * Math.max(60, kills) });
  t.equal(ended.code, exitCodes.ok, `${ended.stdout.slice(-6000)}${ended.stderr.slice(-2000)}`);
  const summary = JSON.parse(ended.stdout) as ChaosSummary;
  t.same(summary.problems, []);
  t.ok(summary.kills >= kills, `${summary.kills} kills`);
  const known = Object.keys(summary.byTarget);
  for (const target of ["agent", "master"]) t.ok(known.includes(target), `${target} was killed`);
  const points = Object.keys(summary.byPoint);
  t.ok(points.length > 0, "some at named points");
  t.comment(JSON.stringify({ ...summary, problems: undefined }));
  t.end();
});

t.test("what is not there is a wrong command line", async (t) => {
  const point = await run(edgedag, ["chaos", "--points", "agent.nowhere"], { env });
  t.equal(point.code, exitCodes.usage);
  t.match(point.stderr, /no such point: agent\.nowhere/);
  const target = await run(edgedag, ["chaos", "--targets", "moon"], { env });
  t.equal(target.code, exitCodes.usage);
  t.match(target.stderr, /no such target: moon/);
});

t.test("the page for users lists every point", async (t) => {
  const page = readFileSync(join(root, "docs", "chaos.md"), "utf8");
  for (const [name, { when }] of Object.entries(crashPoints)) {
    t.ok(page.includes(`| \`${name}\` | ${when} |`), name);
  }
});
