// `edgedag run`: one DAG in the foreground, without a master. Progress on stderr (or stdout for
// people), the summary at the end, the exit code by the outcome.
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Worker } from "node:worker_threads";
import { Agent } from "../agent/agent.ts";
import type { Config } from "../agent/config.ts";
import { StateLock } from "../agent/journal/state-lock.ts";
import { keepMemoryPrivate } from "../agent/private-memory.ts";
import type { RunObserver } from "../agent/run-observer.ts";
import { describeFailure } from "../protocol/describe.ts";
import { exitCodes } from "../protocol/exit-codes.ts";
import type { Json } from "../protocol/json.ts";
import type { RunSummary } from "../protocol/link.ts";
import type { Outcome, RunOutcome } from "../protocol/outcome.ts";
import { newRunId } from "../protocol/run-id.ts";
import { runLogDir } from "../protocol/state-paths.ts";
import type { Io } from "./io.ts";
import { exitCodeOf as documentExitCode, loadPath } from "./load.ts";
import { acceptExitCode, printDiagnostics, startExitCode } from "./print.ts";
import { RunView, type ViewStream } from "./run-view.ts";
import {
  agentTable,
  findRoot,
  localRuns,
  localStates,
  otherNames,
  readConfig,
  versionOf,
} from "./surroundings.ts";

export interface RunOptions {
  /** Kept between calls: an unfinished run of the same DAG goes on. */
  state?: string;
  params: { [name: string]: Json };
  slots?: number;
  json: boolean;
  quiet: boolean;
  /** Of the store, getting ready meanwhile. */
  storeThread?: Worker;
  env: Readonly<Record<string, string | undefined>>;
}

/** States of finished runs beyond these many are removed. */
const keptStates = 20;

export async function run(
  path: string,
  options: RunOptions,
  io: Io & { stderr: ViewStream; stdout: ViewStream },
): Promise<number> {
  // Signals that come while things are put together must not be missed.
  const signals = new Signals();
  try {
    return await runUntilEnd(path, options, { ...io, signals });
  } finally {
    signals.stop();
    // Where no agent has come to have it.
    await options.storeThread?.terminate();
  }
}

async function runUntilEnd(
  path: string,
  options: RunOptions,
  io: Io & { stderr: ViewStream; stdout: ViewStream; signals: Signals },
): Promise<number> {
  const loaded = await loadPath(path);
  if (!loaded.ok) {
    printDiagnostics(io, loaded.diagnostics);
    return documentExitCode(loaded.diagnostics);
  }
  const artifact = loaded.value;
  const runId = newRunId(artifact.dag.attributes.dag, Date.now(), Math.random());
  const config = configOf(options, runId, io);
  if (config === undefined) return exitCodes.config;
  const view = options.quiet ? undefined : new RunView(options.json ? io.stderr : io.stdout);
  const facts = new Collected(view?.observer ?? {});
  const ended = Promise.withResolvers<{ run: string; outcome: RunOutcome; summary: RunSummary }>();
  const root = findRoot();
  keepMemoryPrivate();
  const started = await Agent.start({
    config,
    root,
    version: versionOf(root),
    isOneOff: options.state === undefined,
    ...(options.storeThread === undefined ? {} : { storeThread: options.storeThread }),
    hostEnv: options.env,
    say: (level, text) => {
      if (level !== "info" && level !== "debug" && level !== "trace") io.stderr.write(`${text}\n`);
    },
    observe: () => facts,
    onRunFinished: (run, outcome, summary) => ended.resolve({ run, outcome, summary }),
  });
  if (!started.ok) {
    printDiagnostics(io, started.diagnostics);
    return startExitCode(started.diagnostics);
  }
  const agent = started.value;
  const [resumed] = agent.openRuns();
  if (resumed !== undefined && agent.openRunOf(artifact) !== resumed) {
    const message = `run ${resumed} of another DAG has not ended in ${config.stateDir}`;
    const remedy = "Run that DAG again with the same --state, or use another folder.";
    printDiagnostics(io, [{ code: "E_STATE_OTHER", path: "--state", message, remedy }]);
    await agent.close({ flushMs: 0 });
    return exitCodes.state;
  }
  const accepted =
    resumed === undefined ? await agent.accept(runId, artifact, options.params, "cli") : undefined;
  if (accepted !== undefined && !accepted.ok) {
    printDiagnostics(io, accepted.diagnostics);
    await agent.close({ flushMs: 0 });
    return acceptExitCode(accepted.diagnostics);
  }
  const run = resumed ?? runId;
  const current = agent.current;
  if (current !== undefined) {
    const title = `${artifact.dag.attributes.dag}: ${artifact.dag.nodes.length} tasks`;
    view?.attach(current.host, resumed === undefined ? title : `${title}, run ${run} goes on`);
  }
  let interrupts = 0;
  io.signals.listen(() => {
    interrupts += 1;
    if (interrupts === 1) agent.cancel(run, "user");
    else if (interrupts === 2) ended.resolve({ run, outcome: cancelled, summary: emptySummary });
  });
  const { outcome, summary } = await ended.promise;
  view?.finish(outcome, summary);
  const report = { agent, current, facts, run, outcome, summary, config };
  if (options.json) io.stdout.write(`${JSON.stringify(jsonReport(report))}\n`);
  else if (!options.quiet) printReport(io, report);
  await agent.close({ flushMs: 0 });
  return outcome.kind === "succeeded"
    ? exitCodes.ok
    : outcome.kind === "failed"
      ? exitCodes.runFailed
      : exitCodes.cancelled;
}

const cancelled: RunOutcome = { kind: "cancelled", by: "user" };
const emptySummary: RunSummary = {
  tasks: 0,
  succeeded: 0,
  failed: 0,
  skipped: 0,
  cancelled: 0,
  attempts: 0,
  wallMs: 0,
};

interface Report {
  agent: Agent;
  current: Agent["current"];
  facts: Collected;
  run: string;
  outcome: RunOutcome;
  summary: RunSummary;
  config: Config;
}

function jsonReport({ current, facts, run, outcome, summary, config }: Report) {
  const tasks: { [task: string]: unknown } = {};
  const state = current?.host.state;
  for (let i = 0; state !== undefined && i < state.graph.size; i += 1) {
    const key = state.keyOf(i);
    const seen = facts.tasks.get(key);
    const result = current === undefined ? null : smallResult(current, i);
    tasks[key] = {
      outcome: outcomeOf(state.stateOf(i)),
      attempts: state.attemptOf(i),
      ...(seen?.wallMs === undefined ? {} : { wallMs: seen.wallMs }),
      ...(result === null ? {} : { result }),
    };
  }
  const artifacts = (current?.report.artifacts ?? []).map(({ task, name, path, sizeBytes }) => ({
    task,
    name,
    path,
    sizeBytes,
  }));
  return {
    run,
    outcome,
    tasks,
    summary,
    workDir: current?.folders.work,
    logDir: runLogDir(config.stateDir, run),
    artifacts,
  };
}

/**
 * Null where there is none to print: large results were files in shared memory, which is gone with
 * the run, and a summary is read by people and small programs.
 */
function smallResult({ host, results }: NonNullable<Agent["current"]>, instance: number): Json {
  const items = host.state.itemsOf(instance);
  if (items !== undefined) {
    const isLarge = items.some((item) => "file" in (results.get(item) ?? {}));
    return isLarge ? null : results.valueOf(instance);
  }
  const stored = results.get(instance);
  return stored !== undefined && "value" in stored ? stored.value : null;
}

function outcomeOf(state: { id: string; outcome?: Outcome }): Outcome | { kind: "unfinished" } {
  return state.outcome ?? { kind: "unfinished" };
}

function printReport(io: Io, { current, facts, run, config }: Report): void {
  for (const { name, sizeBytes, path } of current?.report.artifacts ?? []) {
    io.stdout.write(`  artifact ${name} (${sizeBytes} bytes): ${path}\n`);
  }
  for (const [task, why] of facts.failures) io.stdout.write(`  ${task}: ${why}\n`);
  io.stdout.write(`  log: edgedag logs ${run} --state ${config.stateDir}\n`);
}

/** What the summary needs of each task, collected while it runs. */
class Collected implements RunObserver {
  readonly tasks = new Map<string, { wallMs?: number }>();
  readonly failures = new Map<string, string>();
  readonly #next: RunObserver;

  constructor(next: RunObserver) {
    this.#next = next;
  }

  attemptStarted(task: string, attempt: number): void {
    this.#next.attemptStarted?.(task, attempt);
  }

  attemptFinished(...args: Parameters<NonNullable<RunObserver["attemptFinished"]>>): void {
    const [task, , { outcome, facts }] = args;
    this.tasks.set(task, facts.wallMs === undefined ? {} : { wallMs: facts.wallMs });
    if (outcome.kind === "failed") this.failures.set(task, describeFailure(outcome.failure));
    else this.failures.delete(task);
    this.#next.attemptFinished?.(...args);
  }

  taskFinished(task: string, outcome: Outcome): void {
    // A task that failed before any attempt of its own.
    if (outcome.kind === "failed" && !this.tasks.has(task)) {
      this.failures.set(task, describeFailure(outcome.failure));
    }
    this.#next.taskFinished?.(task, outcome);
  }

  progress(task: string, fraction: number, text?: string): void {
    this.#next.progress?.(task, fraction, text);
  }
}

/** Interrupts from the first moment on; those before `listen` are kept. */
class Signals {
  #missed = 0;
  #listener: (() => void) | undefined;
  readonly #onSignal = () => {
    if (this.#listener === undefined) this.#missed += 1;
    else this.#listener();
  };

  constructor() {
    process.on("SIGINT", this.#onSignal);
    process.on("SIGTERM", this.#onSignal);
  }

  listen(listener: () => void): void {
    this.#listener = listener;
    for (; this.#missed > 0; this.#missed -= 1) listener();
  }

  stop(): void {
    process.off("SIGINT", this.#onSignal);
    process.off("SIGTERM", this.#onSignal);
  }
}

function configOf(options: RunOptions, runId: string, io: Io): Config | undefined {
  const { config, warnings } = readConfig(agentTable(), options.env, otherNames);
  for (const warning of warnings) io.stderr.write(`${warning}\n`);
  if (!config.ok) {
    printDiagnostics(io, config.diagnostics);
    return undefined;
  }
  return Object.freeze({
    ...config.value,
    // This command is for one machine: what it runs is reported to nobody.
    master: "",
    stateDir: options.state ?? newLocalState(runId),
    ...(options.slots === undefined ? {} : { slots: options.slots }),
  });
}

function newLocalState(runId: string): string {
  const parent = localStates();
  mkdirSync(parent, { recursive: true, mode: 0o700 });
  for (const name of localRuns(parent).slice(keptStates)) {
    // One that goes on elsewhere holds its lock.
    const lock = StateLock.take(join(parent, name));
    if (!lock.ok) continue;
    rmSync(join(parent, name), { recursive: true, force: true });
    lock.value.release();
  }
  return join(parent, runId);
}
