// `edgedag agent`: the agent as a service, configured by environment variables alone.

import { Agent } from "../agent/agent.ts";
import type { Config } from "../agent/config.ts";
import { openAgentLog } from "../agent/log/agent-log.ts";
import { keepMemoryPrivate } from "../agent/private-memory.ts";
import { exitCodes } from "../protocol/exit-codes.ts";
import type { RunOutcome } from "../protocol/outcome.ts";
import { newRunId } from "../protocol/run-id.ts";
import type { Io } from "./io.ts";
import { exitCodeOf as documentExitCode, loadPath } from "./load.ts";
import { acceptExitCode, printDiagnostics, startExitCode } from "./print.ts";
import { agentTable, findRoot, otherNames, readConfig, versionOf } from "./surroundings.ts";

export interface AgentCommandOptions {
  env: Readonly<Record<string, string | undefined>>;
  /** Values that the command line of `edgedag up` puts in place of the environment's. */
  override?: Partial<Config>;
  /** Resolves the returned promise with a drain when aborted; signals do the same. */
  signal?: AbortSignal;
}

export async function agent(options: AgentCommandOptions, io: Io): Promise<number> {
  const { env } = options;
  const read = readConfig(agentTable(), env, otherNames);
  if (!read.config.ok) {
    for (const warning of read.warnings) io.stderr.write(`${warning}\n`);
    printDiagnostics(io, read.config.diagnostics);
    return exitCodes.config;
  }
  const config: Config = Object.freeze({ ...read.config.value, ...options.override });
  const root = findRoot();
  const stop = new StopSignals(options.signal);
  const opened = await openAgentLog({ stateDir: config.stateDir, level: config.logLevel, io });
  if (!opened.ok) {
    printDiagnostics(io, opened.diagnostics);
    return exitCodes.state;
  }
  const log = opened.value;
  for (const warning of read.warnings) log.say("warn", warning);
  const dag = config.dag === "" ? undefined : await loadPath(config.dag);
  if (dag !== undefined && !dag.ok) {
    printDiagnostics(io, dag.diagnostics);
    await log.close();
    return documentExitCode(dag.diagnostics);
  }
  const ended = Promise.withResolvers<number>();
  let ownRun: string | undefined;
  keepMemoryPrivate();
  const started = await Agent.start({
    config,
    root,
    version: versionOf(root),
    hostEnv: env,
    say: log.say,
    onRunFinished: (run, outcome) => {
      log.say("info", `run ${run} ${outcome.kind}`);
      if (run === ownRun && exitsAfter(config)) ended.resolve(exitCodeOf(outcome));
    },
    onDamaged: () => {
      log.say("fatal", "the journal is damaged: the agent ends, its next start sets it aside");
      ended.resolve(exitCodes.state);
    },
    onRefused: (code, detail) => {
      // Nothing will change by itself, and nothing is left to do here once open runs have ended.
      const isIdle = started.ok && started.value.openRuns().length === 0;
      if (config.dag === "" && code !== "twin" && isIdle) {
        io.stderr.write(`edgedag: the master refuses this node (${code}): ${detail}\n`);
        ended.resolve(exitCodes.refused);
      }
    },
  });
  if (!started.ok) {
    printDiagnostics(io, started.diagnostics);
    await log.close();
    return startExitCode(started.diagnostics);
  }
  const running = started.value;
  if (dag?.ok === true) {
    ownRun = running.openRunOf(dag.value);
    if (ownRun === undefined) {
      ownRun = newRunId(dag.value.dag.attributes.dag, Date.now(), Math.random());
      const accepted = await running.accept(ownRun, dag.value, config.params, "file");
      if (!accepted.ok) {
        printDiagnostics(io, accepted.diagnostics);
        ended.resolve(acceptExitCode(accepted.diagnostics));
      }
    }
  }
  if (config.master !== "" && config.snippetSlots > 0) {
    const opened = await running.openSnippets({ isLinked: true });
    if (!opened.ok) {
      printDiagnostics(io, opened.diagnostics);
      const isUnsigned = opened.diagnostics[0]?.code === "E_SIGNATURE_SNIPPET";
      ended.resolve(isUnsigned ? exitCodes.config : exitCodes.unavailable);
    }
  }
  if (config.master !== "") {
    await running.connect(await running.capabilities());
  } else if (dag === undefined) {
    io.stderr.write("edgedag: set EDGEDAG_DAG or EDGEDAG_MASTER: there is nothing to do\n");
    ended.resolve(exitCodes.config);
  }
  let isStopping = false;
  let isHurried = false;
  stop.listen((signal) => {
    if (isStopping) {
      isHurried = true;
      log.say("warn", `${signal} again: what runs is ended at once`);
      ended.resolve(running.openRuns().length > 0 ? exitCodes.unfinished : exitCodes.ok);
      return;
    }
    isStopping = true;
    log.say("info", `${signal}: draining for at most ${config.drainMs} ms`);
    void running.drain(config.drainMs).then(() => {
      ended.resolve(running.openRuns().length > 0 ? exitCodes.unfinished : exitCodes.ok);
    });
  });
  let code = await ended.promise;
  stop.end();
  const closed = await running.close({ flushMs: config.drainMs, isAll: isHurried });
  if (!closed.ok) {
    printDiagnostics(io, closed.diagnostics);
    code = exitCodes.state;
  }
  log.say("info", `the agent ends with exit code ${code}`);
  await log.close();
  return code;
}

function exitsAfter(config: Config): boolean {
  return config.after === "exit" || (config.after === "auto" && config.master === "");
}

function exitCodeOf(outcome: RunOutcome): number {
  if (outcome.kind === "succeeded") return exitCodes.ok;
  return outcome.kind === "failed" ? exitCodes.runFailed : exitCodes.cancelled;
}

/** TERM and INT, and an abort from `edgedag up`; also those that came before `listen`. */
class StopSignals {
  readonly #abort: AbortSignal | undefined;
  #listener: ((signal: string) => void) | undefined;
  #pending: string | undefined;
  readonly #onSignal = (signal: string) => {
    if (this.#listener === undefined) this.#pending = signal;
    else this.#listener(signal);
  };
  readonly #onAbort = () => this.#onSignal("stop");

  constructor(abort: AbortSignal | undefined) {
    this.#abort = abort;
    abort?.addEventListener("abort", this.#onAbort);
    if (abort?.aborted === true) this.#onAbort();
    if (abort === undefined) {
      process.on("SIGTERM", this.#onSignal);
      process.on("SIGINT", this.#onSignal);
    }
  }

  listen(listener: (signal: string) => void): void {
    this.#listener = listener;
    if (this.#pending !== undefined) listener(this.#pending);
  }

  end(): void {
    this.#abort?.removeEventListener("abort", this.#onAbort);
    process.off("SIGTERM", this.#onSignal);
    process.off("SIGINT", this.#onSignal);
  }
}
