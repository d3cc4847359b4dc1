// What does a process cost as a task: /bin/true with captured output, two at a time, beside plain C
// and the tools that people know?
// usage: node test/bench/true.ts [--quick]
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { allOn, BenchAgent } from "./bench-agent.ts";
import { artifactOf, fanOf } from "./documents.ts";
import { ask, type Contender, sized, tell } from "./frame.ts";
import { MeasuredRuns } from "./measured-runs.ts";
import { Peers } from "./peers.ts";
import { compileBaseline, spawnInC } from "./spawn-c.ts";

const count = sized(500, 100);
const folder = mkdtempSync(join(tmpdir(), "bench-true-"));
const targets = Array.from({ length: count }, (_, i) => `t${i}`);

await using agent = await BenchAgent.start({ hasMaster: true });
await using holder = await BenchAgent.start({
  hasMaster: true,
  env: { EDGEDAG_ORPHANS: "adopt" },
});
await using peers = new Peers();

const artifact = await artifactOf(fanOf(count, { command: ["/bin/true"] }));
const runs = new MeasuredRuns({ agent, artifact, count });
const adopting = new MeasuredRuns({
  agent: holder,
  artifact,
  count,
  name: "edgedag, EDGEDAG_ORPHANS=adopt",
});

const baseline = compileBaseline(folder);
const makefile = `.PHONY: all ${targets.join(" ")}\nall: ${targets.join(" ")}\n${targets.join(" ")}:\n\t@/bin/true\n`;
writeFileSync(join(folder, "Makefile"), makefile);
const ninja = join(folder, "ninja");
mkdirSync(ninja);
// Outputs that are never made: every edge is run every time.
const edges = targets.map((target) => `build ${target}: t\n`).join("");
writeFileSync(join(ninja, "build.ninja"), `rule t\n  command = /bin/true\n${edges}`);
writeFileSync(join(folder, "items"), targets.join("\n"));

const others = [
  ...(await peers.python("true", count)),
  await peers.command("make -j2 -Otarget", ["make", "-j2", "-Otarget"], { count, cwd: folder }),
  await peers.command(
    "xargs -P2 (nothing captured)",
    ["xargs", "-a", join(folder, "items"), "-P2", "-n1", "/bin/true"],
    { count },
  ),
  await peers.command("ninja -j2", ["ninja", "-j2", "--quiet"], { count, cwd: ninja }),
  await peers.command(
    "GNU parallel -j2",
    ["parallel", "-j2", "-a", join(folder, "items"), "/bin/true"],
    { count },
  ),
];
const contenders = (ours: MeasuredRuns, tasks: number): Contender[] => [
  ours.contender,
  {
    name: "C: posix_spawn and wait",
    round: () => spawnInC(baseline, { count: tasks, inFlight: 2 }),
  },
];
const answer = await ask({
  question: `${count} x /bin/true, output captured, 2 at a time`,
  unit: "ms a task",
  better: "less",
  on: allOn,
  rounds: sized(9, 2),
  contenders: [
    ...contenders(runs, count),
    adopting.contender,
    ...others.filter((other) => other !== undefined),
  ],
});
answer.notes.push("goal: 1.15 x C");
answer.absent.push(...peers.absent);
runs.addTo(answer);
adopting.addTo(answer);
const many = sized(10_000, 200);
const manyRuns = new MeasuredRuns({
  agent,
  artifact: await artifactOf(fanOf(many, { command: ["/bin/true"] })),
  count: many,
});
const large = await ask({
  question: `${many.toLocaleString("en-US")} x /bin/true, output captured, 2 at a time`,
  unit: "ms a task",
  better: "less",
  on: allOn,
  rounds: sized(3, 1),
  warmUps: 0,
  contenders: contenders(manyRuns, many),
});
large.notes.push("goal: 1.15 x C");
manyRuns.addTo(large);
rmSync(folder, { recursive: true });
tell(answer, large);
