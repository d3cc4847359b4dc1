// What does a task cost when many functions that do nothing are ready at once, with two slots and a
// task that joins them? Once as tasks of their own, once as one task with `map`.
// usage: node test/bench/fan-out.ts [--quick]
import { allOn, BenchAgent } from "./bench-agent.ts";
import { artifactOf, fanOf, warmUp } from "./documents.ts";
import { type Answer, ask, sized, tell } from "./frame.ts";
import { MeasuredRuns } from "./measured-runs.ts";
import { Peers } from "./peers.ts";

const files = { "noop.py": "def noop():\n    return None\n" };
const python = "noop.py:noop";

await using agent = await BenchAgent.start({ hasMaster: true });
await using peers = new Peers();

async function row(count: number, rounds: number): Promise<Answer> {
  const fan = fanOf(count, { python });
  const items = Array.from({ length: count }, (_, i) => i);
  const single = new MeasuredRuns({
    agent,
    artifact: await artifactOf({ ...fan, join: { python, needs: Object.keys(fan) } }, files),
    count,
  });
  const mapped = new MeasuredRuns({
    agent,
    artifact: await artifactOf(
      { fan: { python, needs: [warmUp], map: items }, join: { python, needs: ["fan"] } },
      files,
    ),
    count,
    name: "edgedag, one task with map",
  });
  const others = await peers.python("fan-out", count);
  const answer = await ask({
    question: `fan-out of ${count.toLocaleString("en-US")} no-op Python functions and join, 2 slots`,
    unit: "ms a task",
    better: "less",
    goal: 0.01,
    on: allOn,
    rounds,
    warmUps: 3,
    contenders: [
      single.contender,
      mapped.contender,
      // Those that take minutes are beside the smaller one.
      ...others.filter(({ isBusy }) => count <= 1000 || isBusy !== true),
    ],
  });
  single.addTo(answer);
  mapped.addTo(answer);
  answer.absent.push(...peers.absent);
  return answer;
}

tell(await row(sized(1000, 100), sized(11, 3)), await row(sized(10_000, 200), sized(5, 1)));
