// What does it cost to hand a text of 1 MiB from task to task? With a master every one of them is a
// result that is shipped; without one they only pass through shared memory.
// usage: node test/bench/handover.ts [--quick]
import { allOn, BenchAgent } from "./bench-agent.ts";
import { artifactOf, chainOf } from "./documents.ts";
import { ask, sized, tell } from "./frame.ts";
import { MeasuredRuns } from "./measured-runs.ts";
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
await using alone = await BenchAgent.start({ hasMaster: false });
await using peers = new Peers();

const artifact = await artifactOf(
  chainOf(count, (before, i) =>
    i === 0
      ? { python: "values.py:make" }
      : { python: "values.py:same", args: { text: `{{ needs.${before}.result }}` } },
  ),
  { "values.py": source },
);
const shipped = new MeasuredRuns({ agent, artifact, count });
const local = new MeasuredRuns({ agent: alone, artifact, count, name: "edgedag without a master" });
const answer = await ask({
  question: `chain of ${count} Python functions, a text of 1 MiB handed on`,
  unit: "ms a task",
  better: "less",
  goal: 0.5,
  on: allOn,
  rounds: sized(9, 2),
  contenders: [shipped.contender, local.contender, ...(await peers.python("handover", count))],
});
shipped.addTo(answer);
local.addTo(answer);
answer.absent.push(...peers.absent);
tell(answer);
