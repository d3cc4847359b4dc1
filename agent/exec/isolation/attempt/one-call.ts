// A runner that waits in a box and gets exactly one call: its start, its hello, the call, and what
// it says of it. What comes from inside is a stranger's: nothing of it is believed, kept without
// bound or waited for without end. The box is not its own; whoever has it throws it away afterwards.
import { randomBytes } from "node:crypto";
import type { Facts, Failure } from "../../../../protocol/outcome.ts";
import type { LauncherProcess, ProcessEnd, ProcessSpec } from "../../launcher/process.ts";
import { type Call, type CallSpec, nothingSaid, writeCall } from "../../workers/call.ts";
import { encodeFrame } from "../../workers/channel.ts";
import { type Done, decodeWorkerMessage } from "../../workers/messages.ts";
import {
  failureOfEnd,
  lastBytes,
  spawnFailureOfEnd,
  type WorkerStory,
} from "../../workers/worker-failure.ts";
import { isSameToken } from "../../workers/worker-server.ts";
import { type Box, BoxError } from "../box.ts";
import { BoundedFrames } from "./bounded-frames.ts";
import type { Ran, RunListener, Running, Stopped } from "./ran.ts";

export interface OneCallSpec extends Omit<CallSpec, "after" | "own" | "timeoutMs"> {
  timeoutMs: number;
  outputLimitBytes: number;
  rlimits?: ProcessSpec["rlimits"];
}

export interface WarmOptions {
  helloTimeoutMs?: number;
  /** A file, as the box sees it, that the task finds on its stdin. */
  stdin?: string | undefined;
  /** It has ended before it got a call. */
  gone?(): void;
}

const callId = 1;
const workerId = 1;
/** Answers hold at most 64 KiB of result; what is above travels as a file. */
const maxAnswerBytes = 2 ** 20;
const maxCallBytes = 48 * 2 ** 20;
const defaultHelloTimeoutMs = 30_000;
/** From the answer to giving up on the marks: the task may have closed its streams. */
const marksLimitMs = 1_000;

type State =
  | { id: "starting"; ready: PromiseWithResolvers<void> }
  | { id: "waiting" }
  | { id: "calling"; call: Called }
  | { id: "over" };

interface Called {
  call: Call;
  spec: OneCallSpec;
  listener: RunListener;
  done: PromiseWithResolvers<Ran>;
  startedAt: number;
  /** When the answer came, on the clock of `performance`. */
  answeredAt: number | undefined;
  answer: Extract<Done, { kind: "succeeded" | "failed" }> | undefined;
  isMarked: { stdout: boolean; stderr: boolean };
  droppedBytes: number;
  stopped: Stopped | undefined;
}

export class OneCall {
  readonly runtime: "python" | "node";
  readonly #box: Box;
  readonly #options: WarmOptions;
  readonly #token = randomBytes(16).toString("hex");
  readonly #argv: readonly string[];
  readonly #process: LauncherProcess;
  readonly #frames = new BoundedFrames(maxAnswerBytes);
  #state: State;
  #pid: number | undefined;
  #tail: Buffer = Buffer.alloc(0);
  #verdict: Failure | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** Resolves when it waits for its call; rejects with BoxError. */
  static async warm(
    box: Box,
    runtime: "python" | "node",
    options: WarmOptions = {},
  ): Promise<OneCall> {
    const ready = Promise.withResolvers<void>();
    const worker = new OneCall(box, { runtime, options, ready });
    await ready.promise;
    return worker;
  }

  private constructor(
    box: Box,
    {
      runtime,
      options,
      ready,
    }: {
      runtime: "python" | "node";
      options: WarmOptions;
      ready: PromiseWithResolvers<void>;
    },
  ) {
    this.runtime = runtime;
    this.#box = box;
    this.#options = options;
    this.#state = { id: "starting", ready };
    const { argv, env } = box.worker(runtime);
    const mark = randomBytes(8);
    this.#argv = argv;
    this.#process = box.spawn(
      {
        argv,
        env: {
          ...env,
          EDGEDAG_WORKER_ID: String(workerId),
          EDGEDAG_WORKER_TOKEN: this.#token,
          EDGEDAG_WORKER_MARK: mark.toString("hex"),
        },
        cwd: box.inside.work,
        graceMs: 0,
        relay: true,
        mark,
        ...(options.stdin === undefined ? {} : { stdin: options.stdin }),
      },
      {
        started: ({ pid }) => {
          this.#pid = pid;
        },
        output: (stream, bytes) => this.#output(stream, bytes),
        mark: (stream, id) => this.#mark(stream, id),
        channel: (bytes) => this.#channel(bytes),
        ended: (end) => this.#ended(end),
      },
    );
    const limitMs = options.helloTimeoutMs ?? defaultHelloTimeoutMs;
    this.#timer = setTimeout(() => {
      const detail = `the runner did not report within ${limitMs} ms`;
      this.#verdict = { reason: "spawn", errno: "ETIMEDOUT", detail };
      this.#process.kill(0);
    }, limitMs);
  }

  /** Once only. The box must have been armed. */
  call(spec: OneCallSpec, listener: RunListener): Running {
    const done = Promise.withResolvers<Ran>();
    const callSpec: CallSpec = spec;
    const call: Call = {
      id: callId,
      spec: callSpec,
      listener: { started: () => {}, output: () => {}, finished: () => {} },
      startedAt: undefined,
      end: undefined,
      isUnmarked: false,
      stdoutBytes: 0,
      stderrBytes: 0,
      claim: 0,
      cancelGraceMs: undefined,
    };
    const called: Called = {
      call,
      spec,
      listener,
      done,
      startedAt: performance.now(),
      answeredAt: undefined,
      answer: undefined,
      isMarked: { stdout: false, stderr: false },
      droppedBytes: 0,
      stopped: undefined,
    };
    if (this.#state.id !== "waiting") throw new Error("a runner in a box gets one call only");
    this.#state = { id: "calling", call: called };
    this.#send(called);
    return {
      ran: done.promise,
      stop: (graceMs) => {
        call.cancelGraceMs = graceMs;
        called.stopped ??= "killed";
        this.#process.kill(graceMs);
      },
    };
  }

  /** Ends it without a call. */
  discard(): void {
    if (this.#state.id === "waiting") this.#state = { id: "over" };
    this.#process.kill(0);
  }

  #send(called: Called): void {
    const { spec, call, listener } = called;
    const frame = encodeFrame(`{"run":[${writeCall(call, nothingSaid())}]}`);
    if (frame.length > maxCallBytes) {
      const detail = `code, arguments and inputs have ${frame.length} bytes; at most ${maxCallBytes} can be handed over`;
      this.#finish(called, { failure: { reason: "bad-result", detail } });
      return;
    }
    const { timeoutMs, graceMs, outputLimitBytes, rlimits } = spec;
    const arming = { timeoutMs, graceMs, outputLimitBytes };
    void this.#process
      .arm?.(rlimits === undefined ? arming : { ...arming, rlimits })
      .then((problem) => this.#armed(problem));
    called.startedAt = performance.now();
    this.#process.send?.(frame);
    const at = performance.timeOrigin + called.startedAt;
    listener.started(this.#pid === undefined ? { at } : { at, pid: this.#pid });
  }

  /** The launcher kills it where a limit could not be set. */
  #armed(problem: string | undefined): void {
    if (problem === undefined) return;
    const { level } = this.#box.kind;
    const detail = `the limits of the task could not be set: ${problem}`;
    this.#verdict ??= { reason: "sandbox", level, detail };
  }

  #output(stream: "stdout" | "stderr", bytes: Buffer): void {
    const state = this.#state;
    if (state.id === "starting") this.#tail = lastBytes(this.#tail, bytes);
    if (state.id !== "calling" || state.call.isMarked[stream]) return;
    const { call, spec, listener } = state.call;
    const left = spec.outputLimitBytes - call.stdoutBytes - call.stderrBytes;
    // The launcher holds the limit; this one holds also if the launcher in the box is not ours.
    const kept = bytes.length <= left ? bytes : bytes.subarray(0, Math.max(0, left));
    if (stream === "stdout") call.stdoutBytes += bytes.length;
    else call.stderrBytes += bytes.length;
    if (kept.length > 0) listener.output(stream, kept);
    if (kept.length === bytes.length) return;
    state.call.droppedBytes += bytes.length - kept.length;
    if (state.call.stopped === "output") return;
    state.call.stopped = "output";
    this.#process.kill(spec.graceMs);
  }

  #mark(stream: "stdout" | "stderr", id: number): void {
    if (this.#state.id !== "calling" || id !== callId) return;
    this.#state.call.isMarked[stream] = true;
    this.#settle(this.#state.call);
  }

  #channel(bytes: Buffer | undefined): void {
    if (this.#state.id === "over") return;
    // A runner that ends closes it first; the process's end tells more.
    if (bytes === undefined) return;
    const { frames, problem } = this.#frames.read(bytes);
    for (const frame of frames) this.#frame(frame);
    if (problem !== undefined) this.#giveUp(problem);
    if (this.#state.id === "calling") this.#settle(this.#state.call);
  }

  #frame(text: string): void {
    const state = this.#state;
    if (state.id === "over") return;
    const message = decodeWorkerMessage(text);
    if (message === undefined) {
      this.#giveUp("it sent what is no message");
    } else if (state.id === "starting") {
      const isOurs = message.kind === "hello" && isSameToken(message.hello.token, this.#token);
      if (isOurs) {
        clearTimeout(this.#timer);
        this.#state = { id: "waiting" };
        state.ready.resolve();
      } else {
        this.#giveUp("its first message was no hello");
      }
    } else if (message.kind === "hello" || state.id === "waiting") {
      this.#giveUp("it spoke without having been asked");
    } else {
      for (const done of message.done) this.#answer(state.call, done);
    }
  }

  #answer(called: Called, done: Done): void {
    const problem = problemOf(called, done);
    if (problem !== undefined || (done.kind !== "succeeded" && done.kind !== "failed")) {
      this.#giveUp(problem ?? "it did not run its call");
      return;
    }
    called.answer = done;
    called.answeredAt = performance.now();
    if (done.unmarked === true) called.isMarked = { stdout: true, stderr: true };
    this.#timer = setTimeout(() => {
      called.isMarked = { stdout: true, stderr: true };
      this.#settle(called);
    }, marksLimitMs);
  }

  #settle(called: Called): void {
    const { answer, isMarked } = called;
    if (this.#state.id !== "calling" || answer === undefined) return;
    if (!isMarked.stdout || !isMarked.stderr) return;
    this.#finish(called, resultOf(answer));
  }

  /** Whose code is inside after the call is not known: what it breaks is the task's own. */
  #giveUp(what: string): void {
    const state = this.#state;
    const detail = `the channel of the function is broken: ${what}`;
    this.#verdict ??= { reason: "bad-result", detail };
    if (state.id === "calling") this.#finish(state.call, { failure: this.#verdict });
    if (state.id === "waiting") this.#options.gone?.();
    if (state.id !== "starting") this.#state = { id: "over" };
    this.#process.kill(0);
  }

  #ended(end: ProcessEnd): void {
    const state = this.#state;
    this.#state = { id: "over" };
    clearTimeout(this.#timer);
    if (state.id === "starting") {
      const { detail } = spawnFailureOfEnd(end, this.#story());
      const remedy = `See that ${this.#argv[0] ?? "the runtime"} runs in ${this.#box.kind.level} sandboxes.`;
      state.ready.reject(new BoxError(`no ${this.runtime} runner: ${detail}`, remedy));
    } else if (state.id === "waiting") {
      this.#options.gone?.();
    } else if (state.id === "calling") {
      this.#state = state;
      const { call } = state;
      const ran = this.#ranOf(call, end);
      // What it has answered counts, also when its marks do not come any more.
      if (call.answer === undefined) this.#finish(call, ran);
      else this.#finish(call, { ...withoutFailure(ran), ...resultOf(call.answer) });
    }
  }

  #ranOf(called: Called, end: ProcessEnd): Partial<Ran> {
    if (end.kind === "lost") {
      const detail = "the launcher ended while the function ran";
      return { failure: { reason: "lost", detail }, isLost: true };
    }
    const ran: Partial<Ran> = { failure: failureOfEnd(called.call, end, this.#story()) };
    if (end.kind !== "exited") return ran;
    const { stopped, exitCode, signal } = end;
    const facts: Facts = { ...end.facts };
    // The launcher counts from the runner's start.
    delete facts.startedAt;
    delete facts.wallMs;
    if (exitCode !== undefined) facts.exitCode = exitCode;
    if (signal !== undefined) facts.signal = signal;
    ran.facts = facts;
    if (stopped !== undefined) ran.stopped = stopped;
    return ran;
  }

  #finish(called: Called, { facts, ...more }: Partial<Ran>): void {
    clearTimeout(this.#timer);
    this.#state = { id: "over" };
    const { call, spec, startedAt, answeredAt, droppedBytes, stopped } = called;
    // Of a process that has ended the launcher has counted more: also what it dropped.
    const own: Facts = {
      stdoutBytes: call.stdoutBytes,
      stderrBytes: call.stderrBytes,
      ...facts,
      startedAt: performance.timeOrigin + startedAt,
      wallMs: (answeredAt ?? performance.now()) - startedAt,
    };
    if (this.#pid !== undefined) own.pid = this.#pid;
    if (droppedBytes > 0) own.droppedBytes ??= droppedBytes;
    const ran: Ran = { timeoutMs: spec.timeoutMs, isLost: false, ...more, facts: own };
    // Why it was stopped first: the launcher only knows that it was killed.
    const isOwnEnd = called.answer !== undefined && stopped === "killed";
    if (stopped !== undefined && !isOwnEnd && (ran.stopped ?? "killed") === "killed") {
      ran.stopped = stopped;
    }
    called.done.resolve(ran);
  }

  #story(): WorkerStory {
    return {
      runtime: this.runtime,
      argv: this.#argv,
      pid: this.#pid,
      verdict: this.#verdict,
      timedOut: undefined,
      tail: this.#tail,
    };
  }
}

function problemOf(called: Called, done: Done): string | undefined {
  if (done.id !== callId) return `it answered call ${done.id}, which there is not`;
  return called.answer === undefined ? undefined : "it answered twice";
}

function resultOf(answer: NonNullable<Called["answer"]>): Partial<Ran> {
  if (answer.kind === "failed") return { failure: answer.failure };
  if (answer.resultFile !== undefined) return { resultFile: answer.resultFile.path };
  return answer.result === undefined ? {} : { result: answer.result };
}

function withoutFailure({ failure: _, ...rest }: Partial<Ran>): Partial<Ran> {
  return rest;
}
