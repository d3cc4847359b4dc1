// An agent in this process, on a folder of its own, for tests of the shell: started, killed without
// a farewell as far as that can be had in one process, and started again on what it left. The
// launcher, the workers, the store and the journal are real. Everything ends with the rig.
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Agent } from "../../agent/agent.ts";
import { type Config, configTable } from "../../agent/config.ts";
import type { AttemptEnd } from "../../agent/exec/attempt.ts";
import { readLog } from "../../agent/log/read-log.ts";
import type { DagArtifact } from "../../protocol/artifact.ts";
import { readEnv } from "../../protocol/env-table.ts";
import type { Json } from "../../protocol/json.ts";
import type { RunSummary } from "../../protocol/link.ts";
import { parseDagText } from "../../protocol/load-dag.ts";
import type { LogLine } from "../../protocol/log.ts";
import type { Failure, Outcome, RunOutcome } from "../../protocol/outcome.ts";
import { journalPath, runLogDir } from "../../protocol/state-paths.ts";
import { root } from "../rig/cli.ts";
import { shmFoldersOf } from "../rig/leftovers.ts";
import { until } from "../rig/until.ts";

export interface Seen {
  outcome: RunOutcome;
  summary: RunSummary;
}

export async function artifactOf(yaml: string): Promise<DagArtifact> {
  const dag = await parseDagText(yaml);
  if (!dag.ok) throw new Error(JSON.stringify(dag.diagnostics));
  return { artifact: 1, dag: dag.value, files: [] };
}

export class AgentRig implements AsyncDisposable {
  readonly dir: string;
  readonly said: string[] = [];
  readonly finished = new Map<string, Seen>();
  readonly ends = new Map<string, AttemptEnd[]>();
  readonly tasks = new Map<string, Outcome>();
  readonly #config: Partial<Config>;
  #agent: Agent | undefined;

  private constructor(dir: string, config: Partial<Config>) {
    this.dir = dir;
    this.#config = config;
  }

  static async start(config: Partial<Config> = {}): Promise<AgentRig> {
    // Sockets are named below it, so it must be short.
    const rig = new AgentRig(await mkdtemp("/tmp/rig-"), config);
    await rig.begin();
    return rig;
  }

  /** An agent on what the one before left. */
  async begin(changed: Partial<Config> = {}): Promise<void> {
    const started = await Agent.start({
      config: { ...this.config, ...changed },
      root,
      version: "0.0.0",
      hostEnv: { PATH: process.env.PATH ?? "", SHOWN: "shown", EDGEDAG_TOKEN: "s3cret" },
      say: (level, text) => this.said.push(`${level} ${text}`),
      observe: () => ({
        attemptFinished: (task, attempt, end) => {
          const key = `${task}#${attempt}`;
          this.ends.set(key, [...(this.ends.get(key) ?? []), end]);
        },
        taskFinished: (task, outcome) => this.tasks.set(task, outcome),
      }),
      onRunFinished: (run, outcome, summary) => this.finished.set(run, { outcome, summary }),
    });
    if (!started.ok) throw new Error(JSON.stringify(started.diagnostics));
    this.#agent = started.value;
  }

  get config(): Config {
    const table = configTable({
      hostname: "rig",
      cores: 2,
      stateDir: join(this.dir, "state"),
      runtimeDir: this.dir,
    });
    const read = readEnv(table, { env: {}, readFile: () => ({ problem: "none" }) });
    if (!read.config.ok) throw new Error(JSON.stringify(read.config.diagnostics));
    return { ...read.config.value, ...this.#config };
  }

  get agent(): Agent {
    if (this.#agent === undefined) throw new Error("the agent is stopped");
    return this.#agent;
  }

  /** Ends the agent in the middle of whatever it does; what is in the journal stays. */
  async stop(): Promise<void> {
    const agent = this.#agent;
    this.#agent = undefined;
    await agent?.close({ flushMs: 0 });
  }

  async accept(run: string, yaml: string, params: { [name: string]: Json } = {}): Promise<void> {
    const accepted = await this.agent.accept(run, await artifactOf(yaml), params, "cli");
    if (!accepted.ok) throw new Error(JSON.stringify(accepted.diagnostics));
  }

  async end(run: string): Promise<Seen> {
    const seen = await until(
      `run ${run} ends`,
      () => this.finished.get(run),
      (value) => value !== undefined,
      { describe: () => this.said.join("\n") },
    );
    if (seen === undefined) throw new Error("unreachable");
    return seen;
  }

  failure(attempt: string): Failure | undefined {
    const outcome = this.ends.get(attempt)?.at(-1)?.outcome;
    return outcome?.kind === "failed" ? outcome.failure : undefined;
  }

  async log(run: string): Promise<LogLine[]> {
    const lines: LogLine[] = [];
    const folder = runLogDir(this.config.stateDir, run);
    for await (const some of readLog({ folder, follow: false })) lines.push(...some);
    return lines;
  }

  /** Records that wait for the master, oldest first. */
  outbox(): Record<string, unknown>[] {
    const database = new DatabaseSync(journalPath(this.config.stateDir), { readOnly: true });
    try {
      const rows = database.prepare("SELECT data FROM outbox ORDER BY seq").all();
      return rows.flatMap((row) =>
        String(row.data)
          .split("\n")
          .map((entry) => JSON.parse(entry) as Record<string, unknown>),
      );
    } finally {
      database.close();
    }
  }

  /** What the journal has of a run that is open. */
  events(): Record<string, unknown>[] {
    const database = new DatabaseSync(journalPath(this.config.stateDir), { readOnly: true });
    try {
      const rows = database.prepare("SELECT data FROM events ORDER BY id").all();
      return rows.flatMap((row) => JSON.parse(String(row.data)) as Record<string, unknown>[]);
    } finally {
      database.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    // Of runs that are still open: the next agent on this state would want it.
    for (const folder of await shmFoldersOf(this.config.stateDir)) {
      await rm(folder, { recursive: true, force: true });
    }
    await rm(this.dir, { recursive: true, force: true });
  }
}
