// Where does the agent's main thread spend its time, task by task? From V8's profile of whole runs,
// by the part of the program that was on top; what waits is left out.
// usage: node --expose-gc test/bench/where.ts [--quick]
import { Session } from "node:inspector/promises";
import { allOn, BenchAgent } from "./bench-agent.ts";
import { artifactOf, chainOf, fanOf, type TaskText } from "./documents.ts";
import { type Answer, say, sized, tell } from "./frame.ts";

const rounds = sized(9, 2);

/** The first that fits the place of a function; `file:line` of ours, `node:...` of Node.js. */
const parts: readonly [name: string, pattern: RegExp][] = [
  ["garbage collection", /^\(garbage collector\)/],
  ["log", /agent\/log\//],
  [
    "journal and outbox (text, checksum, SQLite)",
    /agent\/journal\/|row-sum|protocol\/outbox|node:sqlite/,
  ],
  ["link", /agent\/link\/|worker_threads|internal\/worker|postMessage/],
  ["scheduler", /agent\/core\//],
  [
    "template, environment, inputs",
    /attempt-(factory|values|scope)|task-plan|protocol\/template|secret|sandbox-plan/,
  ],
  ["workers: calls and answers", /exec\/workers\//],
  ["launcher: commands and events", /exec\/launcher\//],
  [
    "sockets and event loop",
    /node:(net|events|internal\/stream|internal\/process|buffer)|writeBuffer|writev|^read /,
  ],
  ["attempt to its end, report", /agent\//],
  ["document: load, check, digest", /protocol\//],
];

interface Profile {
  nodes: { id: number; callFrame: { functionName: string; url: string; lineNumber: number } }[];
  samples: number[];
  timeDeltas: number[];
}

function add(profile: Profile, to: Map<string, number>): void {
  const names = new Map(
    profile.nodes.map(({ id, callFrame }) => {
      const place = `${callFrame.functionName} ${callFrame.url}`;
      const isOut =
        /^\((idle|program|root)\)/.test(place) || /undici|inspector|bench\//.test(place);
      const name = parts.find(([, pattern]) => pattern.test(place))?.[0] ?? "other";
      return [id, isOut ? undefined : name];
    }),
  );
  for (const [i, sample] of profile.samples.entries()) {
    const name = names.get(sample);
    if (name !== undefined) to.set(name, (to.get(name) ?? 0) + (profile.timeDeltas[i] ?? 0));
  }
}

async function row(
  what: string,
  of: { count: number; tasks: { [id: string]: TaskText }; files?: { [path: string]: string } },
): Promise<Answer> {
  const { count, tasks, files } = of;
  await using agent = await BenchAgent.start({ hasMaster: true });
  const artifact = await artifactOf(tasks, files);
  for (let i = 0; i < 3; i += 1) await agent.run(artifact);
  const session = new Session();
  session.connect();
  await session.post("Profiler.enable");
  await session.post("Profiler.setSamplingInterval", { interval: 100 });
  const samples = new Map<string, number[]>(parts.map(([name]) => [name, []]));
  for (let i = 0; i < rounds; i += 1) {
    await session.post("Profiler.start");
    await agent.run(artifact);
    const { profile } = (await session.post("Profiler.stop")) as { profile: Profile };
    const times = new Map<string, number>();
    add(profile, times);
    for (const [name, list] of samples) list.push((times.get(name) ?? 0) / count);
  }
  session.disconnect();
  say(what);
  return {
    question: `where the main thread's time goes: ${what}`,
    unit: "us a task",
    better: "less",
    on: allOn,
    figures: [...samples].map(([name, list]) => ({ name, isOurs: true, samples: list })),
    absent: [],
    notes: ["whole runs, the profiler's own cost in them; what a run costs once is shared out"],
  };
}

const functions = sized(5000, 500);
const processes = sized(1000, 100);
tell(
  await row("chain of no-op Python functions", {
    count: functions,
    tasks: chainOf(functions, () => ({ python: "noop.py:noop" })),
    files: { "noop.py": "def noop():\n    return None\n" },
  }),
  await row("/bin/true, 2 at a time", {
    count: processes,
    tasks: fanOf(processes, { command: ["/bin/true"] }),
  }),
);
