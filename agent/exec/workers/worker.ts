// One warm worker: its process, its channel, and the calls that were handed to it, in order.
// Joins the two roads on which a call's end arrives: answers on the channel, output and marks
// through the launcher. It never starts a second process: a worker that is done is replaced.
import { randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import { dirname, join } from "node:path";
import type { Failure } from "../../../protocol/outcome.ts";
import type { LauncherProcess, ProcessEnd, ProcessStarter } from "../launcher/process.ts";
import { Attribution } from "./attribution.ts";
import { type Call, nothingSaid, type Said, writeCall } from "./call.ts";
import { CallQueue, startCall } from "./call-queue.ts";
import { encodeFrame, type FrameReader } from "./channel.ts";
import { ClaimPage } from "./claim-page.ts";
import { Deadline } from "./deadline.ts";
import { HeldAnswers } from "./held-answers.ts";
import { type Done, decodeWorkerMessage, type Hello } from "./messages.ts";
import { Revocation } from "./revocation.ts";
import {
  channelLost,
  factsOfEnd,
  failureOfEnd,
  isChannelLost,
  lastBytes,
  type SpawnFailure,
  spawnFailureOfEnd,
  type WorkerStory,
} from "./worker-failure.ts";
import type { WorkerServer } from "./worker-server.ts";

export interface WorkerOptions {
  runtime: "python" | "node";
  launcher: Pick<ProcessStarter, "spawn" | "flush">;
  server: WorkerServer;
  argv: readonly string[];
  env: Readonly<Record<string, string>>;
  cwd: string;
  helloTimeoutMs: number;
}

export interface WorkerEvents {
  /** It has said hello. */
  ready(worker: Worker): void;
  /** Its last call has finished. */
  idle(worker: Worker): void;
  /** It takes no further calls; its process ends. */
  retired(worker: Worker, reason: string | undefined): void;
  /** Its process is gone, and every call of it has finished. `before`: it never said hello. */
  gone(worker: Worker, before: SpawnFailure | undefined): void;
}

/** A process that ends by itself closes its channel first: its end tells more than the close. */
const closedLimitMs = 250;

export class Worker {
  readonly #options: WorkerOptions;
  readonly #events: WorkerEvents;
  readonly #id: number;
  readonly #process: LauncherProcess;
  readonly #page: ClaimPage | undefined;
  readonly #queue = new CallQueue();
  readonly #held: HeldAnswers;
  readonly #attribution: Attribution;
  readonly #revocation: Revocation;
  readonly #deadline: Deadline;
  #outgoing: string[] = [];
  readonly #said: Said = nothingSaid();
  #socket: Socket | undefined;
  #hello: Hello | undefined;
  #processEnd: ProcessEnd | undefined;
  #isChannelOpen = false;
  #isRetired = false;
  /** It has said so itself: no call that it has not answered was begun. */
  #isDone = false;
  #isGone = false;
  /** Why the agent gave up on it. */
  #verdict: Failure | undefined;
  /** The last bytes that it wrote before its first call: why it did not start. */
  #tail: Buffer = Buffer.alloc(0);

  constructor(options: WorkerOptions, events: WorkerEvents) {
    this.#options = options;
    this.#events = events;
    const token = randomBytes(16).toString("hex");
    const mark = randomBytes(8);
    this.#id = options.server.expect({
      token,
      arrived: (socket, reader, hello, rest) => this.#arrive(socket, reader, hello, rest),
    });
    const folder = dirname(options.server.socketPath);
    const page = ClaimPage.create(join(folder, `claim-${process.pid}-${this.#id}`));
    const queue = this.#queue;
    const held = new HeldAnswers(queue, page);
    const progressed = () => this.#settle();
    this.#page = page;
    this.#held = held;
    this.#attribution = new Attribution(queue, held, {
      progressed,
      stray: (bytes) => {
        if (this.#hello === undefined) this.#tail = lastBytes(this.#tail, bytes);
      },
    });
    this.#revocation = new Revocation({ queue, page, held, progressed });
    this.#deadline = new Deadline(queue, this.#revocation, {
      marksMissing: () => this.#marksMissing(),
      kill: (graceMs) => this.kill(graceMs),
    });
    const env: Record<string, string> = {
      ...options.env,
      EDGEDAG_WORKER_ID: String(this.#id),
      EDGEDAG_WORKER_TOKEN: token,
      EDGEDAG_WORKER_MARK: mark.toString("hex"),
    };
    if (page !== undefined) env.EDGEDAG_WORKER_CLAIM = page.path;
    const { argv, cwd } = options;
    this.#process = options.launcher.spawn(
      { argv, env, cwd, graceMs: 0, channel: options.server.socketPath, mark },
      {
        started: () => {},
        output: (stream, bytes) => this.#attribution.output(stream, bytes),
        mark: (stream, id) => this.#attribution.mark(stream, id),
        ended: (end) => this.#processEnded(end),
      },
    );
    this.#deadline.set(options.helloTimeoutMs, () => this.#noHello());
  }

  get isReady(): boolean {
    return this.#hello !== undefined && !this.#isRetired && this.#processEnd === undefined;
  }

  get isIdle(): boolean {
    return this.#queue.calls.length === 0 && !this.#revocation.hasGhosts;
  }

  /** Calls may be put behind those that it has. */
  get takesMore(): boolean {
    return this.isReady && !this.#revocation.isUnderWay;
  }

  /** So may calls that do not need the end of the one that runs. */
  get takesFree(): boolean {
    return this.takesMore && this.#revocation.takesFree;
  }

  get pid(): number | undefined {
    return this.#hello?.pid;
  }

  get version(): string | undefined {
    return this.#hello?.version;
  }

  /** The call that was handed over last, if it has not finished. */
  get lastCall(): Call | undefined {
    return this.#queue.calls.at(-1);
  }

  /** Only while `isReady`. Sent with the next `flush`. */
  run(call: Call): void {
    this.#revocation.number(call);
    this.#queue.calls.push(call);
    this.#outgoing.push(writeCall(call, this.#said));
    if (this.#queue.calls.length === 1) this.#deadline.watchHead();
    else this.#revocation.watchQueue();
  }

  flush(): void {
    if (this.#outgoing.length === 0 || this.#socket === undefined) return;
    const frame = encodeFrame(`{"run":[${this.#outgoing.join(",")}]}`);
    this.#outgoing = [];
    this.#socket.write(frame);
  }

  cancel(call: Call, graceMs: number): void {
    if (this.#isGone) return; // its page is closed, and its calls are being told
    const at = this.#queue.calls.indexOf(call);
    if (at < 0 || call.end !== undefined) return;
    call.cancelGraceMs = graceMs;
    if (at === this.#queue.answered) this.#deadline.watchHead();
    else if (call.claim !== 0) this.#revocation.revoke(at);
  }

  /** Ends its process; a call that still runs fails with the signal. */
  kill(graceMs: number): void {
    this.#retire();
    this.#process.kill(graceMs);
  }

  #arrive(socket: Socket, reader: FrameReader, hello: Hello, rest: string[]): void {
    this.#deadline.clear();
    this.#socket = socket;
    this.#isChannelOpen = true;
    this.#hello = hello;
    this.#page?.unlink();
    socket.on("data", (chunk: Buffer) => {
      const { frames, problem } = reader.read(chunk);
      this.#frames(frames);
      if (problem !== undefined) this.#giveUp(problem);
    });
    // An error is followed by "close", and the process's end tells what it means.
    socket.on("error", () => {});
    socket.on("end", () => this.#revocation.stop());
    socket.on("close", () => this.#channelClosed());
    this.#events.ready(this);
    if (rest.length > 0) this.#frames(rest);
  }

  #frames(frames: string[]): void {
    for (const frame of frames) {
      const message = decodeWorkerMessage(frame);
      if (message === undefined || message.kind === "hello") {
        this.#giveUp("the worker sent what is no message");
        return;
      }
      for (const done of message.done) if (!this.#answer(done)) return;
      if (message.retire !== undefined) this.#endClean(message.retire);
    }
    this.#settle();
  }

  /** The worker has said that it begins nothing further. */
  #endClean(reason: string): void {
    this.#isDone = true;
    this.#retire(reason);
    // What the task left behind may still write: there is no telling for whom.
    this.#attribution.release();
    this.#process.kill(0);
  }

  #answer(done: Done): boolean {
    if (this.#held.endEarly(done.id)) return true;
    if (this.#revocation.endGhost(done.id)) {
      if (done.kind === "returned") return true;
      this.#giveUp(`the worker ran call ${done.id}, which was taken back`);
      return false;
    }
    const call = this.#queue.head;
    if (call === undefined || call.id !== done.id) {
      this.#giveUp(`the worker answered call ${done.id}, which does not run`);
      return false;
    }
    this.#held.drop(done.id);
    this.#queue.accept(call, done);
    return true;
  }

  /** Finishes the calls whose answer and marks have all come. */
  #settle(): void {
    this.#held.accept();
    this.#queue.skipUnmarked("stdout");
    this.#queue.skipUnmarked("stderr");
    const count = this.#queue.countComplete();
    for (let finished = 0; finished < count; finished++) this.#queue.finishFirst(this.pid);
    if (this.#isGone) return;
    this.#deadline.watchHead();
    this.#revocation.watchQueue();
    if (!this.isIdle) return;
    this.#revocation.reset();
    if (this.isReady) this.#events.idle(this);
  }

  #marksMissing(): void {
    this.#attribution.release();
    this.kill(0);
    this.#settle();
  }

  #noHello(): void {
    const detail = `the worker did not report within ${this.#options.helloTimeoutMs} ms`;
    this.#verdict = { reason: "spawn", errno: "ETIMEDOUT", detail };
    this.kill(0);
  }

  #giveUp(detail: string): void {
    this.#verdict ??= { reason: "internal", detail };
    this.kill(0);
  }

  #retire(reason?: string): void {
    if (this.#isRetired) return;
    this.#isRetired = true;
    if (this.#hello !== undefined) this.#events.retired(this, reason);
  }

  #channelClosed(): void {
    this.#isChannelOpen = false;
    if (this.#processEnd !== undefined) {
      this.#end();
      return;
    }
    this.#retire();
    this.#deadline.set(closedLimitMs, () => {
      this.#verdict ??= channelLost;
      this.#process.kill(0);
    });
  }

  #processEnded(end: ProcessEnd): void {
    this.#processEnd = end;
    this.#options.server.forget(this.#id);
    this.#retire();
    // Answers that it sent before it ended may still be on their way.
    if (!this.#isChannelOpen) this.#end();
  }

  #end(): void {
    const end = this.#processEnd;
    if (this.#isGone || end === undefined) return;
    this.#isGone = true;
    this.#deadline.clear();
    this.#revocation.close();
    // One of those whose answers are held has broken the channel: none of them counts as well.
    if (!isChannelLost(end)) this.#held.take();
    this.#queue.skipUnmarked("stdout");
    this.#queue.skipUnmarked("stderr");
    // With the launcher goes what it had not handed on: an answer whose output is not all here counts
    // as lost. A worker that ended by itself has had its pipes read to their end.
    const counted = end.kind === "lost" ? this.#queue.countComplete() : this.#queue.answered;
    this.#attribution.close();
    const { calls } = this.#queue;
    for (let finished = 0; finished < counted; finished++) this.#queue.finishFirst(this.pid);
    const failed = this.#queue.takeAnswered();
    const begun = this.#isDone ? 0 : this.#revocation.countBegun();
    this.#page?.close();
    failed.push(...calls.splice(0, begun));
    for (const [index, call] of failed.entries()) {
      // What counted on a call that has failed with it never was to begin.
      const isOff = index > 0 && call.spec.after === true;
      if (isOff || call.end?.kind === "skipped") call.listener.finished({ kind: "returned" });
      else this.#failRunning(call, end);
    }
    for (const call of calls.splice(0)) call.listener.finished({ kind: "returned" });
    const hasReported = this.#hello !== undefined;
    this.#events.gone(this, hasReported ? undefined : spawnFailureOfEnd(end, this.#story()));
  }

  #failRunning(call: Call, end: ProcessEnd): void {
    const at = call.startedAt ?? Date.now();
    startCall(call, at);
    const story = this.#story();
    const facts = factsOfEnd(call, at, end, story);
    call.listener.finished({ kind: "failed", failure: failureOfEnd(call, end, story), facts });
  }

  #story(): WorkerStory {
    return {
      runtime: this.#options.runtime,
      argv: this.#options.argv,
      pid: this.pid,
      verdict: this.#verdict,
      timedOut: this.#deadline.timedOut,
      tail: this.#tail,
    };
  }
}
