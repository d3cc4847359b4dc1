// One warm worker: its process, its channel, and the calls that were handed to it, in order.
// Joins the two roads on which a call's end arrives: answers on the channel, output and marks
// through the launcher. It never starts a second process: a worker that is done is replaced.
import { randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import type { Facts, Failure } from "../../../protocol/outcome.ts";
import type { LauncherProcess, ProcessEnd, ProcessStarter } from "../launcher/process.ts";
import { type Call, type Said, writeCall } from "./call.ts";
import { encodeFrame, type FrameReader } from "./channel.ts";
import { type Done, decodeWorkerMessage, type Hello } from "./messages.ts";
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

export type SpawnFailure = Failure & { reason: "spawn" };

/** How long marks may be missing after the answer has come: they use another road. */
const markLimitMs = 2_000;
/** A process that ends by itself closes its channel first: its end tells more than the close. */
const closedLimitMs = 250;
const tailBytes = 2_048;
/** With it a runner ends that finds its channel broken. */
const channelLostCode = 76;
const channelLost: Failure = {
  reason: "bad-result",
  detail: "the function closed the worker's channel: it closed descriptors that are not its own",
};

export class Worker {
  readonly #options: WorkerOptions;
  readonly #events: WorkerEvents;
  readonly #id: number;
  readonly #process: LauncherProcess;
  readonly #calls: Call[] = [];
  /** How many of `#calls` have been answered, and how many marks each stream has shown. */
  #answered = 0;
  readonly #marked = { stdout: 0, stderr: 0 };
  #outgoing: string[] = [];
  readonly #said: Said = { env: undefined, run: undefined, cwd: undefined };
  #socket: Socket | undefined;
  #hello: Hello | undefined;
  #processEnd: ProcessEnd | undefined;
  #isChannelOpen = false;
  #isRetired = false;
  /** It has said so itself: no call that it has not answered was begun. */
  #isDone = false;
  #isGone = false;
  #timer: NodeJS.Timeout | undefined;
  #timerCall: Call | undefined;
  #isTimerForMarks = false;
  #timedOut: Call | undefined;
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
    const env = {
      ...options.env,
      EDGEDAG_WORKER_ID: String(this.#id),
      EDGEDAG_WORKER_TOKEN: token,
      EDGEDAG_WORKER_MARK: mark.toString("hex"),
    };
    const { argv, cwd } = options;
    this.#process = options.launcher.spawn(
      { argv, env, cwd, graceMs: 0, channel: options.server.socketPath, mark },
      {
        started: () => {},
        output: (stream, bytes) => this.#output(stream, bytes),
        mark: (stream, id) => this.#mark(stream, id),
        ended: (end) => this.#processEnded(end),
      },
    );
    this.#timer = setTimeout(() => this.#noHello(), options.helloTimeoutMs);
  }

  get isReady(): boolean {
    return this.#hello !== undefined && !this.#isRetired && this.#processEnd === undefined;
  }

  get isIdle(): boolean {
    return this.#calls.length === 0;
  }

  get pid(): number | undefined {
    return this.#hello?.pid;
  }

  get version(): string | undefined {
    return this.#hello?.version;
  }

  /** The call that was handed over last, if it has not finished. */
  get lastCall(): Call | undefined {
    return this.#calls.at(-1);
  }

  /** Only while `isReady`. Sent with the next `flush`. */
  run(call: Call): void {
    this.#calls.push(call);
    this.#outgoing.push(writeCall(call, this.#said));
    if (this.#calls.length === 1) this.#watchHead();
  }

  flush(): void {
    if (this.#outgoing.length === 0 || this.#socket === undefined) return;
    const frame = encodeFrame(`{"run":[${this.#outgoing.join(",")}]}`);
    this.#outgoing = [];
    this.#socket.write(frame);
  }

  cancel(call: Call, graceMs: number): void {
    if (!this.#calls.includes(call) || call.end !== undefined) return;
    call.cancelGraceMs = graceMs;
    if (this.#calls[this.#answered] === call) this.#watchHead();
  }

  /** Ends its process; a call that still runs fails with the signal. */
  kill(graceMs: number): void {
    this.#retire();
    this.#process.kill(graceMs);
  }

  #arrive(socket: Socket, reader: FrameReader, hello: Hello, rest: string[]): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#socket = socket;
    this.#isChannelOpen = true;
    this.#hello = hello;
    socket.on("data", (chunk: Buffer) => {
      const { frames, problem } = reader.read(chunk);
      this.#frames(frames);
      if (problem !== undefined) this.#giveUp(problem);
    });
    // An error is followed by "close", and the process's end tells what it means.
    socket.on("error", () => {});
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
    this.#marked.stdout = this.#answered;
    this.#marked.stderr = this.#answered;
    this.#process.kill(0);
  }

  #answer(done: Done): boolean {
    const call = this.#calls[this.#answered];
    if (call === undefined || call.id !== done.id) {
      this.#giveUp(`the worker answered call ${done.id}, which does not run`);
      return false;
    }
    this.#answered += 1;
    call.end = done;
    return true;
  }

  #output(stream: "stdout" | "stderr", bytes: Buffer): void {
    const call = this.#calls[this.#marked[stream]];
    if (call === undefined) {
      if (this.#hello === undefined) this.#tail = lastBytes(this.#tail, bytes);
      return;
    }
    if (stream === "stdout") call.stdoutBytes += bytes.length;
    else call.stderrBytes += bytes.length;
    this.#start(call, Date.now());
    call.listener.output(stream, bytes);
  }

  #mark(stream: "stdout" | "stderr", id: number): void {
    const call = this.#calls[this.#marked[stream]];
    // After a retirement the marks are no longer waited for, and may still come.
    if (call === undefined || call.id !== id) return;
    this.#marked[stream] += 1;
    this.#settle();
  }

  /** Finishes the calls whose answer and marks have all come. */
  #settle(): void {
    const { stdout, stderr } = this.#marked;
    const count = Math.min(this.#answered, stdout, stderr);
    for (let finished = 0; finished < count; finished++) this.#finishFirst();
    if (this.#isGone) return;
    this.#watchHead();
    if (count > 0 && this.#calls.length === 0 && this.isReady) this.#events.idle(this);
  }

  #finishFirst(): void {
    const call = this.#calls.shift();
    if (call?.end === undefined) return;
    this.#answered -= 1;
    this.#marked.stdout = Math.max(0, this.#marked.stdout - 1);
    this.#marked.stderr = Math.max(0, this.#marked.stderr - 1);
    const { end } = call;
    if (end.kind === "succeeded" || end.kind === "failed") {
      this.#start(call, end.facts.startedAt ?? Date.now());
      end.facts.stdoutBytes = call.stdoutBytes;
      end.facts.stderrBytes = call.stderrBytes;
      if (this.#hello !== undefined) end.facts.pid = this.#hello.pid;
    }
    call.listener.finished(end);
  }

  #start(call: Call, at: number): void {
    if (call.startedAt !== undefined) return;
    call.startedAt = at;
    call.listener.started(at);
  }

  /** The call that runs now gets its start, its time limit, and a cancel that waited for it. */
  #watchHead(): void {
    const head = this.#calls[this.#answered];
    const waiting = head ?? this.#calls[0];
    const isAnswered = head === undefined;
    const isSame = waiting === this.#timerCall && isAnswered === this.#isTimerForMarks;
    if (isSame && head?.cancelGraceMs === undefined) return;
    this.#isTimerForMarks = isAnswered;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#timerCall = waiting;
    if (waiting === undefined) return;
    if (head === undefined) {
      this.#timer = setTimeout(() => this.#marksMissing(), markLimitMs);
      return;
    }
    this.#start(head, Date.now());
    if (head.cancelGraceMs !== undefined) {
      this.kill(head.cancelGraceMs);
    } else if (head.spec.timeoutMs !== undefined) {
      this.#timer = setTimeout(() => this.#timeout(head), head.spec.timeoutMs);
    }
  }

  #timeout(call: Call): void {
    if (this.#calls[this.#answered] !== call) return;
    this.#timedOut = call;
    this.kill(call.spec.graceMs);
  }

  #marksMissing(): void {
    this.#marked.stdout = this.#answered;
    this.#marked.stderr = this.#answered;
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
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#verdict ??= channelLost;
      this.#process.kill(0);
    }, closedLimitMs);
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
    clearTimeout(this.#timer);
    this.#marked.stdout = this.#answered;
    this.#marked.stderr = this.#answered;
    while (this.#answered > 0) this.#finishFirst();
    const running = this.#isDone ? undefined : this.#calls.shift();
    if (running !== undefined) this.#failRunning(running, end);
    for (const call of this.#calls.splice(0)) call.listener.finished({ kind: "returned" });
    this.#events.gone(this, this.#hello === undefined ? this.#spawnFailure(end) : undefined);
  }

  #failRunning(call: Call, end: ProcessEnd): void {
    const at = call.startedAt ?? Date.now();
    this.#start(call, at);
    const facts: Facts = {
      startedAt: at,
      wallMs: Math.max(0, Date.now() - at),
      stdoutBytes: call.stdoutBytes,
      stderrBytes: call.stderrBytes,
    };
    if (this.#hello !== undefined) facts.pid = this.#hello.pid;
    if (end.kind === "exited") {
      if (end.exitCode !== undefined) facts.exitCode = end.exitCode;
      if (end.signal !== undefined) facts.signal = end.signal;
      if (end.facts.maxRssBytes !== undefined) facts.maxRssBytes = end.facts.maxRssBytes;
      if (end.facts.forced !== undefined) facts.forced = end.facts.forced;
    }
    call.listener.finished({ kind: "failed", failure: this.#failure(call, end), facts });
  }

  #failure(call: Call, end: ProcessEnd): Failure {
    if (this.#timedOut === call) return { reason: "timeout", limitMs: call.spec.timeoutMs ?? 0 };
    if (end.kind === "lost") {
      return { reason: "lost", detail: "the launcher ended while the function ran" };
    }
    if (end.kind === "spawn-failed") return this.#spawnFailure(end);
    const ownEnd = end.stopped === undefined;
    if (this.#verdict !== undefined && !ownEnd) return this.#verdict;
    if (end.exitCode === channelLostCode) return channelLost;
    if (end.signal !== undefined) return { reason: "signal", signal: end.signal };
    if (call.cancelGraceMs !== undefined) return { reason: "signal", signal: "SIGTERM" };
    if (end.exitCode !== 0) return { reason: "exit-code", code: end.exitCode ?? -1 };
    const detail = "the function ended the whole process with code 0 before it returned";
    return { reason: "bad-result", detail };
  }

  #spawnFailure(end: ProcessEnd): SpawnFailure {
    if (this.#verdict?.reason === "spawn") return this.#verdict;
    if (end.kind === "lost") return spawn("EPIPE", "the launcher ended");
    if (end.kind === "spawn-failed") {
      return spawn(end.errno, `${end.detail}${this.#remedy(end.errno)}`);
    }
    const how = end.signal === undefined ? `code ${end.exitCode}` : end.signal;
    const said = this.#tail.toString("utf8").trim();
    const detail = `the worker ended with ${how} before it reported${said === "" ? "" : `: ${said}`}`;
    return spawn("ECHILD", `${detail}; try \`${this.#options.argv.join(" ")}\` by hand`);
  }

  #remedy(errno: string): string {
    if (errno !== "ENOENT" && errno !== "EACCES") return "";
    const other =
      this.#options.runtime === "python"
        ? ", or set EDGEDAG_PYTHON to the path of Python 3.8 or newer"
        : "";
    return `; install ${this.#options.argv[0]}${other}`;
  }
}

function spawn(errno: string, detail: string): SpawnFailure {
  return { reason: "spawn", errno, detail };
}

function lastBytes(before: Buffer, bytes: Buffer): Buffer {
  const both = Buffer.concat([before, bytes]);
  return both.length <= tailBytes ? both : Buffer.from(both.subarray(both.length - tailBytes));
}
