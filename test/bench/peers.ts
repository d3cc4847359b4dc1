// Other programs beside ours: peers that stay alive and do one round for every line on stdin, and
// commands that do one round each. Everything that is started here ends with `close`.
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { type Contender, timed } from "./frame.ts";

const exec = promisify(execFile);

/** Where scripts/bench-peers installs what a machine does not have. */
const installed = join(import.meta.dirname, "../../build/bench");

/** Names for people, and for peers.py; what has a scheduler of its own is busy between its rounds. */
const pythonPeers = {
  "multiprocessing.Pool": { peer: "pool", works: ["chain", "fan-out", "handover"], isBusy: false },
  ProcessPoolExecutor: { peer: "executor", works: ["chain", "fan-out", "handover"], isBusy: false },
  "Ray tasks": { peer: "ray-tasks", works: ["chain", "fan-out", "handover"], isBusy: true },
  "Ray actors": { peer: "ray-actors", works: ["chain", "fan-out", "handover"], isBusy: true },
  "Ray compiled graph": { peer: "ray-graph", works: ["chain", "handover"], isBusy: true },
  Dask: { peer: "dask", works: ["chain", "fan-out", "handover"], isBusy: true },
  HyperQueue: { peer: "hyperqueue", works: ["true"], isBusy: true },
};

export type PythonWork = "chain" | "fan-out" | "handover" | "true";

function pythonProgram(): string {
  const own = join(installed, "venv/bin/python");
  return process.env.BENCH_PYTHON ?? (existsSync(own) ? own : "python3");
}

export class Peers implements AsyncDisposable {
  readonly #children: ChildProcess[] = [];
  /** Those that cannot take part, with the reason. */
  readonly absent: string[] = [];

  /** All of peers.py that are installed; ours goes first. */
  async python(work: PythonWork, count: number): Promise<Contender[]> {
    const found: Contender[] = [];
    for (const [name, { peer, works, isBusy }] of Object.entries(pythonPeers)) {
      if (!works.includes(work)) continue;
      const argv = [join(import.meta.dirname, "peers.py"), peer, work, String(count)];
      const contender = isBusy
        ? this.#late(name, pythonProgram(), argv)
        : await this.lines(name, pythonProgram(), argv);
      if (contender !== undefined) found.push(contender);
    }
    return found;
  }

  /** It is started by its first round, and ended after its last. */
  #late(name: string, program: string, argv: string[]): Contender {
    let started: Contender | undefined;
    return {
      name,
      isBusy: true,
      round: async () => {
        started ??= await this.lines(name, program, argv);
        if (started === undefined) throw new Error(this.absent.pop() ?? "it did not start");
        return started.round();
      },
      end: async () => started?.end?.(),
    };
  }

  /** A program that says `ready`, and then a figure for every line that it gets. */
  async lines(name: string, program: string, argv: string[]): Promise<Contender | undefined> {
    const child = spawn(program, argv, { stdio: ["pipe", "pipe", "pipe"] });
    this.#children.push(child);
    let problem = "";
    child.on("error", (error) => {
      problem = error.message;
    });
    child.stderr.on("data", (chunk: Buffer) => {
      problem = `${problem}${chunk}`.slice(-1000);
    });
    child.stdin.on("error", (error) => {
      problem ||= error.message;
    });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const first = await lines.next();
    if (first.value !== "ready") {
      this.absent.push(`${name} (${problem.trim().split("\n").at(-1)})`);
      return undefined;
    }
    return {
      name,
      round: async () => {
        child.stdin.write("\n");
        const line = await lines.next();
        if (line.done === true) throw new Error(problem.trim().split("\n").at(-1));
        return Number(line.value);
      },
      end: () => ended(child),
    };
  }

  /** One command a round; the figure is its milliseconds by `count`. */
  async command(
    name: string,
    argv: readonly [string, ...string[]],
    options: { count: number; cwd?: string },
  ): Promise<Contender | undefined> {
    const [program, ...rest] = argv;
    try {
      await exec("sh", ["-c", `command -v ${program}`]);
    } catch {
      this.absent.push(`${name} (not installed)`);
      return undefined;
    }
    const { count, cwd } = options;
    const run = () =>
      exec(program, rest, { timeout: 60_000, ...(cwd === undefined ? {} : { cwd }) });
    return { name, round: async () => (await timed(run)) / count };
  }

  /** A package of npm that may not be installed. */
  async optional<T>(name: string, make: (loaded: T) => Contender): Promise<Contender[]> {
    const folder = join(installed, "node_modules", name);
    if (!existsSync(folder)) {
      this.absent.push(`${name} (not installed)`);
      return [];
    }
    const { main } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    return [make((await import(join(folder, main))) as T)];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) await ended(child);
  }
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const end = new Promise((resolve) => child.once("exit", resolve));
  // The end of stdin is the polite way, in which pools take their processes along.
  child.stdin?.end();
  const net = setTimeout(() => child.kill("SIGKILL"), 15_000);
  await end;
  clearTimeout(net);
}
