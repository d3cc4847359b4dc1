// What does it cost to hand a text of 1 MiB, and one of 64 MiB, from task to task? With a master every
// one of them is a result that is shipped; without one they only pass through shared memory.
// usage: node test/bench/handover.ts [--quick]
import { allOn, BenchAgent, localOn } from "./bench-agent.ts";
import { artifactOf, chainOf } from "./documents.ts";
import { type Answer, ask, sized, tell } from "./frame.ts";
import { MeasuredRuns } from "./measured-runs.ts";
import { Peers } from "./peers.ts";

const count = sized(50, 10);

const artifactFor = (bytes: number) =>
  artifactOf(
    chainOf(count, (before, i) =>
      i === 0
        ? { python: "values.py:make" }
        : { python: "values.py:same", args: { text: `{{ needs.${before}.result }}` } },
    ),
    {
      "values.py": `def make():
    return "x" * ${bytes}


def same(text):
    if len(text) != ${bytes}:
        raise ValueError("the value was not handed on")
    return text
`,
    },
  );

async function small(): Promise<Answer> {
  await using agent = await BenchAgent.start({ hasMaster: true });
  await using alone = await BenchAgent.start({ hasMaster: false });
  await using peers = new Peers();
  const artifact = await artifactFor(2 ** 20);
  const shipped = new MeasuredRuns({ agent, artifact, count });
  const local = new MeasuredRuns({
    agent: alone,
    artifact,
    count,
    name: "edgedag without a master",
  });
  const answer = await ask({
    question: `chain of ${count} Python functions, a text of 1 MiB handed on`,
    unit: "ms a task",
    better: "less",
    goal: 0.3,
    on: allOn,
    rounds: sized(9, 2),
    contenders: [shipped.contender, local.contender, ...(await peers.python("handover", count))],
  });
  shipped.addTo(answer);
  local.addTo(answer);
  answer.absent.push(...peers.absent);
  return answer;
}

async function large(): Promise<Answer> {
  await using agent = await BenchAgent.start({ hasMaster: false });
  const bytes = 2 ** 26;
  const runs = new MeasuredRuns({
    agent,
    artifact: await artifactFor(bytes),
    count,
    name: "edgedag without a master",
  });
  const from = Buffer.alloc(bytes, "x");
  const to = Buffer.alloc(bytes);
  const answer = await ask({
    question: `chain of ${count} Python functions, a text of 64 MiB handed on`,
    unit: "ms a task",
    better: "less",
    on: localOn,
    rounds: sized(3, 1),
    contenders: [
      runs.contender,
      {
        name: "64 MiB copied once in memory",
        round: () => {
          const start = performance.now();
          for (let i = 0; i < count; i += 1) from.copy(to);
          return (performance.now() - start) / count;
        },
      },
    ],
  });
  answer.notes.push("goal: at memory speed");
  return runs.addTo(answer);
}

tell(await small(), await large());
