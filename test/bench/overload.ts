// Many tasks, and tasks that write without end, in the real agent of this process: what the benches
// `soak` and `flood` share.
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import type { DagArtifact } from "../../protocol/artifact.ts";
import type { BenchAgent } from "./bench-agent.ts";
import { artifactOf, type TaskText, warmUp } from "./documents.ts";

export interface Kept {
  /** Open descriptors and threads of the agent and of what it has started and keeps. */
  descriptors: number;
  threads: number;
  processes: number;
  zombies: number;
  rssMiB: number;
}

/** A run of commands with output, Python and Node.js functions, side by side and in chains. */
export async function mixOf(tasks: number): Promise<DagArtifact> {
  const kinds: readonly TaskText[] = [
    { shell: 'echo "line of $EDGEDAG_TASK"' },
    { command: ["/bin/true"] },
    { python: "soak.py:work" },
    { node: "soak.ts:work" },
  ];
  const all: { [id: string]: TaskText } = {};
  for (let i = 0; i < tasks; i += 1) {
    // Ten chains; neighbours in one are of the same kind for a while, as in real DAGs.
    const before = i < 10 ? warmUp : `t${i - 10}`;
    all[`t${i}`] = { ...kinds[Math.floor(i / 100) % kinds.length], needs: [before] };
  }
  return await artifactOf(all, {
    "soak.py": "def work():\n    print('from Python')\n    return {'n': 1}\n",
    "soak.ts": "export function work() { console.log('from Node.js'); return { n: 1 }; }\n",
  });
}

/** What is there between two runs. */
export function keptNow(): Kept {
  globalThis.gc?.();
  const family = familyOf(process.pid);
  const count = (pid: number, folder: string) => readdirSync(`/proc/${pid}/${folder}`).length;
  return {
    descriptors: sum(family.alive.map((pid) => count(pid, "fd"))),
    threads: sum(family.alive.map((pid) => count(pid, "task"))),
    processes: family.alive.length,
    zombies: family.zombies,
    rssMiB: Math.round(process.memoryUsage.rss() / 2 ** 20),
  };
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

function familyOf(pid: number): { alive: number[]; zombies: number } {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  // The name before it may hold anything.
  if (stat.slice(stat.lastIndexOf(")") + 2).startsWith("Z")) return { alive: [], zombies: 1 };
  const found = { alive: [pid], zombies: 0 };
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const children = readFileSync(`/proc/${pid}/task/${thread}/children`, "latin1");
    for (const child of children.split(" ").filter(Boolean)) {
      const below = familyOf(Number(child));
      found.alive.push(...below.alive);
      found.zombies += below.zombies;
    }
  }
  return found;
}

export interface Flood {
  writers: number;
  /** Of each writer. */
  megabytes: number;
  /** Of each writer; absent: as fast as it is read. */
  megabytesPerSecond?: number;
  /** Commands in a chain beside it. */
  chain: number;
}

export interface FloodFigures {
  megabytesPerSecond: number;
  lostLines: number;
  /** From a task's end to the next one's start, of the whole run. */
  p50Ms: number;
  p99Ms: number;
  peakRssMiB: number;
}

const lineBytes = 100;

/** Writers that flood their stdout while a chain of commands goes on. */
export async function flood(agent: BenchAgent, what: Flood): Promise<FloodFigures> {
  const lines = Math.ceil((what.megabytes * 1e6) / lineBytes);
  const rate = what.megabytesPerSecond ?? 0;
  const writer = { needs: [warmUp], command: ["python3", "writer.py", `${lines}`, `${rate}`] };
  const tasks: { [id: string]: TaskText } = {};
  for (let i = 0; i < what.writers; i += 1) tasks[`writer${i}`] = writer;
  for (let i = 0; i < what.chain; i += 1) {
    tasks[`t${i}`] = { needs: [i === 0 ? warmUp : `t${i - 1}`], command: ["/bin/true"] };
  }
  const artifact = await artifactOf(tasks, { "writer.py": writerSource });
  const { tasksMs, summary } = await agent.run(artifact);
  // wc, because grep's count fails where there is none; a piece of a line is no line.
  const count = `cat '${agent.logFolder()}'/*.ndjson | grep '"task":"writer' | grep -v '"cut":true' | wc -l`;
  const found = Number(execFileSync("sh", ["-c", count]).toString());
  agent.forgetRun();
  return {
    megabytesPerSecond: (what.writers * what.megabytes * 1000) / tasksMs,
    lostLines: lines * what.writers - found,
    p50Ms: summary.interTaskP50Ms ?? Number.NaN,
    p99Ms: summary.interTaskP99Ms ?? Number.NaN,
    peakRssMiB: Math.round(process.resourceUsage().maxRSS / 1024),
  };
}

const writerSource = `
import sys, time
lines, rate = int(sys.argv[1]), float(sys.argv[2])
block = (b"x" * ${lineBytes - 1} + b"\\n") * 1000
start = time.monotonic()
for done in range(0, lines, 1000):
    sys.stdout.buffer.write(block[: min(1000, lines - done) * ${lineBytes}])
    if rate:
        ahead = (done + 1000) * ${lineBytes} / (rate * 1e6) - (time.monotonic() - start)
        if ahead > 0:
            time.sleep(ahead)
`;
