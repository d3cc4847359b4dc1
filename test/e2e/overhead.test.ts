// A guard against a task that has become several times as expensive: ratios to what C or Node.js do
// in the same minutes on the same machine, with generous bounds. The figures themselves are those
// of `npm run bench`; here the best of a few rounds counts, which a busy machine hurts least.
import { execFile } from "node:child_process";
import { existsSync, rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { promisify } from "node:util";
import t, { type Test } from "tap";
import { type Answer, type Figure, median } from "../bench/frame.ts";
import { root } from "../rig/cli.ts";

const exec = promisify(execFile);

/** The row in a process of its own: nothing is timed inside a test runner. */
async function row(t: Test, name: string): Promise<Answer[]> {
  const folder = await mkdtemp("/tmp/ovh-");
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  // Only what programs need: tap instruments children through the environment.
  const env = { PATH: process.env.PATH, HOME: process.env.HOME, TMPDIR: folder };
  const argv = ["--expose-gc", `${root}/test/bench/${name}.ts`, "--quick"];
  const { stdout } = await exec(process.execPath, argv, { env, timeout: 90_000 });
  return JSON.parse(stdout).answers;
}

function figure(answers: readonly Answer[], question: RegExp, name: RegExp): Figure {
  const answer = answers.find((candidate) => question.test(candidate.question));
  const found = answer?.figures.find((candidate) => name.test(candidate.name));
  if (found === undefined) throw new Error(`no figure ${name} for ${question}`);
  return found;
}

const best = ({ samples }: Figure) => Math.min(...samples);

/** Ours at its best may cost so many times what theirs usually does. */
function atMost(t: Test, ours: Figure, theirs: Figure, times: number): void {
  const ratio = best(ours) / median(theirs.samples);
  const all = JSON.stringify([ours, theirs]);
  t.ok(
    ratio < times,
    `${ours.name} costs ${ratio.toFixed(2)} x ${theirs.name}, less than ${times}`,
    {
      all,
    },
  );
}

t.test("a process costs a small multiple of what it costs in C", async (t) => {
  const answers = await row(t, "true");
  const question = /bin.true/;
  const c = figure(answers, question, /^C:/);
  atMost(t, figure(answers, question, /^edgedag$/), c, 4);
  atMost(t, figure(answers, question, /outcome on record/), c, 5);
});

t.test("a function in a chain costs no process and few messages", async (t) => {
  const answers = await row(t, "chain");
  // A message to a child process and back is the unit: it meets the same load.
  const ipc = figure(answers, /Node\.js/, /^fork/);
  atMost(t, figure(answers, /Node\.js/, /^edgedag$/), ipc, 20);
  atMost(t, figure(answers, /Python/, /^edgedag$/), ipc, 20);
});

// From source it would be measured how long TypeScript takes to lose its types.
const skip = existsSync(`${root}/dist/edgedag.mjs`) ? false : "no bundle: scripts/build";
t.test("the command line starts in a few times what Node.js alone takes", { skip }, async (t) => {
  const answers = await row(t, "cold-start");
  const question = /cold start/;
  atMost(t, figure(answers, question, /^edgedag run$/), figure(answers, question, /^node/), 15);
});
