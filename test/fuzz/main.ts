// scripts/fuzz: fuzzes the named targets, or all of them, a few at a time.
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { runTarget } from "./run-target.ts";
import { targets } from "./targets.ts";

const usage = `usage: scripts/fuzz [TARGET ...] [--seconds N] [--long] [--seed S] [--runs N] [--jobs N] [--input FILE] [--distil]
  --seconds N   for each target; 30 when nothing is said
  --long        ten minutes for each target
  --seed S      another sequence of inputs; without it one of the day's milliseconds, which is printed
  --runs N      ends each target after N inputs: with a seed, the same inputs each time
  --jobs N      so many targets at once; 2 when nothing is said
  --input FILE  runs one input through one target
  --distil      replaces the corpus by the smallest inputs that reach the same code
targets: ${Object.keys(targets).join(" ")}`;

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seconds: { type: "string" },
      long: { type: "boolean", default: false },
      seed: { type: "string" },
      runs: { type: "string" },
      jobs: { type: "string", default: "2" },
      input: { type: "string" },
      distil: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const names = positionals.length > 0 ? positionals : Object.keys(targets);
  const unknown = names.filter((name) => !Object.hasOwn(targets, name));
  if (values.help || unknown.length > 0) {
    console.error(unknown.length > 0 ? `no target ${unknown.join(", ")}\n${usage}` : usage);
    return unknown.length > 0 ? 64 : 0;
  }
  const isReplay = values.input !== undefined;
  const seconds = isReplay ? 0 : values.long ? 600 : Number(values.seconds ?? 30);
  const seed = Number(values.seed ?? Date.now() % 86_400_000);
  const more = {
    ...(values.runs === undefined ? {} : { runs: Number(values.runs) }),
    ...(values.input === undefined
      ? {}
      : { inputBase64: readFileSync(values.input).toString("base64") }),
  };
  console.log(`seed ${seed}`);
  let broken = 0;
  const waiting = [...names];
  const worker = async () => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
      const report = await runTarget({ name, seed, seconds, shouldDistil: values.distil, ...more });
      if (report.kind === "clean") {
        const f = report.figures;
        console.log(
          `${name.padEnd(12)} clean  ${f.runs} inputs in ${f.seconds} s, ${f.kept} kept, ${f.blocks} blocks reached, slowest ${f.slowestMs} ms, heap ${f.heapMiB} MiB, process ${f.rssMiB} MiB`,
        );
      } else if (report.kind === "missing") {
        console.log(`${name.padEnd(12)} not here: ${report.detail}`);
      } else {
        broken++;
        console.log(`${name.padEnd(12)} BROKEN: ${report.detail}\n    input: ${report.path}`);
      }
    }
  };
  await Promise.all(Array.from({ length: Number(values.jobs) }, worker));
  return broken === 0 ? 0 : 1;
}

process.exitCode = await main();
