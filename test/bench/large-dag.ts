// A million tasks: how long to load and validate the document, beside graphology alone, and what does
// a task cost, and how much memory, when they are run as functions that do nothing?
// usage: node --expose-gc --max-old-space-size=12000 test/bench/large-dag.ts [--quick]
import { BenchAgent, localOn } from "./bench-agent.ts";
import { artifactOf, type TaskText, warmUp } from "./documents.ts";
import { type Answer, ask, sized, tell } from "./frame.ts";
import { loadingRow } from "./loading.ts";

/** Chains of a hundred, side by side. */
function chainsOf(count: number): { [id: string]: TaskText } {
  const tasks: { [id: string]: TaskText } = {};
  for (let i = 0; i < count; i += 1) {
    tasks[`t${i}`] = { needs: [i % 100 === 0 ? warmUp : `t${i - 1}`], python: "noop.py:noop" };
  }
  return tasks;
}

async function running(count: number, rounds: number): Promise<Answer> {
  await using agent = await BenchAgent.start({ hasMaster: false });
  const files = { "noop.py": "def noop():\n    return None\n" };
  const artifact = await artifactOf(chainsOf(count), files);
  globalThis.gc?.();
  const before = process.memoryUsage().heapUsed;
  let most = before;
  const look = setInterval(() => {
    most = Math.max(most, process.memoryUsage().heapUsed);
  }, 100);
  const answer = await ask({
    question: `${count.toLocaleString("en-US")} no-op Python functions in chains of 100, 2 slots`,
    unit: "ms a task",
    better: "less",
    goal: 0.01,
    on: localOn,
    rounds,
    warmUps: count > 100_000 ? 0 : 1,
    contenders: [
      {
        name: "edgedag",
        isOurs: true,
        round: async () => (await agent.run(artifact)).tasksMs / count,
      },
    ],
  });
  clearInterval(look);
  const bytes = Math.round((most - before) / count);
  answer.notes.push(
    `${bytes} bytes a task more on the heap than the document's, at most, garbage included`,
  );
  return answer;
}

const loading = { size: sized(1_000_000, 10_000), goal: 11, rounds: sized(3, 1), warmUps: 0 };
const answers = [await loadingRow(loading)];
answers.push(await running(sized(100_000, 2000), sized(5, 1)));
answers.push(await running(sized(999_900, 4000), 1));
tell(...answers);
