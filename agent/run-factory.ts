// Puts the parts of one run together: folders, log, results, scheduler, report, store.
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import type { DagArtifact } from "../protocol/artifact.ts";
import type { Result } from "../protocol/diagnostic.ts";
import { nodeSdkPath } from "../protocol/install-paths.ts";
import type { Json } from "../protocol/json.ts";
import type { RunSummary } from "../protocol/link.ts";
import type { RunOutcome } from "../protocol/outcome.ts";
import { receiptName, receiptTask } from "../protocol/signing/receipt.ts";
import { AttemptFactory } from "./attempt-factory.ts";
import type { Config } from "./config.ts";
import type { Capacity } from "./core/events.ts";
import { RunState } from "./core/run-state.ts";
import type { Executor } from "./exec/attempt.ts";
import { escapeRefs, refToFile } from "./exec/workers/values.ts";
import type { Gpus } from "./gpus.ts";
import type { Journal } from "./journal/journal.ts";
import type { JournaledEvent } from "./journaled-event.ts";
import type { Obstacle } from "./keeping.ts";
import { LogChain } from "./log/log-chain.ts";
import { RunLog } from "./log/run-log.ts";
import type { Orphans } from "./orphans.ts";
import { closeRunFolders, openRunFolders, type RunFolders } from "./run-folders.ts";
import { RunHost } from "./run-host.ts";
import type { RunEnd } from "./run-host-options.ts";
import { type RunObserver, tellWhenKept } from "./run-observer.ts";
import { RunReport } from "./run-report.ts";
import { RunResults } from "./run-results.ts";
import { sandboxSettings } from "./sandbox-settings.ts";
import type { Mask } from "./secrets/mask.ts";
import type { NodeSecrets } from "./secrets/node-secrets.ts";
import { RunSecrets } from "./secrets/run-secrets.ts";
import type { Receipts } from "./signing/receipts.ts";
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
  /** Absent: none are made. */
  receipts: Receipts | undefined;
  ships: boolean;
  orphans: Orphans;
  /** Processes outlive this agent. */
  holds: boolean;
  now(): number;
  /** False when the journal cannot be written now. */
  commit(): boolean;
  /** Calls when all that was appended is in the journal, with EDGEDAG_DURABILITY=power on the disk. */
  whenKept(told: () => void): void;
  obstacle(what: Obstacle, problem: string | undefined): void;
  /** Bytes that went to the master since the start; undefined without a master. */
  sentBytes(): number | undefined;
  /** False: what is left of the disk is for results. */
  mayWriteLog(): boolean;
  /** The file of a segment is gone, though the master has not all of it. */
  segmentGone(run: string, segment: number): void;
  onProblem(text: string): void;
}

export interface OpenedRun {
  host: RunHost;
  folders: RunFolders;
  report: RunReport;
  results: RunResults;
  log: RunLog;
  /** Of a run with secrets. */
  mask: Mask | undefined;
  /** Connects the run's store; resolves when tasks can reach it. */
  openStore(): Promise<void>;
  close(): void;
}

export interface RunEnds {
  observer: RunObserver;
  finished(outcome: RunOutcome, summary: RunSummary): void;
  broken(error: unknown): void;
}

/** Small enough that the bounds can be kept by dropping whole segments. */
function segmentBytesOf({ outboxLimitBytes }: Config): number {
  return Math.min(16 * 1024 ** 2, Math.max(64 * 1024, Math.ceil(outboxLimitBytes / 8)));
}

/** Loaded with the first line that is shipped: it would cost milliseconds of every start. */
function crc32(bytes: Uint8Array): number {
  return process.getBuiltinModule("node:zlib").crc32(bytes);
}

export function openRun(plan: RunPlan, shared: SharedParts, ends: RunEnds): Result<OpenedRun> {
  const { config, journal, executor } = shared;
  const { run, artifact, digest, params, events } = plan;
  const { stateDir } = config;
  const isPower = config.durability === "power";
  const recordedUpTo = journal.logPosition(run);
  const secrets = RunSecrets.open(artifact.dag, shared.secrets);
  const mask = secrets?.mask;
  const log = RunLog.open({
    stateDir,
    run,
    limitBytes: config.logLimitBytes,
    segmentBytes: segmentBytesOf(config),
    sync: isPower,
    mayWrite: shared.mayWriteLog,
    onLost: (lost) => journal.recordLogGap({ run, ...lost }),
    onGone: (segment) => shared.segmentGone(run, segment),
    onChunk: (chunk, bytes) => {
      if (!shared.ships) return;
      journal.recordLogChunk({ run, time: Date.now(), ...chunk, crc: crc32(bytes) });
    },
    mask,
    onPartial: () => host.outputWaits(),
    ...(shared.receipts === undefined
      ? {}
      : { openChain: () => LogChain.open({ stateDir, run, onProblem: shared.onProblem }) }),
    isHeld: (segment) => journal.holdsSegment(run, segment),
    onProblem: (problem) => shared.onProblem(`${problem.message}. ${problem.remedy}`),
    ...(recordedUpTo === undefined ? {} : { recordedUpTo }),
  });
  if (!log.ok) return log;
  if (isPower) journal.addFile(log.value.sync);
  const shmName = `${shared.outsidePrefix}${run}`;
  const orphans = shared.orphans.of(run);
  const nodeSdk = nodeSdkPath(shared.root);
  const folders = openRunFolders({ stateDir, run, shmName, nodeSdk, keep: orphans.keys() });
  const state = new RunState(artifact.dag);
  const results = new RunResults(state, { toFile: refToFile, escape: escapeRefs });
  // Nobody can guess it from the run.
  const socket = orphans.socket ?? `${randomBytes(8).toString("hex")}.sock`;
  const storeSocket = join(shared.runtimeDir, socket);
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
  const kept = events.filter((event) => event.type === "object-kept");
  const report = new RunReport(
    {
      run,
      journal,
      folders,
      ships: shared.ships,
      mask,
      sync: isPower,
      stuck: (problem) => shared.obstacle("files", problem),
      onObject: (key, object) => host.objectKept(key, object),
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
    onProblem: shared.onProblem,
    receipt: receiptWriter(plan, shared, { state, results, report, log: log.value }),
    observer: tellWhenKept(ends.observer, shared.whenKept),
    capacity: shared.capacity,
    gpus: shared.gpus,
    mask,
    work: folders.work,
    now: shared.now,
    random: Math.random,
    orphans,
    holds: shared.holds,
    socket,
    commit: shared.commit,
    commitForGood: () => shared.commit() && (!isPower || journal.syncNow().ok),
    logStuck: (problem) => shared.obstacle("log", problem),
    keepsFilesFirst: isPower,
    sentBytes: shared.sentBytes,
    whenKept: shared.whenKept,
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
      log: log.value,
      mask,
      openStore: async () => {
        const onPublish = (name: string, message: Buffer | string) =>
          host.published(name, message.toString());
        if (config.storeUrl === "") {
          const { storeQuotaBytes: quotaBytes } = config;
          const options = {
            socketPath: storeSocket,
            quotaBytes,
            onPublish,
            ...(shared.holds
              ? {
                  onReached: () => {
                    host.storeReached();
                    shared.orphans.flush();
                  },
                }
              : {}),
          };
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
        journal.removeFile(log.value.sync);
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

/** Undefined where no receipts are made. The receipt goes to the master with what the run has left. */
function receiptWriter(
  { run, digest, params }: RunPlan,
  { receipts, journal }: SharedParts,
  parts: { state: RunState; results: RunResults; report: RunReport; log: RunLog },
): ((end: RunEnd) => Promise<() => void>) | undefined {
  if (receipts === undefined) return undefined;
  const { state, results, report, log } = parts;
  return async (end) => {
    const digestOfLog = log.digest();
    if (digestOfLog === undefined) throw new Error("a log without a chain");
    const written = await receipts.write({
      run,
      digest,
      params,
      state,
      results,
      artifacts: report.artifacts,
      envelope: journal.signatures.envelopeOf(run),
      ...end,
      log: digestOfLog,
    });
    const object = { kind: "artifact", task: receiptTask, attempt: 1, name: receiptName } as const;
    // Nothing is recorded where there is no master.
    return () => void journal.recordObject({ run, time: Date.now(), ...object, ...written });
  };
}
