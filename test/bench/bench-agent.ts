// The real agent in this process, with journal, log and store on and, where asked for, a real master
// in a process of its own. It stays between runs, so workers are warm, as on a node.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { Agent } from "../../agent/agent.ts";
import type { Config } from "../../agent/config.ts";
import { agentTable, findRoot, otherNames, readConfig, versionOf } from "../../cli/surroundings.ts";
import type { DagArtifact } from "../../protocol/artifact.ts";
import type { RunSummary } from "../../protocol/link.ts";
import type { RunOutcome } from "../../protocol/outcome.ts";
import { BenchMaster } from "./bench-master.ts";
import { warmUp } from "./documents.ts";
import { say } from "./frame.ts";

export const root = findRoot();

/** For the table: what is on. */
export const allOn = "journal, log, store, master connected";
export const localOn = "journal, log, store";

export interface RunFigures {
  /** From the end of the first task to the end of the last one, as the agent sees both. */
  tasksMs: number;
  /** From the end of the first task to the outcome on record in the journal. */
  wallMs: number;
  summary: RunSummary;
}

export interface BenchOptions {
  hasMaster: boolean;
  /** Attempts at once; 2 unless told. */
  slots?: number;
  /** Another address for the agent to reach it by: a proxy's. */
  via?(masterUrl: string): Promise<string>;
  /** More of its configuration. */
  env?: Record<string, string>;
}

export class BenchAgent implements AsyncDisposable {
  readonly folder: string;
  readonly #agent: Agent;
  readonly #master: BenchMaster | undefined;
  readonly #heard: Heard;
  #runs = 0;
  /** False: what the master has of a run is not waited for. */
  waitsForMaster = true;

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

  static async start({ hasMaster, slots = 2, via, env = {} }: BenchOptions): Promise<BenchAgent> {
    const folder = mkdtempSync(join(tmpdir(), "bench-"));
    const master = hasMaster ? await BenchMaster.start(join(folder, "master")) : undefined;
    const reached = master === undefined ? undefined : ((await via?.(master.url)) ?? master.url);
    const heard = new Heard();
    const started = await Agent.start({
      config: configOf(folder, { masterUrl: reached, slots, more: env }),
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
      await agent.connect(await agent.capabilities());
      await master.connected();
    }
    return new BenchAgent({ folder, agent, master, heard });
  }

  /** Runs it to its end and waits until the master has all of it, so that nothing is left to do. */
  async run(artifact: DagArtifact): Promise<RunFigures> {
    this.#runs += 1;
    const run = `bench-${this.#runs}`;
    const figures = this.#heard.next();
    const accepted = await this.#agent.accept(run, artifact, {}, "cli");
    if (!accepted.ok) throw new Error(accepted.diagnostics[0]?.message);
    const ended = await figures;
    if (this.waitsForMaster) await this.#master?.hasFinished(run);
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

function configOf(
  folder: string,
  of: { masterUrl: string | undefined; slots: number; more: Record<string, string> },
): Config {
  const { masterUrl, slots, more } = of;
  const env = {
    ...more,
    EDGEDAG_NODE: "bench",
    EDGEDAG_STATE: join(folder, "state"),
    EDGEDAG_RUNTIME: folder,
    EDGEDAG_SLOTS: String(slots),
    // Every line is counted at the end.
    EDGEDAG_LOG_LIMIT: "16Gi",
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
  #lastEnd = Number.NaN;
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
    this.#lastEnd = performance.now();
    if (task === warmUp) this.#started = this.#lastEnd;
  }

  runFinished(outcome: RunOutcome, summary: RunSummary): void {
    const wallMs = performance.now() - this.#started;
    const tasksMs = this.#lastEnd - this.#started;
    if (outcome.kind === "succeeded") this.#ended.resolve({ tasksMs, wallMs, summary });
    else this.#ended.reject(new Error(`the run ended: ${JSON.stringify(outcome)}`));
  }
}
