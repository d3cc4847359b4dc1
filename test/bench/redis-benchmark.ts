// GET and SET by redis-benchmark over a Unix socket: our store beside redis-server, in turns.
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { type Answer, ask, sized } from "./frame.ts";

const exec = promisify(execFile);

// Enough of each for a quarter of a second or more.
const shapes = [
  { clients: 1, pipeline: 1, requests: 10_000, goal: 0.95 },
  { clients: 50, pipeline: 1, requests: 50_000, goal: 0.95 },
  { clients: 1, pipeline: 16, requests: 150_000, goal: 0.6 },
  { clients: 50, pipeline: 16, requests: 400_000, goal: 0.6 },
];

interface Load {
  clients: number;
  pipeline: number;
  requests: number;
  command: "set" | "get";
}

async function perSecond(socketPath: string, load: Load): Promise<number> {
  const { clients, pipeline, requests, command } = load;
  const counts = ["-c", `${clients}`, "-P", `${pipeline}`, "-n", `${requests}`];
  const args = ["-s", socketPath, "-t", command, "--csv", ...counts];
  const { stdout } = await exec("redis-benchmark", args, { timeout: 60_000 });
  return Number(/^"(?:GET|SET)","([0-9.]+)"/m.exec(stdout)?.[1]);
}

export interface Sockets {
  ours: string;
  redis: string;
}

/** `what` begins each question, `note` follows each goal. */
export async function askBoth(
  { ours, redis }: Sockets,
  { what, note = "", on }: { what: string; note?: string; on?: string },
): Promise<Answer[]> {
  // Both warm up: a first round would measure the compiler of V8, and the first faults of memory.
  for (const path of [ours, redis]) {
    for (const command of ["set", "get"] as const) {
      const requests = sized(200_000, 20_000);
      await perSecond(path, { clients: 20, pipeline: 16, requests, command });
    }
  }
  const answers: Answer[] = [];
  for (const { goal, ...shape } of shapes) {
    for (const command of ["set", "get"] as const) {
      const load = { ...shape, requests: sized(shape.requests, shape.requests / 10), command };
      const of = `${shape.clients} ${shape.clients === 1 ? "client" : "clients"}`;
      const answer = await ask({
        question: `${what}: ${command.toUpperCase()}, ${of}, pipeline of ${shape.pipeline}`,
        unit: "a second",
        better: "more",
        ...(on === undefined ? {} : { on }),
        rounds: sized(5, 1),
        warmUps: 0,
        contenders: [
          { name: "edgedag", isOurs: true, round: () => perSecond(ours, load) },
          { name: "redis-server", round: () => perSecond(redis, load) },
        ],
      });
      answer.notes.push(`goal: ${goal * 100} % of redis-server${note}`);
      answers.push(answer);
    }
  }
  return answers;
}
