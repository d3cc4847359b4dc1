// How long does a caller of `POST /run` wait for an answer while sandboxes wait warm? One caller, at a
// pace at which the pool is full again before each request; beside the start of a bare interpreter.
// usage: node test/bench/service.ts [--quick] [--levels=subprocess,seccomp]
import { spawn } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";
import type { BoxLevel } from "../../agent/exec/isolation/box.ts";
import { BenchService, bodyOf, type SnippetLanguage } from "./bench-service.ts";
import { type Answer, ask, type Contender, median, short, sized, tell } from "./frame.ts";

const all: readonly BoxLevel[] = ["subprocess", "seccomp", "docker", "gvisor"];
const asked = process.argv
  .find((word) => word.startsWith("--levels="))
  ?.slice(9)
  .split(",");
const goals: { readonly [level: string]: number } = {
  subprocess: 2,
  seccomp: 2,
  docker: 3,
  gvisor: 3,
};
const pool = 5;
/** Longer than a replacement takes. */
const paceMs: { readonly [level: string]: number } = {
  subprocess: 100,
  seccomp: 100,
  docker: 600,
  gvisor: 600,
};
const coldPrograms = {
  python: ["python3", "-c", "pass"],
  nodejs: [process.execPath, "-e", "0"],
} as const;
const answers: Answer[] = [];

for (const level of all.filter((level) => asked === undefined || asked.includes(level))) {
  const service = await BenchService.start({ level, pool });
  for (const language of ["python", "nodejs"] as const) {
    const question = `${language} at level ${level}: request to answer, warm`;
    const goal = goals[level] ?? 0;
    if (typeof service === "string") {
      const absent = [`ours (${service})`];
      const shared = { question, unit: "ms", better: "less", goal } as const;
      answers.push({ ...shared, figures: [], absent, notes: [] });
      continue;
    }
    const samples: number[] = [];
    answers.push(
      await ask({
        question,
        unit: "ms",
        better: "less",
        goal,
        on: "HTTP, code policy, limits, measured usage",
        rounds: sized(5, 2),
        contenders: [paced(service, { language, level, samples }), cold(language)],
      }),
    );
    answers.at(-1)?.notes.push(`${level}, ${language}: ${quantiles(samples)}`);
  }
  if (typeof service !== "string") await service[Symbol.asyncDispose]();
}
tell(...answers);

function paced(
  service: BenchService,
  { language, level, samples }: { language: SnippetLanguage; level: string; samples: number[] },
): Contender {
  const body = bodyOf(language);
  const count = (paceMs[level] ?? 0) > 200 ? sized(10, 2) : sized(40, 5);
  return {
    name: "edgedag serve",
    isOurs: true,
    round: async () => {
      const round: number[] = [];
      for (let i = 0; i < count; i += 1) {
        await delay(paceMs[level]);
        const { ms, body: text } = await service.run(body);
        if (!text.includes('"status":"success"')) throw new Error(text.slice(0, 300));
        round.push(ms);
      }
      samples.push(...round);
      return median(round);
    },
  };
}

function cold(language: SnippetLanguage): Contender {
  const [program, ...args] = coldPrograms[language];
  return {
    name: `${program === process.execPath ? "node" : program} started cold, no isolation`,
    round: async () => {
      const round: number[] = [];
      for (let i = 0; i < sized(10, 3); i += 1) {
        const from = performance.now();
        await new Promise((resolve, reject) => {
          const child = spawn(program, args, { stdio: "ignore" });
          child.once("exit", resolve);
          child.once("error", reject);
        });
        round.push(performance.now() - from);
      }
      return median(round);
    },
  };
}

function quantiles(samples: readonly number[]): string {
  const sorted = samples.toSorted((a, b) => a - b);
  const at = (share: number) =>
    short(sorted[Math.floor((sorted.length - 1) * share)] ?? Number.NaN);
  return `p50 ${at(0.5)}, p95 ${at(0.95)}, p99 ${at(0.99)}, most ${at(1)} ms of ${sorted.length}`;
}
