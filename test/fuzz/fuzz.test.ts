// Every target: its corpus, then a short time of new inputs, two targets at once. The long form is
// `scripts/fuzz --long`. EDGEDAG_FUZZ_SECONDS changes the time; what breaks is in build/fuzz-crashes.
import { rmSync } from "node:fs";
import t from "tap";
import { readCorpus } from "./engine/corpus.ts";
import type { Report } from "./engine/report.ts";
import { runTarget } from "./run-target.ts";
import { targets } from "./targets.ts";

const seconds = Number(process.env.EDGEDAG_FUZZ_SECONDS ?? 30);
/** New ones are for scripts/fuzz: here a failure should be of the change that is tested. */
const seed = Number(process.env.EDGEDAG_FUZZ_SEED ?? 1);
const names = Object.keys(targets);
// Each process has a net of its own; this one is for all of them.
const timeout = 900_000;
t.setTimeout(timeout);

t.test(
  "nothing that was fuzzed breaks, hangs, grows or tells of its inside",
  { timeout },
  async (t) => {
    t.jobs = 2;
    for (const name of names) {
      void t.test(name, { buffered: true, timeout }, async (t) => {
        const report = await runTarget({ name, seed, seconds });
        if (report.kind === "missing") {
          t.pass("not on this machine", { skip: report.detail });
          return;
        }
        if (report.kind === "broken") {
          t.fail(`${report.detail}\nseed ${seed}, input ${report.path}`);
          return;
        }
        const { figures } = report;
        t.ok(figures.replayed >= readCorpus(name).length, "its corpus was replayed");
        t.ok(figures.runs > figures.replayed, `${figures.runs} inputs`);
      });
    }
  },
);

t.test("corpora are small", async (t) => {
  for (const name of names) {
    const inputs = readCorpus(name);
    const bytes = inputs.reduce((sum, input) => sum + input.bytes.length, 0);
    t.ok(
      inputs.length <= 110 && bytes <= 200_000,
      `${name}: ${inputs.length} files, ${bytes} bytes`,
    );
  }
});

t.test("the same seed makes the same inputs", { timeout }, async (t) => {
  const blocks: number[] = [];
  for (let i = 0; i < 2; i++) {
    const report = await runTarget({ name: "launcher", seed: 7, seconds: 60, runs: 600 });
    if (report.kind !== "clean") throw new Error(JSON.stringify(report));
    blocks.push(report.figures.kept);
  }
  t.equal(blocks[0], blocks[1]);
});

t.test(
  "what breaks is told with its input, whether it throws, hangs, pollutes or dies",
  async (t) => {
    const broken = async (word: string): Promise<Extract<Report, { kind: "broken" }>> => {
      const inputBase64 = Buffer.from(`xx${word}xx`).toString("base64");
      const report = await runTarget({ name: "self-test", seed: 1, seconds: 0, inputBase64 });
      if (report.kind !== "broken") throw new Error(`${word}: ${JSON.stringify(report)}`);
      t.teardown(() => {
        rmSync(report.path, { force: true });
        rmSync(`${report.path}.txt`, { force: true });
      });
      return report;
    };
    t.match((await broken("throw")).detail, /it was told to/);
    t.match((await broken("hang")).detail, /an input takes more than 500 ms/);
    t.match((await broken("pollute")).detail, /Object.prototype has another member/);
    t.match((await broken("replace")).detail, /Array.prototype.push has changed/);
    t.match((await broken("late")).detail, /unhandledRejection/);
    t.match((await broken("die")).detail, /Native stack trace|ended with/);
    t.match((await broken("grow")).detail, /memory grew by|heap/);
    t.match((await broken("never")).detail, /an input takes more than 500 ms/);
  },
);
