// What does a task cost in a chain of functions that do nothing, in Python and in Node.js?
// usage: node test/bench/chain.ts [--quick]
import { fork } from "node:child_process";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { allOn, BenchAgent } from "./bench-agent.ts";
import { artifactOf, chainOf } from "./documents.ts";
import { ask, type Contender, sized, tell, timed } from "./frame.ts";
import { MeasuredRuns } from "./measured-runs.ts";
import { Peers } from "./peers.ts";

const count = sized(200, 50);
const rounds = sized(21, 3);
// The peers send one call and wait for its reply; what they pay is a round trip a task.
await using agent = await BenchAgent.start({ hasMaster: true });
await using peers = new Peers();

const sources = {
  python: { "noop.py": "def noop():\n    return None\n" },
  node: { "noop.ts": "export function noop(): null {\n  return null;\n}\n" },
};

async function ours(runtime: "python" | "node"): Promise<MeasuredRuns> {
  const [file = ""] = Object.keys(sources[runtime]);
  const tasks = chainOf(count, () => ({ [runtime]: `${file}:noop` }));
  return new MeasuredRuns({ agent, artifact: await artifactOf(tasks, sources[runtime]), count });
}

interface Echo {
  send(value: number): unknown;
  onReply(listener: () => void): unknown;
}

/** One message to and fro a task. */
function echo(name: string, { send, onReply }: Echo): Contender {
  let wake = () => {};
  onReply(() => wake());
  const all = async () => {
    for (let i = 0; i < count; i += 1) {
      const reply = new Promise<void>((resolve) => {
        wake = resolve;
      });
      send(i);
      await reply;
    }
  };
  return { name, round: async () => (await timed(all)) / count };
}

const echoFile = join(import.meta.dirname, "echo.ts");
const child = fork(echoFile);
const worker = new Worker(echoFile);
interface Pool {
  run(value: number): Promise<unknown>;
  destroy(): Promise<void>;
}
type MakePool = new (options: object) => Pool;

/** A pool of two threads that is given one call after the other. */
function pooled(name: string, Made: MakePool): Contender {
  const pool = new Made({ filename: echoFile, name: "noop", minThreads: 2, maxThreads: 2 });
  const all = async () => {
    for (let i = 0; i < count; i += 1) await pool.run(i);
  };
  return { name, round: async () => (await timed(all)) / count, end: () => pool.destroy() };
}

const pools = [
  ...(await peers.optional<{ Tinypool: MakePool }>("tinypool", ({ Tinypool }) =>
    pooled("tinypool", Tinypool),
  )),
  ...(await peers.optional<{ default: MakePool }>("piscina", (piscina) =>
    pooled("piscina", piscina.default),
  )),
];
const absentPools = [...peers.absent];

async function chainOfCalls(options: {
  runtime: "python" | "node";
  title: string;
  goal: number;
  contenders: readonly Contender[];
}) {
  const { runtime, title, goal, contenders } = options;
  const runs = await ours(runtime);
  const answer = await ask({
    question: `chain of ${count} no-op ${title} functions`,
    unit: "ms a task",
    better: "less",
    goal,
    on: allOn,
    rounds,
    warmUps: 3,
    contenders: [runs.contender, ...contenders],
  });
  return runs.addTo(answer);
}

const python = await chainOfCalls({
  runtime: "python",
  title: "Python",
  goal: 0.01,
  contenders: await peers.python("chain", count),
});
python.absent.push(...peers.absent.filter((name) => !absentPools.includes(name)));
const node = await chainOfCalls({
  runtime: "node",
  title: "Node.js",
  goal: 0.008,
  contenders: [
    echo("fork and IPC", {
      send: (value) => child.send(value),
      onReply: (listener) => child.on("message", listener),
    }),
    echo("worker thread, postMessage", {
      send: (value) => worker.postMessage(value),
      onReply: (listener) => worker.on("message", listener),
    }),
    ...pools,
  ],
});
node.absent.push(...absentPools);
child.kill();
await worker.terminate();
tell(python, node);
