// How fast does output go from a task's stdout to the combined log, line by line, nothing lost,
// beside `cat` through a pipe to a file?
// usage: node --expose-gc test/bench/log.ts [--quick]
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { BenchAgent, localOn } from "./bench-agent.ts";
import { artifactOf, warmUp } from "./documents.ts";
import { ask, sized, tell, timed } from "./frame.ts";

const lineBytes = 100;
const lines = sized(1_000_000, 50_000);
const megabytes = (lines * lineBytes) / 1e6;
const source = `yes ${"x".repeat(lineBytes - 1)} | head -n ${lines}`;

await using agent = await BenchAgent.start({ hasMaster: false });
const artifact = await artifactOf({ writer: { needs: [warmUp], shell: source } });

async function ours(): Promise<number> {
  const { wallMs } = await agent.run(artifact);
  const log = `cat '${agent.logFolder()}'/*.ndjson | grep -c '"task":"writer"'`;
  const found = Number(execFileSync("sh", ["-c", log]).toString());
  if (found < lines) throw new Error(`${lines - found} lines of the log are missing`);
  agent.forgetRun();
  return (megabytes * 1000) / wallMs;
}

const plain = `${source} | cat > '${join(agent.folder, "plain")}'`;
const answer = await ask({
  question: `log: one task writes ${megabytes} MB of lines of ${lineBytes} bytes`,
  unit: "MB/s",
  better: "more",
  goal: 200,
  on: localOn,
  rounds: sized(5, 2),
  contenders: [
    { name: "edgedag, to the NDJSON file", isOurs: true, round: ours },
    {
      name: "cat through a pipe to a file",
      round: async () =>
        (megabytes * 1000) / (await timed(() => execFileSync("sh", ["-c", plain]))),
    },
  ],
});
const peakMiB = Math.round(process.resourceUsage().maxRSS / 1024);
answer.notes.push(`the agent's process, this benchmark in it, took ${peakMiB} MiB at most`);
tell(answer);
