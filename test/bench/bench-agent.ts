// The real agent in this process, with journal, log and store on and, where asked for, a real master
// in a process of its own. It stays between runs, so workers are warm, as on a node.
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { Agent } from "../../agent/agent.ts";
import { probeCapabilities } from "../../agent/capabilities.ts";
import type { Config } from "../../agent/config.ts";
import { agentTable, findRoot, otherNames, readConfig, versionOf } from "../../cli/surroundings.ts";
import { artifactVersion, type DagArtifact } from "../../protocol/artifact.ts";
import type { RunSummary } from "../../protocol/link.ts";
import { decodeDag } from "../../protocol/load-dag.ts";
import type { RunOutcome } from "../../protocol/outcome.ts";
import { until } from "../rig/until.ts";
import { say } from "./frame.ts";

export const root = findRoot();

/** The id of the task from whose end the clock runs. Every document here begins with it. */
export const warmUp = "first";

/** For the table: what is on. */
export const allOn = "journal, log, store, master connected";
export const localOn = "journal, log, store";

export interface RunFigures {
  /** From the end of the first task to the outcome on record in the journal. */
  wallMs: number;
  summary: RunSummary;
}

export class BenchAgent implements AsyncDisposable {
  readonly folder: string;
  readonly #agent: Agent;
  readonly #master: BenchMaster | undefined;
  readonly #heard: Heard;
  #runs = 0;

  private constructor(parts: {
    folder: string;
    agent: Agent;
    master: BenchMaster | undefined;
    heard: Heard;
  }) {
    this.folder = parts.folder;
    this.#agent = parts.agent;
    this.#master = parts.master;
    this.#heard = parts.heard;
  }

  static async start({ hasMaster }: { hasMaster: boolean }): Promise<BenchAgent> {
    const folder = mkdtempSync(join(tmpdir(), "bench-"));
    const master = hasMaster ? await BenchMaster.start(join(folder, "master")) : undefined;
    const heard = new Heard();
    const started = await Agent.start({
      config: configOf(folder, master?.url),
      root,
      version: versionOf(root),
      hostEnv: process.env,
      say: (level, text) => {
        if (level === "warn" || level === "error" || level === "fatal") heard.problem(text);
      },
      observe: () => ({ taskFinished: (task) => heard.taskFinished(task) }),
      onRunFinished: (_, outcome, summary) => heard.runFinished(outcome, summary),
    });
    if (!started.ok) throw new Error(started.diagnostics[0]?.message);
    const agent = started.value;
    if (master !== undefined) {
      const { hasLauncher, python } = agent.capabilitiesBase();
      const env = { PATH: process.env.PATH ?? "" };
      await agent.connect(await probeCapabilities({ python, env, hasLauncher }));
      await master.connected();
    }
    return new BenchAgent({ folder, agent, master, heard });
  }

  /** Runs it to its end and waits until the master has all of it, so that nothing is left to do. */
  async run(artifact: DagArtifact): Promise<RunFigures> {
    this.#runs += 1;
    const run = `bench-${this.#runs}`;
    const figures = this.#heard.next();
    const accepted = this.#agent.accept(run, artifact, {});
    if (!accepted.ok) throw new Error(accepted.diagnostics[0]?.message);
    const ended = await figures;
    await this.#master?.hasFinished(run);
    return ended;
  }

  logFolder(): string {
    return join(this.folder, "state", "runs", `bench-${this.#runs}`, "log");
  }

  forgetRun(): void {
    rmSync(join(this.folder, "state", "runs", `bench-${this.#runs}`), { recursive: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#heard.isOver = true;
    await this.#agent.close({ flushMs: 2000 });
    await this.#master?.stop();
    rmSync(this.folder, { recursive: true });
  }
}

/** A task of the authoring form. */
export interface TaskText {
  needs?: string[];
  [field: string]: unknown;
}

/** `tasks` should need `warmUp`, which is added. `files`: name and text. */
export async function artifactOf(
  tasks: { [id: string]: TaskText },
  files: { [path: string]: string } = {},
): Promise<DagArtifact> {
  const all = { [warmUp]: { command: ["/bin/true"] }, ...tasks };
  const dag = await decodeDag({ dag: "bench", tasks: all });
  if (!dag.ok) throw new Error(JSON.stringify(dag.diagnostics[0]));
  return {
    artifact: artifactVersion,
    dag: dag.value,
    files: Object.entries(files).map(([path, text]) => ({
      path,
      sha256: createHash("sha256").update(text).digest("hex"),
      text,
    })),
  };
}

/** `count` tasks, each behind the one before. */
export function chainOf(
  count: number,
  task: (before: string, index: number) => TaskText,
): { [id: string]: TaskText } {
  return Object.fromEntries(
    Array.from({ length: count }, (_, i) => {
      const before = i === 0 ? warmUp : `t${i - 1}`;
      return [`t${i}`, { needs: [before], ...task(before, i) }];
    }),
  );
}

/** `count` tasks side by side. */
export function fanOf(count: number, task: TaskText): { [id: string]: TaskText } {
  return Object.fromEntries(
    Array.from({ length: count }, (_, i) => [`t${i}`, { needs: [warmUp], ...task }]),
  );
}

function configOf(folder: string, masterUrl: string | undefined): Config {
  const env = {
    EDGEDAG_NODE: "bench",
    EDGEDAG_STATE: join(folder, "state"),
    EDGEDAG_RUNTIME: folder,
    EDGEDAG_SLOTS: "2",
    ...(masterUrl === undefined ? {} : { EDGEDAG_MASTER: masterUrl }),
  };
  const { config } = readConfig(agentTable(), env, otherNames);
  if (!config.ok) throw new Error(config.diagnostics[0]?.message);
  return config.value;
}

/** What the agent tells of the run that goes on. */
class Heard {
  /** What the agent says of its own end is no problem. */
  isOver = false;
  #started = Number.NaN;
  #ended = Promise.withResolvers<RunFigures>();

  next(): Promise<RunFigures> {
    this.#started = Number.NaN;
    this.#ended = Promise.withResolvers();
    return this.#ended.promise;
  }

  problem(text: string): void {
    if (!this.isOver) say(`agent: ${text}`);
  }

  taskFinished(task: string): void {
    if (task === warmUp) this.#started = performance.now();
  }

  runFinished(outcome: RunOutcome, summary: RunSummary): void {
    const wallMs = performance.now() - this.#started;
    if (outcome.kind === "succeeded") this.#ended.resolve({ wallMs, summary });
    else this.#ended.reject(new Error(`the run ended: ${JSON.stringify(outcome)}`));
  }
}

/** `edgedag master` in a process of its own. */
export class BenchMaster {
  readonly url: string;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, url: string) {
    this.#child = child;
    this.url = url;
  }

  static async start(dataDir: string): Promise<BenchMaster> {
    const env = { ...process.env, EDGEDAG_LISTEN: "127.0.0.1:0", EDGEDAG_DATA: dataDir };
    const child = spawn(join(root, "bin/edgedag"), ["master"], {
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
