// What does an agent take that is connected to a master and has nothing to do? Memory, CPU time and
// wake-ups of the agent with its launcher, as installed, at the default heartbeat.
// usage: node test/bench/idle.ts [--quick]
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { root } from "./bench-agent.ts";
import { BenchMaster } from "./bench-master.ts";
import { type Answer, say, sized, tell } from "./frame.ts";
import { figuresOf } from "./process-figures.ts";

const windowMs = sized(5000, 1000);
const windows = sized(4, 2);
const folder = mkdtempSync(join(tmpdir(), "bench-"));
const master = await BenchMaster.start(join(folder, "master"));
const env = {
  PATH: process.env.PATH,
  HOME: folder,
  EDGEDAG_NODE: "bench",
  EDGEDAG_MASTER: master.url,
  EDGEDAG_STATE: join(folder, "state"),
  EDGEDAG_RUNTIME: folder,
};
say("idle agent, connected to a master");
const agent = spawn(join(root, "bin/edgedag"), ["agent"], { env, stdio: "ignore" });
const ended = new Promise((resolve) => agent.once("exit", resolve));
try {
  if (agent.pid === undefined) throw new Error("the agent cannot be started");
  await master.connected();
  await sleep(sized(3000, 500)); // what its start left to do
  const memory: number[] = [];
  const cpu: number[] = [];
  const wakeUps: number[] = [];
  let before = figuresOf(agent.pid);
  for (let i = 0; i < windows; i += 1) {
    const from = performance.now();
    await sleep(windowMs);
    const after = figuresOf(agent.pid);
    const ms = performance.now() - from;
    memory.push(after.pssBytes / 2 ** 20);
    cpu.push(((after.cpuMs - before.cpuMs) / ms) * 100);
    wakeUps.push(((after.wakeUps - before.wakeUps) / ms) * 1000);
    before = after;
  }
  const parts = before.parts.map((p) => `${p.name} ${(p.pssBytes / 2 ** 20).toFixed(1)} MiB`);
  tell(
    answerOf("memory (PSS)", { unit: "MiB", goal: 60, samples: memory, notes: [parts.join(", ")] }),
    answerOf("CPU", { unit: "%", goal: 0.1, samples: cpu, notes: [] }),
    answerOf("wake-ups", { unit: "a second", goal: 2, samples: wakeUps, notes: [] }),
  );
} finally {
  agent.kill("SIGTERM");
  await ended;
  await master.stop();
  rmSync(folder, { recursive: true });
}

function answerOf(
  what: string,
  of: { unit: string; goal: number; samples: number[]; notes: string[] },
): Answer {
  const { unit, goal, samples, notes } = of;
  return {
    question: `idle agent with its launcher: ${what}`,
    unit,
    better: "less",
    goal,
    on: `all; windows of ${windowMs / 1000} s`,
    figures: [{ name: "edgedag", isOurs: true, samples }],
    absent: [],
    notes,
  };
}
