// `edgedag master` in a process of its own, and what the benchmarks ask of it.
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { findRoot } from "../../cli/surroundings.ts";
import { until } from "../rig/until.ts";

export class BenchMaster {
  readonly url: string;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, url: string) {
    this.#child = child;
    this.url = url;
  }

  static async start(dataDir: string): Promise<BenchMaster> {
    const env = { ...process.env, EDGEDAG_LISTEN: "127.0.0.1:0", EDGEDAG_DATA: dataDir };
    const child = spawn(join(findRoot(), "bin/edgedag"), ["master"], {
      env,
      stdio: ["ignore", "inherit", "pipe"],
    });
    const url = await new Promise<string>((resolve, reject) => {
      let text = "";
      child.stderr.on("data", (chunk: Buffer) => {
        // Read to the end of its life, or the pipe would fill.
        if (text.length > 65_536) return;
        text += chunk;
        const found = /listens on (http:[^"\s]+)/.exec(text)?.[1];
        if (found !== undefined) resolve(found);
      });
      child.once("error", reject);
      child.once("exit", () => reject(new Error(`the master ended: ${text}`)));
    });
    return new BenchMaster(child, url);
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error("the master did not start");
    return this.#child.pid;
  }

  async connected(node = "bench"): Promise<void> {
    await until(
      "the node is connected",
      () => this.#get("/api/nodes"),
      (found) => JSON.stringify(found).includes(`"id":"${node}"`),
    );
  }

  async hasFinished(run: string): Promise<void> {
    await until(
      "the master has the run's outcome",
      () => this.#get(`/api/runs/${run}`),
      (found) => typeof found === "object" && found !== null && "outcome" in found,
      { withinMs: 60_000, describe: () => run },
    );
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill("SIGTERM");
    const net = setTimeout(() => this.#child.kill("SIGKILL"), 5000);
    await ended;
    clearTimeout(net);
  }

  async #get(path: string): Promise<unknown> {
    return (await fetch(`${this.url}${path}`)).json();
  }
}
