// How long from the last instruction of one process to the first of the next, which waits for
// nothing but its end? A chain of commands that note both times, beside C that waits and spawns.
// usage: node test/bench/succession.ts [--quick]
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { allOn, BenchAgent } from "./bench-agent.ts";
import { artifactOf, chainOf } from "./documents.ts";
import { type Answer, ask, type Contender, sized, tell } from "./frame.ts";
import { compile, compileBaseline, spawnInC } from "./spawn-c.ts";

const count = sized(200, 30);
const folder = mkdtempSync(join(tmpdir(), "bench-succession-"));
const stamps = join(folder, "stamps");
const argv = [compile(folder, "stamp"), stamps];
const baseline = compileBaseline(folder);

await using agent = await BenchAgent.start({ hasMaster: true });
const artifact = await artifactOf(chainOf(count, () => ({ command: argv })));

/** From each end to the next start, milliseconds, ascending. */
async function gapsOf(run: () => Promise<unknown>): Promise<number[]> {
  writeFileSync(stamps, "");
  await run();
  const bytes = readFileSync(stamps);
  const at = (i: number) => Number(bytes.readBigInt64LE(i * 8));
  if (bytes.length !== count * 16) throw new Error(`${bytes.length / 16} of ${count} have run`);
  return Array.from({ length: count - 1 }, (_, i) => (at(2 * i + 2) - at(2 * i + 1)) / 1e6).sort(
    (a, b) => a - b,
  );
}

const p99 = new Map<string, number[]>();

/** A round's figure is its median; its 99th percentile is kept for a row of its own. */
function contender(name: string, run: () => Promise<unknown>): Contender {
  const all: number[] = [];
  p99.set(name, all);
  return {
    name,
    round: async () => {
      const gaps = await gapsOf(run);
      all.push(gaps[Math.ceil(0.99 * gaps.length) - 1] ?? Number.NaN);
      return gaps[gaps.length >> 1] ?? Number.NaN;
    },
  };
}

const median = await ask({
  question: "from a process's last instruction to the first of its successor, median",
  unit: "ms",
  better: "less",
  on: allOn,
  rounds: sized(11, 2),
  contenders: [
    { ...contender("edgedag", () => agent.run(artifact)), isOurs: true },
    contender("C: wait and posix_spawn", () => spawnInC(baseline, { count, inFlight: 1, argv })),
  ],
});
median.notes.push("goal: within 0.1 ms of C");
const high: Answer = {
  ...median,
  question: "from a process's last instruction to the first of its successor, 99th percentile",
  figures: median.figures.map((figure) => ({
    ...figure,
    samples: p99.get(figure.name)?.slice(-figure.samples.length) ?? [],
  })),
  notes: [],
};
rmSync(folder, { recursive: true });
tell(median, high);
