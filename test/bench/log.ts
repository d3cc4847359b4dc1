// How fast does output go from a task's stdout to the combined log, line by line, nothing lost,
// beside `cat` through a pipe to a file? From one task, and from a hundred at once.
// usage: node --expose-gc test/bench/log.ts [--quick]
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import type { DagArtifact } from "../../protocol/artifact.ts";
import { BenchAgent, localOn } from "./bench-agent.ts";
import { artifactOf, fanOf, warmUp } from "./documents.ts";
import { type Answer, ask, sized, tell, timed } from "./frame.ts";

const lineBytes = 100;
const lines = sized(10_000_000, 50_000);
const megabytes = (lines * lineBytes) / 1e6;
const size = megabytes >= 1000 ? `${megabytes / 1000} GB` : `${megabytes} MB`;
const writers = 100;

const writing = (count: number) => `yes ${"x".repeat(lineBytes - 1)} | head -n ${count}`;

async function row(question: string, of: { slots: number; artifact: DagArtifact; plain: string }) {
  await using agent = await BenchAgent.start({ hasMaster: false, slots: of.slots });
  const ours = async () => {
    const { tasksMs } = await agent.run(of.artifact);
    const log = `cat '${agent.logFolder()}'/*.ndjson | grep -c '"stream":"stdout"'`;
    const found = Number(execFileSync("sh", ["-c", log]).toString());
    // A line that is long in coming may be cut in two.
    if (found < lines) throw new Error(`${lines - found} lines of the log are missing`);
    agent.forgetRun();
    return (megabytes * 1000) / tasksMs;
  };
  const plain = of.plain.replaceAll("FILE", join(agent.folder, "plain"));
  const answer: Answer = await ask({
    question,
    unit: "MB/s",
    better: "more",
    goal: 200,
    on: localOn,
    rounds: sized(3, 1),
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
  return answer;
}

const each = lines / writers;
const at = `${writers} tasks write ${size} at once`;
const many = Array.from({ length: writers }, () => writing(each)).join(" & ");
tell(
  await row(`log: one task writes ${size} of lines of ${lineBytes} bytes`, {
    slots: 2,
    artifact: await artifactOf({ writer: { needs: [warmUp], shell: writing(lines) } }),
    plain: `${writing(lines)} | cat > 'FILE'`,
  }),
  await row(`log: ${at}`, {
    slots: writers,
    artifact: await artifactOf(fanOf(writers, { shell: writing(each) })),
    plain: `(${many} & wait) | cat > 'FILE'`,
  }),
);
