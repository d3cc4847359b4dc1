// What does it cost to hand a text of 1 MiB from task to task?
// usage: node test/bench/handover.ts [--quick]
import { allOn, artifactOf, BenchAgent, chainOf } from "./bench-agent.ts";
import { ask, sized, tell } from "./frame.ts";
import { Peers } from "./peers.ts";

const count = sized(50, 10);
const source = `def make():
    return "x" * 2**20


def same(text):
    if len(text) != 2**20:
        raise ValueError("the value was not handed on")
    return text
`;

await using agent = await BenchAgent.start({ hasMaster: true });
await using peers = new Peers();

const artifact = await artifactOf(
  chainOf(count, (before, i) =>
    i === 0
      ? { python: "values.py:make" }
      : { python: "values.py:same", args: { text: `{{ needs.${before}.result }}` } },
  ),
  { "values.py": source },
);
const answer = await ask({
  question: `chain of ${count} Python functions, a text of 1 MiB handed on`,
  unit: "ms a task",
  better: "less",
  goal: 0.5,
  on: allOn,
  rounds: sized(9, 2),
  contenders: [
    {
      name: "edgedag",
      isOurs: true,
      round: async () => (await agent.run(artifact)).wallMs / count,
    },
    ...(await peers.python("handover", count)),
  ],
});
answer.absent.push(...peers.absent);
tell(answer);
