// What does the service carry? Closed loops of callers (autocannon) at each level, for two sizes of
// the pool; then 10,000 requests that are good, crashing, hanging, greedy and hostile in turn. Prints
// tables for docs/performance.md. Every answer is looked at: a wrong one ends it.
// usage: node test/bench/service-load.ts [--quick] [--levels=seccomp,gvisor] [--part=load|mix]
import { readdirSync } from "node:fs";
import autocannon from "autocannon";
import type { BoxLevel } from "../../agent/exec/isolation/box.ts";
import { BenchService, bodyOf, type SnippetLanguage } from "./bench-service.ts";
import { isQuick, say, short } from "./frame.ts";

const all: readonly BoxLevel[] = ["subprocess", "seccomp", "docker", "gvisor"];
const optionOf = (name: string) =>
  process.argv.find((word) => word.startsWith(`--${name}=`))?.slice(name.length + 3);
const levels = all.filter((level) => optionOf("levels")?.split(",").includes(level) ?? true);
const part = optionOf("part");
const seconds = isQuick ? 2 : 8;

const lines: string[] = [];

async function load(): Promise<void> {
  lines.push(
    "| level | pool | language | callers | answers/s | p50 ms | p95 ms | p99 ms | busy |",
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
  );
  for (const level of levels) {
    for (const pool of isQuick ? [5] : [5, 20]) {
      const service = await BenchService.start({ level, pool });
      if (typeof service === "string") {
        lines.push(`| ${level} | ${pool} | - | - | not measured: ${service} |`);
        break;
      }
      await using _service = service;
      for (const language of ["python", "nodejs"] as const) {
        for (const callers of [1, 10, 100]) {
          const row = await closedLoop(service, language, callers);
          lines.push(`| ${level} | ${pool} | ${language} | ${callers} | ${row} |`);
          say(lines.at(-1) ?? "");
        }
      }
    }
  }
}

async function closedLoop(
  service: BenchService,
  language: SnippetLanguage,
  callers: number,
): Promise<string> {
  let busy = 0;
  let wrong: string | undefined;
  const instance = autocannon({
    url: `${service.url}/run`,
    method: "POST",
    headers: { "content-type": "application/json" },
    body: bodyOf(language),
    connections: callers,
    duration: seconds,
    timeout: 60,
    setupClient: (client) => {
      client.on("body", (body: Buffer) => {
        const text = body.toString("utf8");
        if (text.includes('"status":"success"')) return;
        if (text.includes('"exit_code":-10')) busy += 1;
        else wrong ??= text.slice(0, 300);
      });
    },
  });
  const result = await instance;
  if (wrong !== undefined) throw new Error(`a wrong answer: ${wrong}`);
  if (result.errors > 0) throw new Error(`${result.errors} requests had no answer`);
  const { p50, p97_5, p99 } = result.latency;
  const rate = (result.requests.total - busy) / result.duration;
  return `${short(rate)} | ${short(p50)} | ${short(p97_5)} (p97.5) | ${short(p99)} | ${busy}`;
}

interface Kind {
  name: string;
  share: number;
  body: string;
  expected(answer: { status: string; exit_code: number; stdout: string }): boolean;
}

const kinds: readonly Kind[] = [
  {
    name: "good",
    share: 60,
    body: bodyOf("python"),
    expected: ({ status }) => status === "success",
  },
  {
    name: "good (nodejs)",
    share: 20,
    body: bodyOf("nodejs"),
    expected: ({ status }) => status === "success",
  },
  {
    name: "throws",
    share: 6,
    body: bodyOf("python", "def main():\n    raise ValueError('no')\n"),
    expected: ({ status }) => status === "program_error",
  },
  {
    name: "crashes",
    share: 4,
    body: bodyOf("python", "import sys\ndef main():\n    sys.exit(7)\n"),
    expected: ({ status, exit_code: code }) => status === "program_error" && code === 7,
  },
  {
    name: "hangs",
    share: 3,
    body: bodyOf("python", "def main():\n    while True: pass\n"),
    expected: ({ exit_code: code }) => code === -124,
  },
  {
    name: "greedy",
    share: 3,
    body: bodyOf("python", "def main():\n    return len('x' * (1 << 30))\n"),
    expected: ({ status }) => status === "resource_limit_exceeded",
  },
  {
    name: "floods",
    share: 2,
    body: bodyOf("python", "def main():\n    while True: print('x' * 10000)\n"),
    expected: ({ status }) => status === "resource_limit_exceeded",
  },
  {
    name: "unsafe",
    share: 2,
    body: bodyOf("python", "import os\ndef main():\n    os.system('id')\n"),
    expected: ({ exit_code: code }) => code === -999,
  },
];

async function mix(): Promise<void> {
  const level = levels.includes("seccomp") ? "seccomp" : (levels[0] ?? "seccomp");
  const total = isQuick ? 500 : 10_000;
  const service = await BenchService.start({
    level,
    pool: 8,
    env: { EDGEDAG_SNIPPET_TIMEOUT: "500ms", EDGEDAG_SNIPPET_OUTPUT: "256Ki" },
  });
  if (typeof service === "string") {
    lines.push(`the mix was not measured: ${service}`);
    return;
  }
  await using _service = service;
  const order = Array.from({ length: total }, (_, i) => kindAt((i * 37) % 100));
  const counts = new Map<string, { right: number; wrong: string[] }>();
  const rss: number[] = [];
  const latencies: number[] = [];
  let next = 0;
  const from = performance.now();
  const lane = async (): Promise<void> => {
    while (next < order.length) {
      const at = next;
      next += 1;
      const kind = order[at];
      if (kind === undefined) return;
      const { ms, body } = await service.run(kind.body);
      latencies.push(ms);
      const count = counts.get(kind.name) ?? { right: 0, wrong: [] };
      counts.set(kind.name, count);
      if (kind.expected(JSON.parse(body))) count.right += 1;
      else count.wrong.push(body.slice(0, 200));
      if (at % Math.ceil(total / 10) === 0) {
        rss.push(service.rssMiB);
        say(`${at} of ${total}: ${Math.round(service.rssMiB)} MiB`);
      }
    }
  };
  await Promise.all(Array.from({ length: 16 }, lane));
  const wallS = (performance.now() - from) / 1000;
  latencies.sort((a, b) => a - b);
  const at = (share: number) => short(latencies[Math.floor((total - 1) * share)] ?? Number.NaN);
  lines.push(
    "",
    `${total} requests of 16 callers at level ${level}, pool 8, time limit 500 ms: ${short(wallS)} s, ${short(total / wallS)} answers/s, p50 ${at(0.5)}, p95 ${at(0.95)}, p99 ${at(0.99)} ms; resident memory of the service at each tenth: ${rss.map(Math.round).join(", ")} MiB; descriptors at the end: ${readdirSync(`/proc/${service.pid}/fd`).length}`,
    "",
    "| kind | right | wrong |",
    "| --- | --- | --- |",
  );
  for (const [name, { right, wrong }] of counts) {
    lines.push(
      `| ${name} | ${right} | ${wrong.length}${wrong.length > 0 ? `: ${wrong[0]}` : ""} |`,
    );
  }
}

function kindAt(percent: number): Kind | undefined {
  let sum = 0;
  return kinds.find(({ share }) => {
    sum += share;
    return percent < sum;
  });
}

// Last: what is called here stands above as constants too.
if (part !== "mix") await load();
if (part !== "load") await mix();
process.stdout.write(`${lines.join("\n")}\n`);
