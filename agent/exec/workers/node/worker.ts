// Runs calls one after another and answers each. Synchronous calls never turn the event loop; it
// turns while a Promise is waited for. Every step here is on the way of a call of microseconds.
import type { Channel } from "./channel.ts";
import { writeAll } from "./channel.ts";
import type { ClaimPage } from "./claim.ts";
import { Environment } from "./environment.ts";
import { describe } from "./failures.ts";
import { Hygiene } from "./hygiene.ts";
import type { Entry, Loader } from "./loader.ts";
import { type Call, type Callee, contextKey, Refusal, type WorkerContext } from "./protocol.ts";
import { inlineBytes, resultText, Values, writeResultFile } from "./values.ts";

// What @types/node leaves out: both are older than any supported version.
interface ProcessParts {
  reallyExit(code: number): never;
  /** Runs the pending ticks and microtasks, and tells of rejections that nobody handles. */
  _tickCallback(): void;
}
const internals = process as unknown as ProcessParts;

const quickMs = 0.2;
const flushMs = 1;
const flushAnswers = 32;
const measuredMs = 0.5;

/** Thrown by process.exit, so that the rest of the task does not run. */
class Exit extends Error {}

interface Frame {
  calls: Call[];
  next: number;
  hasRefs: boolean;
  /** For a worker that had nothing to do. */
  isFirst: boolean;
}

interface Running {
  call: Call;
  entry: Entry | undefined;
  startedAt: number;
  start: number;
}

export class NodeWorker {
  readonly #channel: Channel;
  readonly #loader: Loader;
  readonly #values = new Values();
  readonly #environment = new Environment();
  readonly #hygiene: Hygiene;
  readonly #mark: Buffer;
  readonly #page: ClaimPage | undefined;
  readonly #context: WorkerContext;
  readonly #pending = new Set<Promise<void>>();
  #answers: string[] = [];
  /** How many of them are sent together. */
  #enough = flushAnswers;
  #frame: Frame = { calls: [], next: 0, hasRefs: false, isFirst: true };
  #running: Running | undefined;
  /** Set by process.exit during the call. */
  #exitCode: number | undefined;
  /** Of the call before; undefined: it was returned. */
  #isLastOk: boolean | undefined = true;
  #retired: string | undefined;
  #lastFlush = 0;
  #run = "";
  #callee: Callee = { function: "" };
  /** Of the callee, once it was found. */
  #entry: Entry | undefined;
  #cwd = "";
  #enteredCwd = "";
  #usage = process.cpuUsage();
  #maxRss = 0;
  #shortMs = 0;
  /** Called instead of answering the calls of the frame. */
  #rehearsed: (() => void) | undefined;

  constructor(options: {
    channel: Channel;
    loader: Loader;
    mark: Buffer;
    page: ClaimPage | undefined;
  }) {
    this.#channel = options.channel;
    this.#loader = options.loader;
    this.#page = options.page;
    this.#mark = Buffer.concat([options.mark, Buffer.alloc(4)]);
    this.#context = {
      call: undefined,
      env: this.#environment.current,
      resolve: (value) => this.#values.resolve(value),
      pending: this.#pending,
      flush: () => {
        if (this.#answers.length > 0) this.#flush();
      },
    };
    Reflect.set(globalThis, contextKey, this.#context);
    this.#guardProcess();
    // Last: it takes what is open now as the worker's own.
    this.#hygiene = new Hygiene();
  }

  /**
   * Runs a call of our own, of which nothing is told: Node.js compiles a function when it is first
   * called, which takes a first call milliseconds. For a worker that gets one call only.
   */
  async rehearse(): Promise<void> {
    await this.#loader.warmUp();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#rehearsed = resolve;
    const text = JSON.stringify({ run: [rehearsal(this.#environment.current)] });
    const { run } = JSON.parse(text) as { run: Call[] };
    this.#frame = { calls: run, next: 0, hasRefs: false, isFirst: true };
    // Nothing is sent because it has been held for long.
    this.#lastFlush = Number.POSITIVE_INFINITY;
    this.serve();
    await promise;
    this.#loader.forget();
    this.#values.clear();
    this.#answers = [];
    this.#lastFlush = 0;
    this.#cwd = "";
    this.#run = "";
    this.#entry = undefined;
  }

  /** Serves until the agent closes the channel, or until a call turns asynchronous. */
  serve(): void {
    for (;;) {
      while (this.#frame.next < this.#frame.calls.length) {
        const call = this.#frame.calls[this.#frame.next];
        this.#frame.next += 1;
        if (call !== undefined && !this.#begin(call)) return;
      }
      if (this.#rehearsed !== undefined) {
        this.#rehearsed();
        this.#rehearsed = undefined;
        return;
      }
      // What is sent together costs both ends less; a quick call more is no long wait.
      if (this.#frame.isFirst || !this.#channel.hasMore) this.#flush();
      const text = this.#channel.read();
      if (text === undefined) break;
      // None has waited yet.
      if (this.#answers.length === 0) this.#lastFlush = performance.now();
      // Only the agent writes here.
      const { run } = JSON.parse(text) as { run: Call[] };
      this.#usage = process.cpuUsage();
      this.#shortMs = 0;
      // The first frame for a worker that had nothing to do: the next one depends on its answers.
      const isFirst = run[0]?.claim === undefined;
      this.#frame = { calls: run, next: 0, hasRefs: text.includes('"$ref"'), isFirst };
      this.#enough = isFirst ? Math.ceil((run.length + 1) / 2) : flushAnswers;
    }
    // The agent is gone: exit handlers of tasks belong to nobody now.
    internals.reallyExit(0);
  }

  /** False: the call goes on, and `serve` is called again when it has ended. */
  #begin(call: Call): boolean {
    if (this.#retired !== undefined) {
      this.#answers.push(`{"id":${call.id},"returned":true}`);
      return true;
    }
    this.#take(call);
    const isAllowed = call.claim === undefined || this.#page?.begin(call.claim) !== false;
    if (!isAllowed || (call.after === true && this.#isLastOk === undefined)) {
      this.#isLastOk = undefined;
      this.#hold(`{"id":${call.id},"returned":true}`);
      return true;
    }
    if (call.after === true && !this.#isLastOk) {
      const unmarked = this.#clean(call.id);
      this.#hold(`{"id":${call.id},"skipped":true${unmarked}}`);
      return true;
    }
    this.#entry ??= this.#loader.known(this.#callee, this.#run);
    const entry = this.#entry;
    if (entry?.isQuick !== true && this.#answers.length > 0) this.#flush();
    const start = performance.now();
    const running: Running = { call, entry, startedAt: performance.timeOrigin + start, start };
    this.#running = running;
    this.#context.call = call;
    try {
      if (this.#cwd !== this.#enteredCwd) {
        process.chdir(this.#cwd);
        this.#enteredCwd = process.cwd();
        this.#cwd = this.#enteredCwd;
      }
      if (entry === undefined) {
        this.#follow(running, this.#load(running));
        return false;
      }
      return this.#invoke(running, entry);
    } catch (error) {
      return this.#end(running, () => this.#fail(running, error));
    }
  }

  /** What a call says of function, environment, folder and run holds for those behind it, too. */
  #take(call: Call): void {
    this.#environment.enter(call);
    this.#context.env = this.#environment.current;
    if (call.cwd !== undefined) this.#cwd = call.cwd;
    if (call.function !== undefined) {
      // With the function come its file or code.
      this.#callee = call as Callee;
      this.#entry = undefined;
    }
    if (call.run !== undefined && call.run !== this.#run) {
      this.#run = call.run;
      this.#values.clear();
      this.#entry = undefined;
    }
  }

  async #load(running: Running): Promise<unknown> {
    const of = { task: running.call.task, run: this.#run, cwd: this.#cwd };
    const entry = await this.#loader.load(this.#callee, of);
    running.entry = entry;
    return this.#callFunction(running.call, entry);
  }

  #callFunction(call: Call, entry: Entry): unknown {
    const { args } = call;
    const { run } = entry;
    if (args === undefined) return run();
    return run(this.#frame.hasRefs ? this.#values.resolve(args) : args);
  }

  #invoke(running: Running, entry: Entry): boolean {
    const result = this.#callFunction(running.call, entry);
    if (isThenable(result)) {
      this.#follow(running, result);
      return false;
    }
    // Promises and ticks that it has left belong to this call, also when they fail.
    internals._tickCallback();
    if (this.#running !== running) return true;
    if (this.#unfinished() === undefined) {
      this.#succeed(running, result);
      return true;
    }
    return this.#end(running, () => this.#succeed(running, result));
  }

  #follow(running: Running, promise: PromiseLike<unknown>): void {
    promise.then(
      (value) => this.#later(running, () => this.#succeed(running, value)),
      (error: unknown) => this.#later(running, () => this.#fail(running, error)),
    );
  }

  /** Outside of the task's stack and of its microtasks; all ticks that it has left run before. */
  #later(running: Running, end: () => void): void {
    setImmediate(() => {
      if (this.#running === running && this.#end(running, end)) this.serve();
    });
  }

  /** False: what the call has begun to send is not out yet, and `serve` is called when it is. */
  #end(running: Running, end: () => void): boolean {
    const unfinished = this.#unfinished();
    if (unfinished === undefined) {
      end();
      return true;
    }
    void unfinished.then(() => this.#later(running, end));
    return false;
  }

  #unfinished(): Promise<unknown> | undefined {
    if (this.#pending.size > 0) return Promise.all(this.#pending);
    return this.#hygiene.unwrittenOutput();
  }

  #succeed(running: Running, value: unknown): void {
    const code = this.#exitCode ?? exitCodeOf(process.exitCode);
    if (code !== undefined && code !== 0) {
      this.#finish(running, `"ok":false,"reason":"exit-code","code":${code}`, false);
      return;
    }
    let answer: string;
    try {
      answer = this.#answer(running.call.id, this.#exitCode === undefined ? value : null);
    } catch (error) {
      this.#finish(running, failureAnswer(error), false);
      return;
    }
    this.#finish(running, answer, true);
  }

  #answer(id: number, value: unknown): string {
    const text = resultText(value);
    if (text.length * 3 <= inlineBytes || Buffer.byteLength(text) <= inlineBytes) {
      this.#values.keep(id, { text });
      return `"ok":true,"result":${text}`;
    }
    const folder = this.#environment.current.EDGEDAG_SHM;
    if (folder === undefined) {
      throw new Refusal("the result is large, and EDGEDAG_SHM names no folder for it");
    }
    const path = writeResultFile(folder, `${process.pid}-${id}.json`, text);
    this.#values.keep(id, { file: path });
    const sizeBytes = Buffer.byteLength(text);
    return `"ok":true,"resultFile":${JSON.stringify(path)},"sizeBytes":${sizeBytes}`;
  }

  #fail(running: Running, error: unknown): void {
    if (this.#exitCode !== undefined) this.#succeed(running, null);
    else this.#finish(running, failureAnswer(error), false);
  }

  #finish(running: Running, answer: string, isOk: boolean): void {
    const now = performance.now();
    const wallMs = now - running.start;
    const { call, entry } = running;
    this.#running = undefined;
    this.#context.call = undefined;
    this.#isLastOk = isOk;
    if (entry !== undefined) entry.isQuick = wallMs < quickMs;
    let facts = `"startedAt":${running.startedAt.toFixed(3)},"wallMs":${wallMs.toFixed(4)}`;
    if (wallMs > measuredMs) facts += this.#cpuFacts();
    else this.#shortMs += wallMs;
    if (this.#exitCode !== undefined) this.#retire("the task called process.exit");
    this.#exitCode = undefined;
    if (process.exitCode !== undefined) process.exitCode = undefined;
    facts += this.#clean(call.id);
    this.#hold(`{"id":${call.id},${answer},${facts}}`);
    // A part of what the agent hands out ahead: it sends the next calls while these go on.
    const isEnough = this.#answers.length >= this.#enough || now - this.#lastFlush > flushMs;
    if (this.#retired !== undefined || isEnough) this.#flush();
  }

  /** The call behind it may take long, against expectation: the agent can then look it up. */
  #hold(answer: string): void {
    this.#answers.push(answer);
    if (this.#page?.hold(answer) === false) this.#flush();
  }

  /** What the answer says of the marks. */
  #clean(id: number): string {
    const left = this.#hygiene.leftover();
    if (left !== undefined) this.#retire(left);
    if (process.cwd() !== this.#enteredCwd) this.#enteredCwd = "";
    if (this.#page?.hasWritten() === false) return `,"unmarked":true`;
    this.#page?.marked(12);
    this.#mark.writeUInt32LE(id, 8);
    try {
      writeAll(1, this.#mark, 12);
      writeAll(2, this.#mark, 12);
    } catch (error) {
      this.#retire(`the worker's output cannot be marked: ${String(error)}`);
    }
    return "";
  }

  #flush(): void {
    if (this.#answers.length > 0) {
      const replaced = this.#hygiene.streamsReplaced();
      if (replaced !== undefined) this.#retire(replaced);
      // In one frame: else the agent could send a call on seeing the answers alone.
      const retire =
        this.#retired === undefined ? "" : `,"retire":${JSON.stringify(this.#retired)}`;
      this.#channel.send(`{"done":[${this.#answers.join(",")}]${retire}}`);
      this.#answers = [];
      this.#page?.sent();
    }
    this.#lastFlush = performance.now();
  }

  #retire(reason: string): void {
    this.#retired ??= reason;
  }

  // Measured only for calls long enough to be worth it; the short ones before it in the same frame
  // are taken off by their wall time.
  #cpuFacts(): string {
    const before = this.#usage;
    const now = process.cpuUsage();
    this.#usage = now;
    const userMs = Math.max(0, (now.user - before.user) / 1000 - this.#shortMs);
    this.#shortMs = 0;
    const systemMs = (now.system - before.system) / 1000;
    let facts = `,"cpuUserMs":${userMs.toFixed(3)},"cpuSystemMs":${systemMs.toFixed(3)}`;
    const maxRss = process.resourceUsage().maxRSS;
    // The peak is the worker's; only a call that raised it has surely reached it.
    if (maxRss > this.#maxRss && this.#maxRss > 0) facts += `,"maxRssBytes":${maxRss * 1024}`;
    this.#maxRss = maxRss;
    return facts;
  }

  #guardProcess(): void {
    process.exit = (code?: number | string | null) => {
      this.#exitCode ??= exitCodeOf(code ?? process.exitCode) ?? 0;
      throw new Exit("process.exit");
    };
    // A stray error ends the call that runs, and the worker with it: whose it was is not known.
    process.on("uncaughtException", (error) => this.#strayError(error));
    process.on("unhandledRejection", (error) => this.#strayError(error));
    process.on("beforeExit", () => {
      const running = this.#running;
      if (running === undefined) return;
      this.#fail(
        running,
        new Refusal(
          "the function waits for a Promise that can never settle: nothing is left to do",
        ),
      );
      this.serve();
    });
  }

  #strayError(error: unknown): void {
    const running = this.#running;
    this.#retire("an error of the task was not caught");
    if (running === undefined) this.#flush();
    else this.#fail(running, error);
    // Not from here: in a synchronous call the loop below this frame goes on by itself.
    setImmediate(() => this.#resume());
  }

  #resume(): void {
    if (this.#running === undefined) this.serve();
  }
}

/** Its streams cost a millisecond when they are first used. */
const rehearsedCode = `
exports.main = async ({ streams }) => {
  for (const name of streams) process[name].write("");
  return { streams };
};`;

function rehearsal(env: { readonly [name: string]: string }): Call {
  return {
    id: 0,
    task: "",
    attempt: 0,
    run: "rehearsal",
    function: "main",
    code: rehearsedCode,
    args: { streams: ["stdout", "stderr"] },
    env: { ...env },
    cwd: process.cwd(),
  };
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  if (value === null || typeof value !== "object") return false;
  return "then" in value && typeof value.then === "function";
}

function failureAnswer(error: unknown): string {
  const { detail, trace, place } = describe(error);
  let more = trace === undefined ? "" : `,"trace":${JSON.stringify(trace)}`;
  if (place !== undefined) more += `,"line":${place.line},"column":${place.column}`;
  return `"ok":false,"reason":"bad-result","detail":${JSON.stringify(detail)}${more}`;
}

function exitCodeOf(code: number | string | null | undefined): number | undefined {
  if (code === undefined || code === null) return undefined;
  return Number(code) & 0xff;
}
