// Puts the parts of one run together: folders, log, results, scheduler, report, store.
import { hash } from "node:crypto";
import { join } from "node:path";
import type { DagArtifact } from "../protocol/artifact.ts";
import type { Result } from "../protocol/diagnostic.ts";
import { nodeSdkPath } from "../protocol/install-paths.ts";
import type { Json } from "../protocol/json.ts";
import type { RunSummary } from "../protocol/link.ts";
import type { RunOutcome } from "../protocol/outcome.ts";
import { AttemptFactory } from "./attempt-factory.ts";
import type { Config } from "./config.ts";
import type { Capacity } from "./core/events.ts";
import { RunState } from "./core/run-state.ts";
import type { Executor } from "./exec/attempt.ts";
import { escapeRefs, refToFile } from "./exec/workers/values.ts";
import type { Gpus } from "./gpus.ts";
import type { Journal } from "./journal/journal.ts";
import type { JournaledEvent } from "./journaled-event.ts";
import { RunLog } from "./log/run-log.ts";
import { closeRunFolders, openRunFolders, type RunFolders } from "./run-folders.ts";
import { RunHost } from "./run-host.ts";
import type { RunObserver } from "./run-observer.ts";
import { RunReport } from "./run-report.ts";
import { RunResults } from "./run-results.ts";
import { sandboxSettings } from "./sandbox-settings.ts";
import type { NodeSecrets } from "./secrets/node-secrets.ts";
import { RunSecrets } from "./secrets/run-secrets.ts";
import type { StoreHost } from "./store/store-host.ts";

export interface RunPlan {
  run: string;
  digest: string;
  artifact: DagArtifact;
  /** The document's params with the given ones over them. */
  params: { [name: string]: Json };
  /** Events of an earlier agent. */
  events: readonly JournaledEvent[];
}

/** Channels of PROTOCOL.md on which tasks speak to the agent. */
const taskChannels = ["edgedag.log", "edgedag.progress", "edgedag.artifact"];

/** What all runs of an agent share. */
export interface SharedParts {
  config: Config;
  root: string;
  runtimeDir: string;
  /** How names of this agent's folders outside of its state begin. */
  outsidePrefix: string;
  executor: Executor;
  journal: Journal;
  storeHost: StoreHost;
  baseEnv: Readonly<Record<string, string>>;
  templateEnv: Readonly<Record<string, string>>;
  capacity: Capacity;
  gpus: Gpus;
  secrets: NodeSecrets;
  ships: boolean;
  now(): number;
  commit(): void;
  onProblem(text: string): void;
}

export interface OpenedRun {
  host: RunHost;
  folders: RunFolders;
  report: RunReport;
  results: RunResults;
  /** Connects the run's store; resolves when tasks can reach it. */
  openStore(): Promise<void>;
  close(): void;
}

export interface RunEnds {
  observer: RunObserver;
  finished(outcome: RunOutcome, summary: RunSummary): void;
  broken(error: unknown): void;
}

export function openRun(plan: RunPlan, shared: SharedParts, ends: RunEnds): Result<OpenedRun> {
  const { config, journal, executor } = shared;
  const { run, artifact, digest, params, events } = plan;
  const { stateDir } = config;
  const recordedUpTo = journal.logPosition(run);
  const secrets = RunSecrets.open(artifact.dag, shared.secrets);
  const mask = secrets?.mask;
  const log = RunLog.open({
    stateDir,
    run,
    limitBytes: config.logLimitBytes,
    sync: config.durability === "power",
    onChunk: (chunk) => {
      journal.recordLogChunk({ run, time: Date.now(), ...chunk });
    },
    mask,
    isHeld: (segment) => journal.holdsSegment(run, segment),
    onProblem: (problem) => shared.onProblem(`${problem.message}. ${problem.remedy}`),
    ...(recordedUpTo === undefined ? {} : { recordedUpTo }),
  });
  if (!log.ok) return log;
  const shmName = `${shared.outsidePrefix}${run}`;
  const folders = openRunFolders({ stateDir, run, shmName, nodeSdk: nodeSdkPath(shared.root) });
  const state = new RunState(artifact.dag);
  const results = new RunResults(state, { toFile: refToFile, escape: escapeRefs });
  const storeSocket = join(shared.runtimeDir, `${hash("sha256", run).slice(0, 16)}.sock`);
  const factory = new AttemptFactory({
    run,
    state,
    results,
    folders,
    params,
    baseEnv: shared.baseEnv,
    templateEnv: shared.templateEnv,
    storeSocket,
    storeUrl: config.storeUrl,
    outputLimitBytes: config.outputLimitBytes,
    sandbox: sandboxSettings(config, shared.baseEnv, artifact.files),
    secrets,
  });
  const kept = events.flatMap((event) => (event.type === "object-kept" ? event.key : []));
  const report = new RunReport(
    {
      run,
      journal,
      folders,
      ships: shared.ships,
      mask,
      onObject: (key) => host.objectKept(key),
      onRecord: shared.commit,
      onProblem: (text) => log.value.agent("warn", text),
    },
    kept,
  );
  const host: RunHost = new RunHost({
    run,
    digest,
    params,
    state,
    results,
    factory,
    executor,
    journal,
    log: log.value,
    report,
    observer: ends.observer,
    capacity: shared.capacity,
    gpus: shared.gpus,
    mask,
    work: folders.work,
    now: shared.now,
    random: Math.random,
    commit: shared.commit,
    finished: ends.finished,
    broken: ends.broken,
  });
  return {
    ok: true,
    value: {
      host,
      folders,
      report,
      results,
      openStore: async () => {
        const onPublish = (name: string, message: Buffer | string) =>
          host.published(name, message.toString());
        if (config.storeUrl === "") {
          const { storeQuotaBytes: quotaBytes } = config;
          const options = { socketPath: storeSocket, quotaBytes, onPublish };
          host.connect(await shared.storeHost.open(run, options));
          return;
        }
        const { openExternalStore } = await import("./store/external-store.ts");
        const awaited = state.graph.tasks.flatMap((task) => task.waitFor?.event ?? []);
        host.connect(
          await openExternalStore({
            url: config.storeUrl,
            channels: [...new Set([...taskChannels, ...awaited])],
            onPublish,
            onProblem: shared.onProblem,
          }),
        );
      },
      close: () => {
        report.close();
        if (secrets !== undefined) {
          secrets.close();
          // Their workers have seen them.
          executor
            .closeGroups()
            .catch((error: unknown) => shared.onProblem(`workers of ${run}: ${String(error)}`));
        }
        closeRunFolders(folders);
      },
    },
  };
}
