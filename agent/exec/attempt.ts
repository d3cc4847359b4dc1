// One attempt from what to run to how it ended, whatever carries it out: a process by the launcher,
// or a call in a warm worker. Knows nothing of DAGs, journals or the master.
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readFileSync,
  renameSync,
} from "node:fs";
import type { Json } from "../../protocol/json.ts";
import { isTooDeep, maxJsonDepth } from "../../protocol/json-depth.ts";
import type { Facts, Failure, Outcome } from "../../protocol/outcome.ts";
import type { SandboxOutputs, SandboxSpec } from "./isolation/sandbox-spec.ts";
import type { Launcher, LauncherProcess, ProcessEnd, ProcessSpec } from "./launcher/launcher.ts";
import type {
  FollowListener,
  HeldHandle,
  HeldProcess,
  HoldNote,
  StreamBytes,
} from "./launcher/process.ts";
import type { PoolGroups } from "./workers/pool-groups.ts";
import type {
  CallEnd,
  CallHandle,
  CallListener,
  CallSpec,
  WorkerPool,
} from "./workers/worker-pool.ts";

/** Results above this many bytes of JSON text travel as files. */
export const largeValueBytes = 64 * 1024;
/** A process that takes longer keeps nothing waiting that need not wait for it. */
const patienceMs = 10;
/** A result file above this is not read to check it: 512 MiB is what a JavaScript text can hold. */
const maxResultBytes = 480 * 2 ** 20;

export interface ResultFile {
  path: string;
  sizeBytes: number;
}

export type AttemptSpec =
  | {
      kind: "process";
      process: ProcessSpec;
      /** Where the program may write its result, and where a large one is moved. */
      resultPath: string;
      largePath: string;
    }
  | {
      kind: "call";
      runtime: "python" | "node";
      call: CallSpec;
      /** Calls of a group have workers of their own. */
      group?: string;
    }
  | { kind: "sandboxed"; sandboxed: SandboxSpec };

export interface AttemptEnd {
  outcome: Outcome;
  facts: Facts;
  result?: Json;
  file?: ResultFile;
  /** Of a sandbox: files that the task left there. */
  outputs?: SandboxOutputs;
}

export interface AttemptListener {
  /** `at` is Unix time in milliseconds with fractions; `isOver`: its end follows at once. */
  started(info: { at: number; pid?: number; isOver?: boolean }): void;
  output(stream: "stdout" | "stderr", bytes: Buffer): void;
  /** Exactly once, last. `returned`: it was never begun and will not be. */
  ended(end: AttemptEnd | "returned"): void;
}

export interface Attempt {
  /** Polite end, then, after the grace period, a forced one of the whole tree. */
  stop(graceMs: number): void;
  /** Of a process that outlives this agent. */
  readonly held?: HeldHandle;
  /** The call's place at its worker, for what is to run right behind it. */
  readonly call?: CallHandle | undefined;
  /** The same of a process, where there is a launcher. */
  readonly line?: ProcessLine | undefined;
}

export interface ProcessLine {
  follow: NonNullable<LauncherProcess["follow"]>;
  /** Where a result would be, which only we can judge. */
  resultPath: string;
}

/** What this one is to run right behind: a call of the same runtime, or a process. */
export interface Behind {
  attempt: Attempt;
  /** Its success is this one's condition. */
  isCondition: boolean;
}

/** A process that has outlived its agent, and how much of its output the log has. */
export interface Orphan {
  launcher: Pick<Launcher, "take">;
  held: HeldProcess;
  from: StreamBytes;
}

export interface ExecutorParts {
  launcher: Pick<Launcher, "spawn" | "flush">;
  /** Starts what is to be held; absent: everything ends with this agent. */
  holder?: Pick<Launcher, "spawn" | "flush">;
  pools: { readonly [runtime in "python" | "node"]: WorkerPool };
  groups: PoolGroups;
  /** Carries out what needs a sandbox; absent: this node has none. */
  sandboxed?(spec: SandboxSpec, listener: AttemptListener): Attempt;
}

export class Executor {
  readonly #parts: ExecutorParts;

  constructor(parts: ExecutorParts) {
    this.#parts = parts;
  }

  start(spec: AttemptSpec, listener: AttemptListener, behind?: Behind): Attempt {
    switch (spec.kind) {
      case "process":
        return this.#startProcess(spec, listener, behind);
      case "call":
        return this.#startCall(spec, listener, behind);
      case "sandboxed":
        return this.#startSandboxed(spec.sandboxed, listener);
    }
  }

  /** Sends everything that was started in this turn. */
  flush(): void {
    this.#parts.launcher.flush();
    this.#parts.holder?.flush();
    this.#parts.pools.python.flush();
    this.#parts.pools.node.flush();
    this.#parts.groups.flush();
  }

  /** Ends the workers of all groups. */
  async closeGroups(): Promise<void> {
    await this.#parts.groups.close();
  }

  #startProcess(
    spec: AttemptSpec & { kind: "process" },
    listener: AttemptListener,
    behind: Behind | undefined,
  ): Attempt {
    const line = behind?.attempt.line;
    if (behind !== undefined && line !== undefined) {
      const { isCondition } = behind;
      const how = isCondition
        ? { isCondition, absent: line.resultPath }
        : { isCondition, patienceMs };
      return track(spec, listener, (heard) => line.follow(spec.process, heard, how));
    }
    const { launcher, holder = launcher } = this.#parts;
    const starter = spec.process.held === undefined ? launcher : holder;
    return track(spec, listener, (heard) => starter.spawn(spec.process, heard));
  }

  /** Goes on with the process of an earlier agent. */
  adopt(
    spec: AttemptSpec & { kind: "process" },
    { launcher, held, from }: Orphan,
    note: HoldNote,
    listener: AttemptListener,
  ): Attempt {
    return track(spec, listener, (heard) =>
      launcher.take(held, { spec: spec.process, from, note, listener: heard }),
    );
  }

  #startSandboxed(spec: SandboxSpec, listener: AttemptListener): Attempt {
    if (this.#parts.sandboxed !== undefined) return this.#parts.sandboxed(spec, listener);
    const { level } = spec.kind;
    const detail = "this node has no launcher, and without one no sandbox";
    const outcome = failed({ reason: "sandbox", level, detail });
    queueMicrotask(() => listener.ended({ outcome, facts: {} }));
    return { stop: () => {} };
  }

  #startCall(
    { runtime, call, group }: AttemptSpec & { kind: "call" },
    listener: AttemptListener,
    behind: Behind | undefined,
  ): Attempt {
    const { pools, groups } = this.#parts;
    const pool = group === undefined ? pools[runtime] : groups.pool(group, runtime);
    const attempt = new CallAttempt(listener);
    if (behind?.attempt.call === undefined) attempt.call = pool.submit(call, attempt);
    else {
      call.after = behind.isCondition;
      attempt.call = pool.append(behind.attempt.call, call, attempt);
    }
    return attempt;
  }
}

/** One object for both sides: an attempt of a function costs microseconds. */
class CallAttempt implements Attempt, CallListener {
  call: CallHandle | undefined = undefined;
  #isStopped = false;
  readonly #listener: AttemptListener;

  constructor(listener: AttemptListener) {
    this.#listener = listener;
  }

  started(at: number, isOver: boolean): void {
    this.#listener.started({ at, isOver });
  }

  output(stream: "stdout" | "stderr", bytes: Buffer): void {
    this.#listener.output(stream, bytes);
  }

  finished(end: CallEnd): void {
    if (end.kind === "returned" || end.kind === "skipped") this.#listener.ended("returned");
    else this.#listener.ended(callEnd(end, this.#isStopped));
  }

  stop(graceMs: number): void {
    this.#isStopped = true;
    this.call?.cancel(graceMs);
  }
}

function track(
  spec: AttemptSpec & { kind: "process" },
  listener: AttemptListener,
  start: (heard: FollowListener) => LauncherProcess,
): Attempt {
  let isStopped = false;
  const process = start({
    started: (info) => listener.started({ at: info.startedAt, pid: info.pid }),
    output: (stream, bytes) => listener.output(stream, bytes),
    mark: () => {},
    ended: (end) => listener.ended(processEnd(end, { spec, isStopped })),
    returned: () => listener.ended("returned"),
  });
  const stop = (graceMs: number) => {
    isStopped = true;
    process.kill(graceMs);
  };
  const { held, follow } = process;
  const line = follow === undefined ? undefined : { follow, resultPath: spec.resultPath };
  return { stop, line, ...(held === undefined ? {} : { held }) };
}

function callEnd(
  end: Exclude<CallEnd, { kind: "returned" | "skipped" }>,
  isStopped: boolean,
): AttemptEnd {
  const { facts } = end;
  facts.isolation = "none";
  if (end.kind === "failed") {
    const outcome: Outcome =
      isStopped && endedByStop.has(end.failure.reason)
        ? { kind: "cancelled", by: "user" }
        : failed(end.failure);
    return { outcome, facts };
  }
  if (isTooDeep(end.result)) {
    return { outcome: failed({ reason: "bad-result", detail: tooDeep }), facts };
  }
  return {
    outcome: { kind: "succeeded" },
    facts,
    ...(end.result === undefined || end.result === null ? {} : { result: end.result }),
    ...(end.resultFile === undefined ? {} : { file: end.resultFile }),
  };
}

/** How something ends that was told to stop; a limit that it ran into before is still a failure. */
const endedByStop: ReadonlySet<Failure["reason"]> = new Set([
  "signal",
  "lost",
  "exit-code",
  "bad-result",
  "spawn",
]);
const tooDeep = `the result is nested more than ${maxJsonDepth} levels deep`;

interface ProcessContext {
  spec: AttemptSpec & { kind: "process" };
  isStopped: boolean;
}

function processEnd(end: ProcessEnd, { spec, isStopped }: ProcessContext): AttemptEnd {
  if (end.kind !== "exited" && isStopped) {
    return { outcome: { kind: "cancelled", by: "user" }, facts: {} };
  }
  if (end.kind === "lost") {
    const detail = "the launcher ended while the task ran";
    return { outcome: failed({ reason: "lost", detail }), facts: {} };
  }
  if (end.kind === "spawn-failed") {
    const { errno, detail } = end;
    return { outcome: failed({ reason: "spawn", errno, detail }), facts: {} };
  }
  const facts: Facts = { ...end.facts, isolation: "none" };
  if (end.exitCode !== undefined) facts.exitCode = end.exitCode;
  if (end.signal !== undefined) facts.signal = end.signal;
  const limits = spec.process;
  if (end.stopped === "timeout") {
    return { outcome: failed({ reason: "timeout", limitMs: limits.timeoutMs ?? 0 }), facts };
  }
  if (end.stopped === "output") {
    const limitBytes = limits.outputLimitBytes ?? 0;
    return { outcome: failed({ reason: "output-limit", limitBytes }), facts };
  }
  if (end.exitCode === 0) return { facts, ...readResult(spec) };
  if (isStopped) return { outcome: { kind: "cancelled", by: "user" }, facts };
  return { outcome: failed(failureOf(end, limits)), facts };
}

function failureOf(end: ProcessEnd & { kind: "exited" }, limits: ProcessSpec): Failure {
  if (end.signal === undefined) return { reason: "exit-code", code: end.exitCode ?? -1 };
  const limitOf = (name: string) => limits.rlimits?.find((limit) => limit.name === name)?.soft;
  const cpuSeconds = limitOf("cpu");
  if (end.signal === "SIGXCPU" && cpuSeconds !== undefined) {
    return { reason: "cpu-time", limitMs: cpuSeconds * 1000 };
  }
  const fileBytes = limitOf("fsize");
  if (end.signal === "SIGXFSZ" && fileBytes !== undefined) {
    return { reason: "disk-limit", limitBytes: fileBytes };
  }
  return { reason: "signal", signal: end.signal };
}

function failed(failure: Failure): Outcome {
  return { kind: "failed", failure };
}

/** What the program left in the file named by EDGEDAG_RESULT; none is a success without result. */
function readResult({
  resultPath,
  largePath,
  process: { held },
}: AttemptSpec & { kind: "process" }): Pick<AttemptEnd, "outcome" | "result" | "file"> {
  const bad = (detail: string): Pick<AttemptEnd, "outcome"> => ({
    outcome: failed({ reason: "bad-result", detail }),
  });
  // Most programs leave none: an open that fails costs ten times as much as this look.
  if (lstatSync(resultPath, { throwIfNoEntry: false }) === undefined) {
    // The agent before this one may have moved it, and died before its journal had the end.
    const moved = held === undefined ? undefined : lstatSync(largePath, { throwIfNoEntry: false });
    return moved === undefined
      ? { outcome: { kind: "succeeded" } }
      : { outcome: { kind: "succeeded" }, file: { path: largePath, sizeBytes: moved.size } };
  }
  let fd: number | undefined;
  try {
    // What is looked at is what is read: not a link to elsewhere, not a pipe that never ends.
    const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
    fd = openSync(resultPath, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    const stat = fstatSync(fd);
    if (!stat.isFile()) return bad(notRegular);
    if (stat.size > maxResultBytes)
      return bad(`the result has ${stat.size} bytes, too many to read`);
    const text = readFileSync(fd, "utf8");
    if (text.trim() === "") return { outcome: { kind: "succeeded" } };
    const result = JSON.parse(text) as Json; // JSON.parse gives nothing but Json
    if (isTooDeep(result)) return bad(tooDeep);
    if (stat.size <= largeValueBytes) return { outcome: { kind: "succeeded" }, result };
    // Both lie in the run's shared-memory folder: a rename is enough.
    renameSync(resultPath, largePath);
    return {
      outcome: { kind: "succeeded" },
      file: { path: largePath, sizeBytes: stat.size },
    };
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ENOENT") return { outcome: { kind: "succeeded" } };
    if (code === "ELOOP" || code === "ENXIO") return bad(notRegular);
    return bad(`the file that EDGEDAG_RESULT names is not JSON: ${messageOf(error)}`);
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

const notRegular = "EDGEDAG_RESULT is not a regular file";

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
