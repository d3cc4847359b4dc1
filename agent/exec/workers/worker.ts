// One warm worker: its process, its channel, and the calls that were handed to it, in order.
// Joins the two roads on which a call's end arrives: answers on the channel, output and marks
// through the launcher. It never starts a second process: a worker that is done is replaced.
import { randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import { dirname, join } from "node:path";
import type { Facts, Failure } from "../../../protocol/outcome.ts";
import type { LauncherProcess, ProcessEnd, ProcessStarter } from "../launcher/process.ts";
import { type Call, type Said, writeCall } from "./call.ts";
import { encodeFrame, type FrameReader } from "./channel.ts";
import { ClaimPage, claimDistance } from "./claim-page.ts";
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
const longestTimerMs = 2 ** 31 - 1;
/** A call that runs for longer is not waited for by calls that do not need its end. */
const slowMs = 5;
/** From writing to reading the claim page: see `#decide`. */
const settleMs = 2;
const u32Max = 0xffff_ffff;
/** With it a runner ends that finds its channel broken. */
const channelLostCode = 76;
const channelLost: Failure = {
  reason: "bad-result",
  detail: "the function closed the worker's channel: it closed descriptors that are not its own",
};

/** `isDue`: page and channel have been, or are just being, read after it came. */
interface Piece {
  bytes: Buffer;
  isDue: boolean;
}

export class Worker {
  readonly #options: WorkerOptions;
  readonly #events: WorkerEvents;
  readonly #id: number;
  readonly #process: LauncherProcess;
  readonly #calls: Call[] = [];
  /** How many of `#calls` have been answered, and from where on marks of each stream are missing. */
  #answered = 0;
  readonly #marked = { stdout: 0, stderr: 0 };
  /** Output of which the call is not known yet. */
  readonly #undecided: { stdout: Piece[]; stderr: Piece[] } = { stdout: [], stderr: [] };
  #isLookPlanned = false;
  #outgoing: string[] = [];
  readonly #said: Said = { env: undefined, run: undefined, cwd: undefined };
  #socket: Socket | undefined;
  #hello: Hello | undefined;
  #processEnd: ProcessEnd | undefined;
  #isChannelOpen = false;
  #hasHungUp = false;
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
  readonly #page: ClaimPage | undefined;
  #lastClaim = 0;
  /** What the claim page forbids. Nothing is handed over while it is set. */
  #revoked: { from: number; to: number } | undefined;
  /** Returned by us; the worker will say the same of each when it comes to it. */
  readonly #ghosts = new Set<number>();
  /** Answered from the claim page; the same answers are still to come on the channel. */
  readonly #early = new Set<number>();
  /** Read from the claim page, not accepted yet. */
  readonly #ahead = new Map<number, Done>();
  #queueTimer: NodeJS.Timeout | undefined;
  #decideTimer: NodeJS.Timeout | undefined;
  #askedAt = 0;
  #claimedThen = 0;
  /** The running call whose queue needs no further look. */
  #lookedAt: Call | undefined;
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
    this.#page = ClaimPage.create(join(folder, `claim-${process.pid}-${this.#id}`));
    const env: Record<string, string> = {
      ...options.env,
      EDGEDAG_WORKER_ID: String(this.#id),
      EDGEDAG_WORKER_TOKEN: token,
      EDGEDAG_WORKER_MARK: mark.toString("hex"),
    };
    if (this.#page !== undefined) env.EDGEDAG_WORKER_CLAIM = this.#page.path;
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
    return this.#calls.length === 0 && this.#ghosts.size === 0;
  }

  /** Calls may be put behind those that it has. */
  get takesMore(): boolean {
    return this.isReady && this.#revoked === undefined;
  }

  /** So may calls that do not need the end of the one that runs. */
  get takesFree(): boolean {
    if (this.#page === undefined || !this.takesMore) return false;
    return this.#slowInMs(this.#calls[this.#answered]) > 0;
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
    if (this.#calls.length > 0 && this.#page !== undefined) {
      this.#lastClaim = this.#lastClaim === u32Max ? 1 : this.#lastClaim + 1;
      call.claim = this.#lastClaim;
    }
    this.#calls.push(call);
    this.#outgoing.push(writeCall(call, this.#said));
    if (this.#calls.length === 1) this.#watchHead();
    else this.#watchQueue();
  }

  flush(): void {
    if (this.#outgoing.length === 0 || this.#socket === undefined) return;
    const frame = encodeFrame(`{"run":[${this.#outgoing.join(",")}]}`);
    this.#outgoing = [];
    this.#socket.write(frame);
  }

  cancel(call: Call, graceMs: number): void {
    const at = this.#calls.indexOf(call);
    if (at < 0 || call.end !== undefined) return;
    call.cancelGraceMs = graceMs;
    if (at === this.#answered) this.#watchHead();
    else if (call.claim !== 0) this.#revoke(at);
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
    this.#page?.unlink();
    socket.on("data", (chunk: Buffer) => {
      const { frames, problem } = reader.read(chunk);
      this.#frames(frames);
      if (problem !== undefined) this.#giveUp(problem);
    });
    // An error is followed by "close", and the process's end tells what it means.
    socket.on("error", () => {});
    socket.on("end", () => {
      this.#hasHungUp = true;
    });
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
    this.#tellUndecided("stdout");
    this.#tellUndecided("stderr");
    this.#marked.stdout = this.#answered;
    this.#marked.stderr = this.#answered;
    this.#process.kill(0);
  }

  #answer(done: Done): boolean {
    if (this.#early.delete(done.id)) return true;
    if (this.#ghosts.delete(done.id)) {
      if (this.#ghosts.size === 0) this.#revoked = undefined;
      if (done.kind === "returned") return true;
      this.#giveUp(`the worker ran call ${done.id}, which was taken back`);
      return false;
    }
    const call = this.#calls[this.#answered];
    if (call === undefined || call.id !== done.id) {
      this.#giveUp(`the worker answered call ${done.id}, which does not run`);
      return false;
    }
    this.#ahead.delete(done.id);
    this.#accept(call, done);
    return true;
  }

  #accept(call: Call, done: Done): void {
    this.#answered += 1;
    call.end = done;
    call.isUnmarked = done.unmarked === true || done.kind === "returned";
  }

  #output(stream: "stdout" | "stderr", bytes: Buffer): void {
    this.#skipUnmarked(stream);
    const call = this.#calls[this.#marked[stream]];
    const undecided = this.#undecided[stream];
    const isSure = call === undefined || call.end !== undefined || this.#isLast(call);
    if (isSure && undecided.length === 0) {
      this.#tell(stream, bytes);
      return;
    }
    // The calls before the one that wrote this may have ended without marks. Then their answers
    // were on the page or on the channel before it began. The page is read first, as answers move
    // from it to the channel; and the channel by a poll that begins after now, hence the next turn.
    undecided.push({ bytes: Buffer.from(bytes), isDue: false });
    this.#takeHeld();
    if (this.#isLookPlanned) return;
    this.#isLookPlanned = true;
    setImmediate(() => this.#lookAtChannel());
  }

  #lookAtChannel(): void {
    this.#isLookPlanned = false;
    for (const piece of this.#undecided.stdout) piece.isDue = true;
    for (const piece of this.#undecided.stderr) piece.isDue = true;
    setImmediate(() => {
      if (this.#isGone) return;
      this.#tellUndecided("stdout", true);
      this.#tellUndecided("stderr", true);
      this.#settle();
    });
  }

  #tellUndecided(stream: "stdout" | "stderr", onlyDue = false): void {
    this.#acceptAhead();
    this.#skipUnmarked(stream);
    const undecided = this.#undecided[stream];
    while (undecided[0] !== undefined && (undecided[0].isDue || !onlyDue)) {
      const piece = undecided.shift();
      if (piece !== undefined) this.#tell(stream, piece.bytes);
    }
  }

  #tell(stream: "stdout" | "stderr", bytes: Buffer): void {
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
    // Those before it have no marks, and have written nothing.
    let at = this.#marked[stream];
    while (at < this.#calls.length && this.#calls[at]?.id !== id) at += 1;
    // After a retirement the marks are no longer waited for, and may still come.
    if (at === this.#calls.length) return;
    this.#marked[stream] = at;
    for (const { bytes } of this.#undecided[stream].splice(0)) this.#tell(stream, bytes);
    this.#marked[stream] = at + 1;
    this.#settle();
  }

  #skipUnmarked(stream: "stdout" | "stderr"): void {
    while (this.#calls[this.#marked[stream]]?.isUnmarked === true) this.#marked[stream] += 1;
  }

  /** Finishes the calls whose answer and marks have all come. */
  #settle(): void {
    this.#acceptAhead();
    this.#skipUnmarked("stdout");
    this.#skipUnmarked("stderr");
    const { stdout, stderr } = this.#marked;
    const count = Math.min(this.#answered, stdout, stderr);
    for (let finished = 0; finished < count; finished++) this.#finishFirst();
    if (this.#isGone) return;
    this.#watchHead();
    this.#watchQueue();
    if (!this.isIdle) return;
    // All of the range is done with, and the calls that come now are not in it.
    this.#revoked = undefined;
    clearTimeout(this.#decideTimer);
    this.#decideTimer = undefined;
    if (this.isReady) this.#events.idle(this);
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
      // It may have ended, its answer being held back, and then the kill would hit another.
      if (!this.#isLast(head) && this.#page !== undefined) this.#revoke(this.#answered + 1);
      else this.kill(head.cancelGraceMs);
    } else if (head.spec.timeoutMs !== undefined) {
      this.#armTimeout(head, performance.now() + head.spec.timeoutMs);
    }
  }

  /** A timer of Node.js for more than 24 days would end at once. */
  #armTimeout(call: Call, at: number): void {
    const leftMs = Math.max(0, at - performance.now());
    const isFar = leftMs > longestTimerMs;
    this.#timer = setTimeout(
      () => (isFar ? this.#armTimeout(call, at) : this.#timeout(call)),
      isFar ? longestTimerMs : leftMs,
    );
  }

  #timeout(call: Call): void {
    if (this.#calls[this.#answered] !== call) return;
    this.#timedOut = call;
    call.cancelGraceMs = call.spec.graceMs;
    this.#watchHead();
  }

  #marksMissing(): void {
    this.#tellUndecided("stdout");
    this.#tellUndecided("stderr");
    this.#marked.stdout = this.#answered;
    this.#marked.stderr = this.#answered;
    this.kill(0);
    this.#settle();
  }

  #isLast(call: Call): boolean {
    return this.#calls.at(-1) === call;
  }

  /** Until the running call counts as slow; 0 and less: it does. */
  #slowInMs(head: Call | undefined): number {
    return head?.startedAt === undefined ? slowMs : head.startedAt + slowMs - Date.now();
  }

  /** Looks at the queue when calls have waited behind one call for `slowMs`. */
  #watchQueue(): void {
    const head = this.#calls[this.#answered];
    if (this.#queueTimer !== undefined || this.#page === undefined) return;
    if (head === undefined || head === this.#lookedAt || this.#isLast(head)) return;
    // Answers that came while the agent was busy are read before the look.
    const look = () => setImmediate(() => this.#lookAtQueue());
    this.#queueTimer = setTimeout(look, Math.max(1, this.#slowInMs(head)));
  }

  #lookAtQueue(): void {
    this.#queueTimer = undefined;
    const head = this.#calls[this.#answered];
    if (this.#isGone || this.#hasHungUp) return;
    if (head === undefined || this.#isLast(head)) return;
    if (this.#slowInMs(head) > 0) {
      this.#watchQueue();
      return;
    }
    const isFree = ({ claim, spec }: Call) => claim !== 0 && spec.after !== true;
    const at = this.#calls.findIndex((call, index) => index > this.#answered && isFree(call));
    if (at >= 0) this.#revoke(at);
    else this.#ask();
  }

  /** Takes the call at `at` and all behind it back, as far as they are not begun: see `#decide`. */
  #revoke(at: number): void {
    const first = this.#calls[at]?.claim ?? 0;
    if (this.#page === undefined || first === 0) return;
    const before = this.#revoked;
    // Ranges only grow until nothing of them is left at the worker: it must not begin a ghost.
    const isLower = before === undefined || claimDistance(first, before.from) < 0;
    if (isLower) {
      this.#revoked = { from: first, to: before?.to ?? this.#lastClaim };
      this.#page.revoke(first, this.#revoked.to);
    }
    if (isLower || this.#decideTimer === undefined) this.#ask();
  }

  #ask(): void {
    if (this.#page === undefined) return;
    this.#askedAt = performance.now();
    this.#claimedThen = this.#page.claimed();
    this.#setDecideTimer();
  }

  #setDecideTimer(): void {
    // What has come meanwhile is read first, above all the end of the channel.
    clearTimeout(this.#decideTimer);
    const decide = () => setImmediate(() => this.#decide());
    this.#decideTimer = setTimeout(decide, settleMs);
  }

  /**
   * What the worker has not begun is returned. It stores a claim and then loads the revoked range;
   * we store the range, wait, and then load the claim. A store may be seen late by others, but not
   * by milliseconds: it leaves the processor's store buffer in far less, and at the latest when its
   * thread is descheduled. So if the worker loaded the old range, its claim was stored before ours
   * was and we see it now: the call is not returned here. If we do not see the claim, it is stored
   * later than our range, and the worker finds the call revoked. When both see the other, the
   * worker answers `returned` for a call that we have kept: returned once, by its answer.
   */
  #decide(): void {
    const page = this.#page;
    // With the end of the process it is clear what is to be returned.
    if (this.#isGone || this.#hasHungUp || page === undefined) return;
    if (this.#decideTimer === undefined) return;
    this.#decideTimer = undefined;
    // Timers count from the start of the turn that set them.
    if (performance.now() - this.#askedAt < settleMs / 2) {
      this.#setDecideTimer();
      return;
    }
    const claimed = page.claimed();
    const isStill = claimed === this.#claimedThen;
    // It has sat in one call all the time: what it stored before is there to be read.
    if (isStill) this.#takeHeld();
    this.#takeBack(claimed);
    if (isStill) this.#lookedAt = this.#calls[this.#answered];
    this.#settle();
    const head = this.#calls[this.#answered];
    // The call to be killed has ended, as another has begun: its answer comes.
    if (head?.cancelGraceMs !== undefined && !this.#isLast(head)) this.#ask();
  }

  #takeBack(claimed: number): void {
    if (this.#revoked === undefined) return;
    const { from, to } = this.#revoked;
    const isToReturn = ({ claim }: Call) =>
      claim !== 0 &&
      claimDistance(claim, from) >= 0 &&
      claimDistance(claim, to) <= 0 &&
      claimDistance(claim, claimed) > 0;
    // What stands behind the first has been handed over before the range was written.
    const at = this.#calls.findIndex((call, index) => index >= this.#answered && isToReturn(call));
    const returned = at < 0 ? [] : this.#calls.splice(at);
    for (const call of returned) this.#ghosts.add(call.id);
    if (this.#ghosts.size === 0) this.#revoked = undefined;
    for (const call of returned) call.listener.finished({ kind: "returned" });
  }

  /** Answers that the worker holds back while a call takes longer than it did the last time. */
  #takeHeld(): void {
    const text = this.#page?.held() ?? "";
    if (text === "") return;
    const message = decodeWorkerMessage(`{"done":[${text}]}`);
    // The task can write there too. What is on the channel counts.
    if (message?.kind !== "done") return;
    for (const done of message.done) {
      const isOpen = this.#calls.some((call) => call.id === done.id && call.end === undefined);
      if (isOpen) this.#ahead.set(done.id, done);
    }
    this.#acceptAhead();
  }

  /** Answers before those of the page may still be on the channel: then these wait for them. */
  #acceptAhead(): void {
    while (this.#ahead.size > 0) {
      const call = this.#calls[this.#answered];
      const done = call === undefined ? undefined : this.#ahead.get(call.id);
      if (call === undefined || done === undefined) return;
      this.#ahead.delete(call.id);
      this.#early.add(call.id);
      this.#accept(call, done);
    }
  }

  /** How many of the unanswered calls of a worker that is gone had been begun. */
  #countBegun(): number {
    const claimed = this.#page?.claimed() ?? 0;
    // A call without a number was sent to a worker that had nothing else to do.
    const isBegun = ({ claim }: Call, index: number) =>
      claim === 0 ? index === 0 : claimDistance(claim, claimed) <= 0;
    return this.#calls.findLastIndex(isBegun) + 1;
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
    clearTimeout(this.#queueTimer);
    clearTimeout(this.#decideTimer);
    // One of those whose answers are held has broken the channel: none of them counts as well.
    const isLost = end.kind === "exited" && end.exitCode === channelLostCode;
    if (!isLost) this.#takeHeld();
    this.#tellUndecided("stdout");
    this.#tellUndecided("stderr");
    this.#marked.stdout = this.#answered;
    this.#marked.stderr = this.#answered;
    while (this.#answered > 0) this.#finishFirst();
    const begun = this.#isDone ? 0 : this.#countBegun();
    this.#page?.close();
    for (const call of this.#calls.splice(0, begun)) this.#failRunning(call, end);
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
