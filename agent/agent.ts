// The agent: the parts that all runs share, the runs one after another, and what happens when a
// part fails. exec, store, journal and link meet only here and in what this file puts together.
import { rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Worker } from "node:worker_threads";
import type { DagArtifact } from "../protocol/artifact.ts";
import { artifactDigest } from "../protocol/canonical.ts";
import { crashPoint } from "../protocol/crash-points.ts";
import type { DagDocument } from "../protocol/dag.ts";
import type { Diagnostic, Result } from "../protocol/diagnostic.ts";
import type { Json } from "../protocol/json.ts";
import type { Capabilities, RunSummary } from "../protocol/link.ts";
import type { LogLevel } from "../protocol/log.ts";
import type { CancelledBy, RunOutcome } from "../protocol/outcome.ts";
import { runIdPattern, segmentPath } from "../protocol/state-paths.ts";
import { type AgentParts, openParts } from "./agent-parts.ts";
import { keepArtifact, readKeptArtifact } from "./artifact-store.ts";
import { hostMemoryBytes, probeCapabilities } from "./capabilities.ts";
import type { Config } from "./config.ts";
import type { Samples } from "./exec/isolation/sandbox-spec.ts";
import type { ExecutionParts } from "./execution.ts";
import { findGpus, Gpus } from "./gpus.ts";
import type { Journal } from "./journal/journal.ts";
import type { JournaledEvent } from "./journaled-event.ts";
import { Keeping, retryMs } from "./keeping.ts";
import type { Link } from "./link/link.ts";
import { outsidePrefix, removeSharedMemory } from "./outside.ts";
import { mergeParams } from "./params.ts";
import { type OpenedRun, openRun, type SharedParts } from "./run-factory.ts";
import { longestTimerMs } from "./run-host.ts";
import { RunJudge } from "./run-judge.ts";
import type { RunObserver } from "./run-observer.ts";
import type { DagSource } from "./sandbox-config.ts";
import { needsSandbox } from "./sandbox-plan.ts";
import { NodeSecrets } from "./secrets/node-secrets.ts";
import type { SignatureGate, SignatureUse } from "./signing/signature-gate.ts";
import type { Snippets } from "./snippets.ts";
import type { StoreHost } from "./store/store-host.ts";
import { killStrays } from "./strays.ts";
import { templateEnvironment } from "./task-environment.ts";
import { closeUnopened, type UnopenedEnd } from "./unopened-run.ts";
import { unpackArtifact } from "./unpack-artifact.ts";

export interface AgentOptions {
  config: Config;
  /** The folder of the installation. */
  root: string;
  version: string;
  /** Nobody will go on with this state: what a crash leaves outside of it is nobody's. */
  isOneOff?: boolean;
  /** The store's, where it was started before. */
  storeThread?: Worker;
  hostEnv: Readonly<Record<string, string | undefined>>;
  /** The agent's own lines, as pino takes them. */
  say(level: LogLevel, text: string, fields?: Record<string, unknown>): void;
  /** Given for each run when it is opened. */
  observe?(run: string): RunObserver;
  /** A run has ended; everything about it is in the journal. */
  onRunFinished?(run: string, outcome: RunOutcome, summary: RunSummary): void;
  /** The master will not have this node. */
  onRefused?(code: string, detail: string): void;
  /** The journal is damaged and cannot be written: the agent has to be started again. */
  onDamaged?(): void;
  /** The master or a signal asked for a drain, which is done. */
  onDrained?(): void;
}

interface Closing {
  flushMs: number;
  isAll?: boolean;
}

interface PendingRun {
  run: string;
  digest: string;
  artifact: DagArtifact;
  params: { [name: string]: Json };
  events: readonly JournaledEvent[];
  startedAt: number;
}

/** What `accept` was given, and the signature that it may be taken with. */
interface Taken {
  run: string;
  artifact: DagArtifact;
  given: { [name: string]: Json };
  use: SignatureUse | undefined;
}

export class Agent {
  readonly #options: AgentOptions;
  readonly #journal: Journal;
  readonly #gate: SignatureGate | undefined;
  readonly #judge: RunJudge;
  readonly #execution: ExecutionParts;
  readonly #storeHost: StoreHost;
  readonly #shared: SharedParts;
  readonly #keeping: Keeping;
  readonly #runtimeDir: string;
  readonly #waiting: PendingRun[] = [];
  #current: OpenedRun | undefined;
  #currentDigest = "";
  #link: Link | undefined;
  #snippets: Snippets | undefined;
  #isSnippetsLinked = false;
  #isDraining = false;
  #isClosed = false;

  /** Fails with E_STATE_* diagnostics, or E_RUNTIME_DIR. */
  static async start(given: AgentOptions): Promise<Result<Agent>> {
    // The launcher, workers and tasks have other working folders than this process.
    const options: AgentOptions = {
      ...given,
      config: {
        ...given.config,
        stateDir: resolve(given.config.stateDir),
        runtimeDir: resolve(given.config.runtimeDir),
      },
    };
    const parts = await openParts(options);
    if (!parts.ok) return parts;
    const agent = new Agent(options, parts.value);
    for (const folder of agent.#shared.secrets.missingFolders()) {
      options.say("warn", `EDGEDAG_SECRETS_DIR: there is no folder ${folder}`);
    }
    agent.#begin();
    return { ok: true, value: agent };
  }

  private constructor(options: AgentOptions, parts: AgentParts) {
    this.#options = options;
    this.#journal = parts.journal;
    this.#gate = parts.gate;
    this.#execution = parts.execution;
    this.#storeHost = parts.storeHost;
    this.#runtimeDir = parts.runtimeDir;
    const { config, root, hostEnv } = options;
    const gpus = new Gpus(config.gpus ?? findGpus());
    this.#shared = {
      config,
      root,
      runtimeDir: parts.runtimeDir,
      outsidePrefix: outsidePrefix(config.stateDir, options.isOneOff ?? false),
      executor: parts.execution.executor,
      journal: parts.journal,
      storeHost: parts.storeHost,
      baseEnv: parts.baseEnv,
      templateEnv: templateEnvironment(hostEnv),
      capacity: {
        slots: config.slots,
        cpu: availableParallelism(),
        memoryBytes: hostMemoryBytes(),
        gpu: gpus.count,
        // What a holder has begun without us it would have to tell the next agent.
        ...(parts.execution.hasLauncher && !parts.execution.holds ? { lines: true } : {}),
      },
      gpus,
      secrets: new NodeSecrets({
        folders: config.secretsDirs,
        variables: config.secretValues,
        hostEnv,
      }),
      receipts: parts.receipts,
      ships: config.master !== "",
      orphans: parts.orphans,
      holds: parts.execution.holds,
      // The wall clock as it was at the start, moved on by a clock that never jumps.
      now: () => Math.round(performance.timeOrigin + performance.now()),
      commit: () => this.#keeping.commit(),
      whenKept: (told) => this.#keeping.whenKept(told),
      obstacle: (what, problem) => this.#keeping.obstacle(what, problem),
      sentBytes: () => this.#link?.sentBytes,
      mayWriteLog: () => !this.#keeping.isTight,
      segmentGone: (run, segment) => this.#journal.segmentGone(run, segment),
      onProblem: (text) => options.say("warn", text),
    };
    this.#judge = new RunJudge({
      config,
      journal: parts.journal,
      gate: parts.gate,
      isolation: parts.execution.isolation,
      secrets: this.#shared.secrets,
      say: options.say,
    });
    const { stateDir, heartbeatMs } = config;
    this.#keeping = new Keeping({
      journal: parts.journal,
      stateDir,
      heartbeatMs,
      outboxLimitBytes: config.master === "" ? 0 : config.outboxLimitBytes,
      hasReserve: config.master !== "",
      say: options.say,
      state: () => this.state,
      sandboxes: () => this.#execution.isolation.current?.pools(),
      committed: () => this.#link?.notify(this.#journal.outboxDepth()),
      damaged: () => options.onDamaged?.(),
    });
    this.#journal.onSegmentDropping = (run, segment) => {
      if (this.#current?.host.run === run) this.#current.log.leaveSegment(segment);
    };
    this.#journal.onSegmentDropped = (run, segment) => this.#removeSegment(run, segment);
  }

  #removeSegment(run: string, segment: number): void {
    try {
      if (this.#current?.host.run === run) this.#current.log.removeSegment(segment);
      else rmSync(segmentPath(this.#shared.config.stateDir, run, segment), { force: true });
    } catch (error) {
      // Its lines count as dropped, and are not sent: only room is lost.
      this.#options.say("warn", `a log segment cannot be removed: ${String(error)}`);
    }
  }

  get state(): "idle" | "running" | "draining" {
    if (this.#isDraining) return "draining";
    return this.#current === undefined && this.#waiting.length === 0 ? "idle" : "running";
  }

  get current(): OpenedRun | undefined {
    return this.#current;
  }

  get bootId(): string {
    return this.#journal.nodeBoot();
  }

  /** Runs that have not finished, the current one first. */
  openRuns(): string[] {
    const current = this.#current?.host.run;
    const waiting = this.#waiting.map((pending) => pending.run);
    return current === undefined ? waiting : [current, ...waiting];
  }

  /** The first open run of exactly this DAG. */
  openRunOf(artifact: DagArtifact): string | undefined {
    const digest = artifactDigest(artifact);
    if (this.#current !== undefined && this.#currentDigest === digest) {
      return this.#current.host.run;
    }
    return this.#waiting.find((pending) => pending.digest === digest)?.run;
  }

  /**
   * Takes a run: from here on it survives the agent. Fails with E_SIGNATURE_*, E_RUN_ID (no name, or
   * one that was used before), E_DAG_PARAM, E_SECRET_*, E_DAG_ISOLATION, E_DAG_POLICY, E_DAG_LANGUAGE,
   * E_SANDBOX, or E_STATE_*
   * when it cannot be written. The levels that the DAG asks for are tried first.
   */
  async accept(
    run: string,
    artifact: DagArtifact,
    given: { [name: string]: Json },
    source: DagSource,
  ): Promise<Result<null>> {
    const signed = this.#judge.judgeSignature(run, artifact);
    if (!signed.ok) return signed;
    const judged = await this.#judge.judge(artifact.dag, source);
    const taken = { run, artifact, given, use: signed.value };
    const accepted = this.#accept(taken, judged);
    // The run begins at once; whoever gave it may forget it only when it is on the disk.
    if (accepted.ok) await new Promise<void>((resolve) => this.#journal.whenSynced(resolve));
    return accepted;
  }

  #accept({ run, artifact, given, use }: Taken, judged: readonly Diagnostic[]): Result<null> {
    if (!runIdPattern.test(run)) {
      const message = `${JSON.stringify(run)} is no run id`;
      return refusal("E_RUN_ID", message, `A run id must match ${runIdPattern.source}.`);
    }
    if (this.openRuns().includes(run)) return { ok: true, value: null };
    if (this.#journal.knowsRun(run)) {
      const message = `a run ${run} has ended on this node before`;
      return refusal("E_RUN_ID", message, "Give every run a name of its own.");
    }
    const params = mergeParams(artifact.dag.attributes.params ?? {}, given);
    if (!params.ok || judged.length > 0) {
      return { ok: false, diagnostics: [...(params.ok ? [] : params.diagnostics), ...judged] };
    }
    const { config } = this.#options;
    if (use !== undefined) {
      // Another run may have been taken with it while the levels were tried.
      const signed = this.#judge.judgeSignature(run, artifact);
      if (!signed.ok) return signed;
    }
    let digest: string;
    try {
      digest = keepArtifact(config.stateDir, artifact, { sync: config.durability === "power" });
    } catch (error) {
      return refusal("E_STATE_IO", `the artifact cannot be kept: ${String(error)}`, stateRemedy);
    }
    const startedAt = this.#shared.now();
    crashPoint("agent.run-begin");
    this.#journal.beginRun(run, { digest, params: params.value, startedAt });
    if (use !== undefined) this.#journal.useSignature({ run, ...use });
    const committed = this.#journal.commit();
    if (!committed.ok) {
      this.#journal.withdrawRun(run);
      return committed;
    }
    crashPoint("agent.run-begun");
    this.#waiting.push({ run, digest, artifact, params: params.value, events: [], startedAt });
    this.#next();
    return { ok: true, value: null };
  }

  cancel(run: string, by: CancelledBy): boolean {
    if (this.#current?.host.run === run) {
      this.#current.host.cancel(by);
      return true;
    }
    const waiting = this.#waiting.find((pending) => pending.run === run);
    if (waiting === undefined) return false;
    // It becomes the current one as soon as it can, also after a restart, and is cancelled then.
    const asked = { type: "cancel-asked", by } as const;
    waiting.events = [...waiting.events, asked];
    this.#journal.append(run, [asked]);
    this.#keeping.commit();
    return true;
  }

  /** No new attempt from here on; resolves when nothing runs, or after `limitMs`. */
  async drain(limitMs: number): Promise<"drained" | "timed-out"> {
    this.#isDraining = true;
    const done = this.#current?.host.drain() ?? Promise.resolve();
    const timeout = Promise.withResolvers<"timed-out">();
    const timer = setTimeout(() => timeout.resolve("timed-out"), Math.min(limitMs, longestTimerMs));
    const how = await Promise.race([done.then(() => "drained" as const), timeout.promise]);
    clearTimeout(timer);
    this.#options.onDrained?.();
    return how;
  }

  /**
   * Ends everything. Attempts that still run are killed, and a restart settles them as lost; but what
   * may outlive this agent is left to the next one, unless everything is to end (`isAll`). Fails when
   * the last turns cannot be written: nothing of them was told, they are as if they had not been.
   */
  async close({ flushMs, isAll = false }: Closing): Promise<Result<null>> {
    if (this.#isClosed) return { ok: true, value: null };
    this.#isClosed = true;
    this.#keeping.end();
    const held = (this.#current?.host.held ?? 0) + this.#shared.orphans.waiting;
    const isLeft = !isAll && held > 0;
    if (isLeft) {
      const { orphansForMs } = this.#options.config;
      const text = `tasks go on without the agent (${held}), for at most ${orphansForMs} ms`;
      this.#options.say("info", text);
    }
    this.#current?.host.abandon(undefined, { isLeft });
    this.#current?.report.close();
    this.#snippets?.close();
    await (isLeft ? this.#shared.orphans.leave() : this.#shared.orphans.close());
    await this.#execution.close({ isLeft });
    await this.#storeHost.close();
    const unsent = (await this.#link?.close({ flushMs })) ?? 0;
    if (unsent > 0) {
      this.#options.say("warn", `${unsent} records wait in the outbox for the next start`);
    }
    const kept = this.#keeping.close();
    // What goes on knows the path of its store's socket.
    if (!isLeft) rmSync(this.#runtimeDir, { recursive: true, force: true });
    return kept;
  }

  /** Connects to the master. The agent runs on whatever comes of it. */
  async connect(capabilities: Capabilities): Promise<void> {
    const { startLink } = await import("./agent-link.ts");
    const { config, version, say, onRefused } = this.#options;
    this.#link = startLink({
      config,
      version,
      say,
      capabilities,
      boot: this.#journal.nodeBoot(),
      journal: this.#journal,
      status: () => this.#status(),
      // In the master's own process they come by a shorter way.
      snippets: this.#isSnippetsLinked ? this.#snippets : undefined,
      accept: (run, artifact, params) => this.accept(run, artifact, params, "gateway"),
      cancel: (run, by) => this.cancel(run, by),
      drain: () => void this.drain(config.drainMs),
      refused: (code, detail) => onRefused?.(code, detail),
      acked: () => this.#keeping.maintainSoon(),
      lost: (text) => this.#keeping.notice(text),
      unreadable: (problem) => this.#keeping.obstacle("link", problem),
    });
    this.#link.notify(this.#journal.outboxDepth());
  }

  /**
   * Makes this node one that runs snippets; to be called before `connect`. `isLinked`: the master
   * assigns them over the link. Fails as `Snippets.open` does.
   */
  async openSnippets({ isLinked }: { isLinked: boolean }): Promise<Result<Snippets>> {
    const unsigned = this.#gate?.refuseSnippets();
    if (unsigned !== undefined) return { ok: false, diagnostics: [unsigned] };
    const { Snippets } = await import("./snippets.ts");
    const { isolation } = this.#execution;
    const { config, baseEnv, now } = this.#shared;
    const opened = await Snippets.open({ config, isolation, baseEnv, now });
    if (opened.ok) this.#snippets = opened.value;
    this.#isSnippetsLinked = isLinked;
    return opened;
  }

  /** Usage of a task that runs in a sandbox: the last 1,000 samples, one each 100 ms. */
  samples(run: string, task: string): Samples | undefined {
    return this.#execution.isolation.current?.samples(run, task);
  }

  /** What this node can do; every level is tried. */
  async capabilities(): Promise<Capabilities> {
    const { hasLauncher, python, isolation } = this.#execution;
    return await probeCapabilities({
      python: python(),
      env: this.#shared.baseEnv,
      hasLauncher,
      gpus: this.#shared.gpus.count,
      isolation: hasLauncher ? isolation : undefined,
      say: this.#options.say,
    });
  }

  // ---- runs ----

  #begin(): void {
    const { config, say } = this.#options;
    const openRuns = this.#journal.openRuns();
    const isBegun = openRuns.some(({ events }) => events.length > 0);
    if (isBegun) this.#killStrays();
    for (const open of openRuns) {
      const { run, digest, params = {}, startedAt, damage } = open;
      try {
        if (damage !== undefined) throw new Error(damage);
        const artifact = readKeptArtifact(config.stateDir, digest);
        const signed = this.#gate?.judgeAgain(digest, this.#journal.signatures.envelopeOf(run));
        if (signed?.ok === false) {
          throw new Error(signed.diagnostics.map((d) => `${d.code}: ${d.message}`).join("; "));
        }
        this.#judge.warn(run, signed?.warnings ?? []);
        // The journal gives back what this class appended.
        const events = open.events as JournaledEvent[];
        this.#waiting.push({ run, digest, artifact, params, events, startedAt });
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error);
        say("error", `run ${run} cannot go on: ${why}`);
        this.#closeUnopened(run, why);
      }
    }
    removeSharedMemory(this.#shared.outsidePrefix, this.openRuns());
    this.#keeping.begin();
    void this.#shared.orphans.dropAllBut(this.openRuns());
    this.#next();
  }

  /** A launcher that was killed with the agent has left behind what its tasks had started. */
  #killStrays(): void {
    const { orphans, outsidePrefix } = this.#shared;
    const killed = killStrays(outsidePrefix, orphans.attempts());
    if (killed > 0) this.#options.say("warn", `${killed} processes of lost tasks were killed`);
  }

  #next(): void {
    if (this.#current !== undefined || this.#isDraining || this.#isClosed) return;
    const pending = this.#waiting.shift();
    if (pending === undefined) return;
    const { run, artifact, events, startedAt } = pending;
    let opened: Result<OpenedRun>;
    try {
      opened = this.#open(pending);
    } catch (error) {
      const story = error instanceof Error ? (error.stack ?? error.message) : String(error);
      this.#options.say("fatal", `a bug of edgedag ended run ${run}: ${story}`, storyOf(error));
      const { outcome, summary } = this.#closeUnopened(run, "a bug of edgedag");
      this.#finished(run, outcome, summary);
      return;
    }
    if (!opened.ok) {
      const [problem] = opened.diagnostics;
      this.#keeping.obstacle(
        "run",
        `${problem?.code}: run ${run} cannot be opened: ${problem?.message} (${problem?.remedy})`,
      );
      this.#waiting.unshift(pending);
      setTimeout(() => this.#next(), retryMs).unref();
      return;
    }
    this.#keeping.obstacle("run", undefined);
    this.#current = opened.value;
    this.#currentDigest = pending.digest;
    const { host } = opened.value;
    this.#execution.warm(artifact.dag);
    this.#warmSandboxes(artifact.dag);
    // Written again after a restart before the start (unpacking may have been cut short), and when
    // somebody has removed the working folder; else tasks may have changed the files.
    const isBegun = events.some((event) => event.type === "run-started");
    const { folders } = opened.value;
    const unpacked = isBegun && !folders.isNew ? undefined : this.#unpack(artifact, folders.work);
    Promise.all([opened.value.openStore(), unpacked])
      .then(async ([, files]) => {
        if (this.#isClosed) return;
        if (files !== undefined && !files.ok) throw new Error(files.diagnostics[0]?.message);
        if (events.length === 0) host.start();
        else await host.resume(events, startedAt);
      })
      .catch((error: unknown) => this.#broken(run, error));
  }

  /** A disk that is full or broken is tried until it takes the files; anything else is final. */
  async #unpack(artifact: DagArtifact, work: string): Promise<Result<number>> {
    const sync = this.#shared.config.durability === "power";
    while (true) {
      const unpacked = await unpackArtifact(artifact, work, { sync });
      const [problem] = unpacked.ok ? [] : unpacked.diagnostics;
      if (problem?.code !== "E_STATE_IO" || this.#isClosed) {
        this.#keeping.obstacle("run", undefined);
        return unpacked;
      }
      this.#keeping.obstacle("run", `${problem.code}: ${problem.message} (${problem.remedy})`);
      await delay(retryMs, undefined, { ref: false });
    }
  }

  #warmSandboxes(dag: DagDocument): void {
    if (!dag.nodes.some(({ attributes }) => needsSandbox(attributes))) return;
    const { isolation } = this.#execution;
    isolation.open().then(
      async (opened) => {
        if (!opened.ok) return; // told with the first task that needs one
        await opened.value.prepare(dag);
        opened.value.warm(dag);
      },
      (error: unknown) => this.#options.say("error", `sandboxes: ${String(error)}`),
    );
  }

  #open(pending: PendingRun): Result<OpenedRun> {
    const { run } = pending;
    try {
      const opened = openRun(pending, this.#shared, {
        observer: this.#options.observe?.(run) ?? {},
        finished: (outcome, summary) => this.#finished(run, outcome, summary),
        broken: (error) => this.#broken(run, error),
      });
      return opened;
    } catch (error) {
      // A file system that is full or read-only; anything else is a bug and not for a retry.
      if (!(error instanceof Error) || !("syscall" in error)) throw error;
      return refusal("E_STATE_IO", error.message, stateRemedy);
    }
  }

  #finished(run: string, outcome: RunOutcome, summary: RunSummary): void {
    const current = this.#current;
    this.#current = undefined;
    this.#options.onRunFinished?.(run, outcome, summary);
    current?.close();
    this.#keeping.maintainSoon();
    this.#next();
  }

  /** The one net for bugs: the run is closed as failed, the agent goes on with the next. */
  #broken(run: string, error: unknown): void {
    const told = error instanceof Error ? (error.stack ?? error.message) : String(error);
    const current = this.#current;
    const mask = current?.mask;
    const story = mask === undefined ? told : mask.text(told);
    const more = mask === undefined ? storyOf(error) : undefined;
    this.#options.say("fatal", `a bug of edgedag ended run ${run}: ${story}`, more);
    if (current?.host.run !== run) return;
    current.host.abandon(story);
    const outcome: RunOutcome = { kind: "failed", failed: [] };
    const { succeeded, failed, skipped, cancelled, attempts, total } = current.host.state.counts;
    const summary = { tasks: total, succeeded, failed, skipped, cancelled, attempts, wallMs: 0 };
    if (this.#journal.isOpen(run)) {
      current.report.runFinished(outcome, summary);
      this.#journal.finishRun(run, outcome);
      this.#keeping.commit();
    }
    this.#finished(run, outcome, summary);
  }

  /** A run that cannot even be opened ends as failed, and the master is told. */
  #closeUnopened(run: string, why: string): UnopenedEnd {
    const { config } = this.#shared;
    const { say } = this.#options;
    const end = closeUnopened(run, why, { journal: this.#journal, stateDir: config.stateDir, say });
    this.#keeping.commit();
    return end;
  }

  // ---- link ----

  #status() {
    const runs: { [run: string]: { done: number; total: number; running: number } } = {};
    const host = this.#current?.host;
    if (host !== undefined) {
      const { succeeded, failed, skipped, cancelled, total, running } = host.state.counts;
      runs[host.run] = { done: succeeded + failed + skipped + cancelled, total, running };
    }
    const sandboxes = this.#execution.isolation.current?.pools();
    return { state: this.state, runs, ...(sandboxes === undefined ? {} : { sandboxes }) };
  }
}

const stateRemedy = "Check EDGEDAG_STATE: its rights and the space that is left.";

function refusal(code: string, message: string, remedy: string): Result<never> {
  return { ok: false, diagnostics: [{ code, path: "", message, remedy }] };
}

function storyOf(error: unknown): Record<string, unknown> | undefined {
  return error instanceof Error && "story" in error ? { story: error.story } : undefined;
}
