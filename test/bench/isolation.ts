// What does a level of isolation cost? From the request for a task to its result, through an agent's
// whole isolation, beside a plain process of the launcher and what else makes sandboxes; how quickly
// sandboxes that were used up are replaced, and what one that waits takes of memory.
// usage: node test/bench/isolation.ts [--quick] [--levels=subprocess,seccomp]
import { setTimeout as delay } from "node:timers/promises";
import type { BoxLevel } from "../../agent/exec/isolation/box.ts";
import { findLauncher } from "../../agent/exec/launcher/find.ts";
import { Launcher } from "../../agent/exec/launcher/launcher.ts";
import { root } from "./bench-agent.ts";
import { type Answer, ask, type Contender, median, short, sized, tell } from "./frame.ts";
import { type Language, MeasuredLevel, poolSize, runs } from "./isolation-level.ts";
import { peersOf } from "./isolation-peers.ts";
import { figuresOf } from "./process-figures.ts";

const all: readonly BoxLevel[] = ["subprocess", "seccomp", "docker", "gvisor"];
const asked = process.argv
  .find((word) => word.startsWith("--levels="))
  ?.slice(9)
  .split(",");
const wanted = all.filter((level) => asked === undefined || asked.includes(level));
const rounds = sized(5, 2);
const absent: string[] = [];
const levels: MeasuredLevel[] = [];
for (const level of wanted) {
  const opened = await MeasuredLevel.open(level);
  if (typeof opened === "string") absent.push(`${level} (${opened})`);
  else levels.push(opened);
}
const found = findLauncher({ root });
if (!found.found) throw new Error(found.detail);
const launcher = await Launcher.start({
  path: found.path,
  onExit: (detail) => {
    throw new Error(detail);
  },
});
const answers: Answer[] = [];
const note = (answer: Answer) => {
  answer.absent.push(...absent);
  answers.push(answer);
};

/** Quick levels get more tasks a round. */
const countOf = (level: BoxLevel) =>
  level === "subprocess" ? sized(60, 10) : level === "seccomp" ? sized(40, 8) : sized(6, 2);

/** A round is the median of its tasks; all of them are kept for the quantiles in the notes. */
function series(name: string, count: number, one: () => Promise<number>) {
  const samples: number[] = [];
  const contender: Contender = {
    name,
    round: async () => {
      const round: number[] = [];
      for (let i = 0; i < count; i += 1) round.push(await one());
      samples.push(...round);
      return median(round);
    },
  };
  return { contender, note: () => `${name}: ${quantiles(samples)}` };
}

function quantiles(samples: readonly number[]): string {
  const sorted = samples.toSorted((a, b) => a - b);
  const at = (q: number) => short(sorted[Math.floor(q * (sorted.length - 1))] ?? Number.NaN);
  return `p10 ${at(0.1)}, p50 ${at(0.5)}, p99 ${at(0.99)} of ${sorted.length}`;
}

const plain = () => {
  const { promise, resolve } = Promise.withResolvers<number>();
  const from = performance.now();
  launcher.spawn(
    { argv: ["/bin/true"], env: { PATH: "/usr/bin:/bin" }, cwd: "/", graceMs: 0 },
    {
      started: () => {},
      output: () => {},
      mark: () => {},
      ended: () => resolve(performance.now() - from),
    },
  );
  return promise;
};

const peers = await peersOf(levels, sized(6, 2));
try {
  for (const isWarm of [true, false]) {
    const parts = [
      series("plain, by the launcher", sized(60, 10), plain),
      ...levels.map((level) =>
        series(level.level, countOf(level.level), () =>
          isWarm ? level.warm(runs.true, "shell") : level.cold(),
        ),
      ),
    ];
    const contenders = parts.map(({ contender }) => ({ ...contender, isOurs: true as const }));
    const answer = await ask({
      question: `/bin/true in a sandbox that ${isWarm ? "waits" : "is made for it"}`,
      unit: "ms",
      better: "less",
      rounds,
      contenders: isWarm ? contenders : [...contenders, ...peers.contenders],
    });
    answer.notes.push(...parts.map((part) => part.note()));
    note(answer);
  }
  for (const language of ["python", "node"] as const) {
    const parts = levels.map((level) =>
      series(level.level, countOf(level.level), () => level.warm(runs[language], language)),
    );
    const answer = await ask({
      question: `a no-op ${language} function in a sandbox that waits, request to result`,
      unit: "ms",
      better: "less",
      goal: 1,
      rounds,
      contenders: parts.map(({ contender }) => ({ ...contender, isOurs: true as const })),
    });
    answer.notes.push(...parts.map((part) => part.note()));
    note(answer);
  }
  for (const language of ["shell", "python"] as const) {
    const run = language === "shell" ? runs.true : runs.python;
    const count = (level: BoxLevel) => (level === "docker" || level === "gvisor" ? 8 : 40);
    const contenders = levels.map((level) => ({
      name: level.level,
      isOurs: true as const,
      round: () => level.rate(run, language, count(level.level)),
    }));
    const question = `sandboxes used up and replaced, ${language}`;
    const asking = { unit: "a second", better: "more", goal: 6, rounds: 3 } as const;
    note(await ask({ question, ...asking, warmUps: 0, contenders }));
  }
} finally {
  await peers[Symbol.asyncDispose]();
  await launcher.close();
  for (const level of levels) await level[Symbol.asyncDispose]();
}

/** The processes below ours; what an engine keeps is not among them. */
async function memoryOf(level: BoxLevel, language: Language): Promise<number> {
  const opened = await MeasuredLevel.open(level);
  if (typeof opened === "string") throw new Error(opened);
  await using measured = opened;
  const outside = () => figuresOf(process.pid).parts;
  await measured.idle();
  const sum = () =>
    outside()
      .filter(({ name }) => name !== "node-MainThread" || language === "node")
      .reduce((bytes, { pssBytes }) => bytes + pssBytes, 0);
  const before = sum();
  await measured.full(language);
  await delay(100);
  return (sum() - before) / poolSize / 2 ** 20;
}

for (const language of ["shell", "python", "node"] as const) {
  const reachable = wanted.filter(
    (level) => level !== "docker" && levels.some((one) => one.level === level),
  );
  note(
    await ask({
      question: `memory (PSS) of a sandbox that waits, ${language}`,
      unit: "MiB",
      better: "less",
      rounds: 1,
      warmUps: 0,
      contenders: reachable.map((level) => ({
        name: level,
        isOurs: true as const,
        round: () => memoryOf(level, language),
      })),
    }),
  );
}
tell(...answers);
