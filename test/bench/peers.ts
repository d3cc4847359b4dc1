// Other programs beside ours: peers that stay alive and do one round for every line on stdin, and
// commands that do one round each. Everything that is started here ends with `close`.
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { type Contender, messageOf, timed } from "./frame.ts";

const exec = promisify(execFile);

/** Names for people, and for peers.py. */
const pythonPeers = {
  "multiprocessing.Pool": "pool",
  ProcessPoolExecutor: "executor",
  "Ray tasks": "ray-tasks",
  "Ray actors": "ray-actors",
  Dask: "dask",
};

export class Peers implements AsyncDisposable {
  readonly #children: ChildProcess[] = [];
  /** Those that cannot take part, with the reason. */
  readonly absent: string[] = [];

  /** All of peers.py that are installed; ours goes first. */
  async python(work: "chain" | "fan-out" | "handover", count: number): Promise<Contender[]> {
    const found: Contender[] = [];
    for (const [name, peer] of Object.entries(pythonPeers)) {
      const argv = [join(import.meta.dirname, "peers.py"), peer, work, String(count)];
      const contender = await this.lines(name, process.env.BENCH_PYTHON ?? "python3", argv);
      if (contender !== undefined) found.push(contender);
    }
    return found;
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
  async optional<T>(name: string, load: () => Promise<T>): Promise<T | undefined> {
    try {
      return await load();
    } catch (error) {
      if (!messageOf(error).includes("Cannot find package")) throw error;
      this.absent.push(`${name} (not installed)`);
      return undefined;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) {
      if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) continue;
      const ended = new Promise((resolve) => child.once("exit", resolve));
      // The end of stdin is the polite way, in which pools take their processes along.
      child.stdin?.end();
      const net = setTimeout(() => child.kill("SIGKILL"), 5000);
      await ended;
      clearTimeout(net);
    }
  }
}
