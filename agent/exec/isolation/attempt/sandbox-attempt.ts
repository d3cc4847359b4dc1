// One attempt in a sandbox, from what to run to how it ended: a box is taken, gets its inputs and its
// limits, runs the task, is measured and destroyed, and what the task left is collected. Knows
// nothing of DAGs; what a box is at each level others know.
import { randomBytes } from "node:crypto";
import { lstatSync } from "node:fs";
import { chown, mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay, setImmediate } from "node:timers/promises";
import type { Failure, Outcome } from "../../../../protocol/outcome.ts";
import type { Attempt, AttemptEnd, AttemptListener } from "../../attempt.ts";
import type { Usage } from "../../launcher/process.ts";
import { type Box, type BoxEnd, BoxError } from "../box.ts";
import { type InputProblem, writeInputFiles, writeIoFile } from "../files/input-files.ts";
import { keepOutputs } from "../files/output-files.ts";
import { mayHaveOutputs } from "../files/output-peek.ts";
import { type ReadResult, readResultFile } from "../files/result-file.ts";
import { sourceName } from "../languages/language.ts";
import type { WarmBox } from "../pool/kind-pool.ts";
import type { SandboxSpec } from "../sandbox-spec.ts";
import { outcomeOf } from "./cause.ts";
import type { OneCall } from "./one-call.ts";
import type { Ran, RunContext, Running } from "./ran.ts";
import { buildFolder, placesOf, runCode, type UsedLanguage } from "./run-code.ts";
import { runCommand } from "./run-command.ts";
import { runFunction, takeRunner } from "./run-function.ts";
import { SampleRing } from "./samples.ts";
import { giveSecrets } from "./secret-files.ts";

export interface AttemptParts {
  take(spec: SandboxSpec): Promise<WarmBox<OneCall>>;
  /** Of the registry, with its programs at this level. */
  language(name: string): UsedLanguage | undefined;
  /** Nothing of it is left: box, folder, processes. */
  gone?(): void;
}

export interface SandboxAttempt extends Attempt {
  readonly samples: SampleRing;
}

/** Variables above this go through a file. */
const inlineInputsBytes = 16 * 1024;
const inputsName = "inputs.json";
const stdinName = "stdin";
/** Past the task's own time, until the box is destroyed around a launcher that does not end it. */
const overdueMs = 3_000;
/** From the loss of a process to the word of its box why. */
const boxEndMs = 1_000;

export function startSandboxed(
  spec: SandboxSpec,
  parts: AttemptParts,
  listener: AttemptListener,
): SandboxAttempt {
  const attempt = new Sandboxed(spec, parts, listener);
  void attempt.run();
  return attempt;
}

class Sandboxed implements SandboxAttempt {
  readonly samples = new SampleRing();
  readonly #spec: SandboxSpec;
  readonly #parts: AttemptParts;
  readonly #listener: AttemptListener;
  readonly #boxEnd = Promise.withResolvers<BoxEnd>();
  /** Guessed by nobody inside before it is told. */
  readonly #resultName = `result-${randomBytes(6).toString("hex")}.json`;
  #knownBoxEnd: BoxEnd | undefined;
  #box: Box | undefined;
  #running: Running | undefined;
  #isStopped = false;
  #isOverdue = false;
  #hasEnded = false;
  #startedAt: number | undefined;
  #exceeded: Usage["exceeded"];
  #net: NodeJS.Timeout | undefined;

  constructor(spec: SandboxSpec, parts: AttemptParts, listener: AttemptListener) {
    this.#spec = spec;
    this.#parts = parts;
    this.#listener = listener;
  }

  stop(graceMs: number): void {
    // Only its box is still on its way out: another net would hold the process for nothing.
    if (this.#hasEnded) return;
    this.#isStopped = true;
    if (this.#running === undefined) {
      this.#end("returned");
      return;
    }
    this.#running.stop(graceMs);
    this.#setNet(graceMs);
  }

  /** Never rejects: what goes wrong is the attempt's end. */
  async run(): Promise<void> {
    let warm: WarmBox<OneCall> | undefined;
    try {
      warm = await this.#parts.take(this.#spec);
      if (!this.#isStopped) await this.#runIn(warm);
    } catch (error) {
      this.#fail(this.#failureOf(error));
    } finally {
      clearTimeout(this.#net);
      // Whoever waits for the end is answered before the box is taken down.
      await setImmediate();
      await warm?.release();
      this.#parts.gone?.();
    }
  }

  async #runIn(warm: WarmBox<OneCall>): Promise<void> {
    const { box } = warm;
    this.#box = box;
    box.onEnd = (end) => {
      this.#knownBoxEnd = end;
      this.#boxEnd.resolve(end);
    };
    box.onSample = (usage) => {
      this.#exceeded ??= usage.exceeded;
      this.samples.add(usage);
    };
    const start = await this.#prepare(warm);
    if (start === undefined || this.#isStopped) return;
    this.#running = start();
    const { timeoutMs, graceMs, compileTimeoutMs = 0, run } = this.#spec;
    this.#setNet(timeoutMs + graceMs + (run.kind === "code" ? compileTimeoutMs : 0));
    // A destroyed box may have no words left for the end of what ran in it.
    const ran = await this.#running.ran;
    clearTimeout(this.#net);
    await this.#finish(box, ran);
  }

  /** Everything up to the task's first moment. Undefined: it has failed. */
  async #prepare(warm: WarmBox<OneCall>): Promise<(() => Running) | undefined> {
    const spec = this.#spec;
    const { box, worker } = warm;
    const { folder, inside } = box;
    const { run, limits, graceMs } = spec;
    let problem = await writeInputFiles(folder, spec.files, spec.folders);
    let stdinPath: string | undefined;
    if (spec.stdin !== undefined) {
      problem ??= await writeIoFile(folder, stdinName, spec.stdin);
      stdinPath = `${inside.io}/${stdinName}`;
    }
    const env: Record<string, string> = {
      ...box.env,
      ...spec.env,
      EDGEDAG_RUN: spec.runId,
      EDGEDAG_TASK: spec.task,
      EDGEDAG_ATTEMPT: String(spec.attempt),
      EDGEDAG_SHM: inside.io,
    };
    const given = await giveSecrets(box, spec);
    if (given.problem !== undefined) return this.#refuse(given.problem);
    const { env: secretEnv } = given;
    const listener = this.#runListener();
    const context: RunContext = { box, spec, env, secretEnv, stdinPath, listener };
    if (run.kind === "function") {
      if (problem !== undefined) return this.#refuse(problem);
      const runner = await takeRunner(context, run, worker);
      await box.arm(limits, { graceMs });
      return () => runFunction(context, run, runner);
    }
    worker?.discard();
    env.EDGEDAG_RESULT = `${inside.io}/${this.#resultName}`;
    const inputs = JSON.stringify(spec.inputs);
    if (Buffer.byteLength(inputs) <= inlineInputsBytes) env.EDGEDAG_INPUTS = inputs;
    else {
      problem ??= await writeIoFile(folder, inputsName, inputs);
      env.EDGEDAG_INPUTS_FILE = `${inside.io}/${inputsName}`;
    }
    if (run.kind === "command") {
      if (problem !== undefined) return this.#refuse(problem);
      await box.arm(limits, { graceMs });
      return () => runCommand(context, run.argv);
    }
    const used = this.#parts.language(run.language);
    if (used === undefined) {
      const detail = `the language ${JSON.stringify(run.language)} is not in the agent's registry`;
      this.#fail({ reason: "sandbox", level: spec.kind.level, detail });
      return undefined;
    }
    // Of a file of the inputs only Java's text matters; it is there by now.
    const source = run.code ?? (await sourceOf(join(folder.work, run.file ?? ""), problem));
    const fileName = run.file ?? sourceName(used.language, source);
    if (run.code !== undefined) {
      problem ??= await writeInputFiles(folder, [{ path: fileName, content: run.code }]);
    }
    if (problem !== undefined) return this.#refuse(problem);
    const build = join(folder.io, buildFolder);
    await mkdir(build, { mode: 0o755 });
    if (folder.uid !== undefined) await chown(build, folder.uid, folder.uid);
    const places = placesOf(box, used, { fileName, source });
    await box.arm(limits, { graceMs });
    return () => runCode(context, run, { used, places });
  }

  async #finish(box: Box, ran: Ran): Promise<void> {
    const ownFacts = this.#ownFacts();
    const [usage, isFull] = await Promise.all([
      box.usage(),
      ran.failure === undefined ? false : box.folder.isFull(),
    ]);
    if (ran.isLost && this.#knownBoxEnd === undefined && !this.#isOverdue) {
      await Promise.race([this.#boxEnd.promise, delay(boxEndMs, undefined, { ref: false })]);
    }
    if (this.#isOverdue) ran.stopped = this.#isStopped ? "killed" : "timeout";
    const outcome = outcomeOf({
      spec: this.#spec,
      ran,
      exceeded: usage?.exceeded ?? this.#exceeded,
      boxEnd: this.#knownBoxEnd,
      isFull,
      isStopped: this.#isStopped,
    });
    const facts = {
      ...ownFacts,
      ...ran.facts,
      // A box that was killed around the task can only be told of by what was seen before.
      ...measuredFacts(usage ?? this.samples.last),
      isolation: this.#spec.kind.level,
    };
    const end: AttemptEnd = { outcome, facts };
    if (outcome.kind === "succeeded" && ran.result !== undefined && ran.result !== null) {
      end.result = ran.result;
    }
    const resultName = this.#resultNameOf(box, ran, outcome);
    const { patterns } = this.#spec.outputs;
    const hasOutputs = patterns.length > 0 && mayHaveOutputs(box.folder.work, patterns);
    if (resultName === undefined && !hasOutputs) {
      if (patterns.length > 0) end.outputs = { artifacts: [], refused: [] };
      this.#end(end);
      return;
    }
    // Nothing inside may write any more while its files are looked at.
    await box.destroy();
    if (resultName !== undefined) addResult(end, await this.#readResult(box, resultName));
    if (hasOutputs) {
      const { outputs, keepIn } = this.#spec;
      end.outputs = await keepOutputs(box.folder.work, outputs, keepIn);
    }
    this.#end(end);
  }

  /** The file that holds the result, if it may be in one. */
  #resultNameOf(box: Box, ran: Ran, outcome: Outcome): string | undefined {
    if (outcome.kind !== "succeeded") return undefined;
    if (this.#spec.run.kind !== "function") {
      // The program has ended without one, as most do: there is nothing to wait for.
      const isThere = mayBeThere(join(box.folder.io, this.#resultName));
      return isThere ? this.#resultName : undefined;
    }
    if (ran.resultFile === undefined) return undefined;
    const prefix = `${box.inside.io}/`;
    const name = ran.resultFile.startsWith(prefix) ? ran.resultFile.slice(prefix.length) : "";
    // An answer that names something else than a file in that folder: nothing there is read.
    return name === "" || name === "." || name === ".." || name.includes("/") ? "\0" : name;
  }

  async #readResult(box: Box, name: string): Promise<ReadResult> {
    if (name === "\0") {
      return { kind: "bad", detail: "the function's answer names a file outside of its folder" };
    }
    const isFunction = this.#spec.run.kind === "function";
    const what = isFunction ? "the function's result" : "the file that EDGEDAG_RESULT names";
    const keepAt = join(this.#spec.keepIn, "result.json");
    const read = await readResultFile(box.folder.io, name, { keepAt, what });
    if (!isFunction || read.kind !== "none") return read;
    return { kind: "bad", detail: "the function's answer names a file that does not exist" };
  }

  /** Where nobody inside is left to tell more. */
  #ownFacts(): AttemptEnd["facts"] {
    if (this.#startedAt === undefined) return {};
    const now = performance.timeOrigin + performance.now();
    return { startedAt: this.#startedAt, wallMs: Math.max(0, now - this.#startedAt) };
  }

  #runListener(): RunContext["listener"] {
    return {
      started: (info) => {
        // The run step of a compiled program is not another start.
        if (this.#startedAt === undefined && !this.#hasEnded) this.#listener.started(info);
        this.#startedAt ??= info.at;
      },
      output: (stream, bytes) => {
        if (!this.#hasEnded) this.#listener.output(stream, bytes);
      },
    };
  }

  /** Whoever watches inside may be dead, stopped, or no longer ours. */
  #setNet(inMs: number): void {
    clearTimeout(this.#net);
    // Timers hold 24 days.
    const ms = Math.min(inMs + overdueMs, 2 ** 31 - 1);
    this.#net = setTimeout(() => {
      this.#isOverdue = true;
      // Its end is told by the processes; a failure shows when the box is released.
      this.#box?.destroy().catch(() => {});
    }, ms);
  }

  #refuse(problem: InputProblem): undefined {
    const { limits, kind } = this.#spec;
    this.#fail(
      problem.kind === "full"
        ? { reason: "disk-limit", limitBytes: limits.diskBytes }
        : { reason: "sandbox", level: kind.level, detail: problem.detail },
    );
  }

  #failureOf(error: unknown): Failure {
    const { level } = this.#spec.kind;
    if (error instanceof BoxError) {
      return { reason: "sandbox", level, detail: `${error.message}. ${error.remedy}` };
    }
    const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return { reason: "internal", detail };
  }

  #fail(failure: Failure): void {
    this.#end({ outcome: { kind: "failed", failure }, facts: {} });
  }

  #end(end: AttemptEnd | "returned"): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#listener.ended(end);
  }
}

function addResult(end: AttemptEnd, read: ReadResult): void {
  if (read.kind === "file") end.file = read.file;
  if (read.kind === "value" && read.result !== null) end.result = read.result;
  if (read.kind === "bad") {
    end.outcome = { kind: "failed", failure: { reason: "bad-result", detail: read.detail } };
  }
}

function mayBeThere(path: string): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return true; // whoever reads it tells what is wrong with it
  }
}

/** By the host, of everything that was in the box: before what single processes say. */
function measuredFacts(usage: Usage | undefined): AttemptEnd["facts"] {
  const facts: AttemptEnd["facts"] = {};
  const { cpuUserMs, cpuSystemMs, peakMemoryBytes, peakPids, readBytes, writtenBytes } =
    usage ?? {};
  if (cpuUserMs !== undefined) facts.cpuUserMs = cpuUserMs;
  if (cpuSystemMs !== undefined) facts.cpuSystemMs = cpuSystemMs;
  if (peakMemoryBytes !== undefined) facts.peakMemoryBytes = peakMemoryBytes;
  if (peakPids !== undefined) facts.peakPids = peakPids;
  if (readBytes !== undefined) facts.readBytes = readBytes;
  if (writtenBytes !== undefined) facts.writtenBytes = writtenBytes;
  return facts;
}

async function sourceOf(path: string, problem: InputProblem | undefined): Promise<string> {
  // Without the file the compiler says what is missing.
  return problem === undefined ? await readFile(path, "utf8").catch(() => "") : "";
}
