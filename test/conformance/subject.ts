// One task at one level, told in a few words, and everything that came of it.
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";
import type { Attempt, AttemptEnd, AttemptListener } from "../../agent/exec/attempt.ts";
import type { BoxLevel, BoxLimits } from "../../agent/exec/isolation/box.ts";
import type {
  OutputRules,
  Samples,
  SandboxRun,
  SandboxSpec,
} from "../../agent/exec/isolation/sandbox-spec.ts";
import type { Failure, FailureReason } from "../../protocol/outcome.ts";

/** What carries out specs: the agent's `Isolation`. */
export interface Carrier {
  start(spec: SandboxSpec, listener: AttemptListener): Attempt;
  samples(run: string, task: string): Samples | undefined;
}

export interface Told extends Partial<Omit<SandboxSpec, "run" | "limits" | "outputs">> {
  limits?: Partial<BoxLimits>;
  outputs?: Partial<OutputRules>;
}

export interface Story {
  end: AttemptEnd;
  stdout: Buffer;
  stderr: Buffer;
  startedAt: number | undefined;
}

export interface Started {
  attempt: Attempt;
  story: Promise<Story>;
  /** Resolves when its first process has started; never, when there is none. */
  begun: Promise<void>;
  /** Resolves when stdout holds the text. */
  said(text: string): Promise<void>;
  /** Undefined once it has ended. */
  samples(): Samples | undefined;
}

const runId = "conformance";

const mebibyte = 2 ** 20;

export class Subject {
  readonly level: BoxLevel;
  readonly carrier: Carrier;
  readonly #folder = mkdtempSync(join(tmpdir(), "kept-"));
  #last = 0;

  constructor(level: BoxLevel, carrier: Carrier) {
    this.level = level;
    this.carrier = carrier;
  }

  start(run: SandboxRun, told: Told = {}): Started {
    this.#last += 1;
    const key = `task-${this.#last}`;
    const chunks: { stdout: Buffer[]; stderr: Buffer[] } = { stdout: [], stderr: [] };
    const ended = Promise.withResolvers<Story>();
    const waiting: { text: string; done(): void }[] = [];
    const begun = Promise.withResolvers<void>();
    let startedAt: number | undefined;
    const spec: SandboxSpec = {
      kind: {
        level: this.level,
        language: languageOf(run),
        network: false,
        mounts: [],
        syscalls: [],
      },
      run,
      task: key,
      attempt: 1,
      runId,
      env: {},
      inputs: {},
      files: [],
      outputLimitBytes: 64 * mebibyte,
      timeoutMs: 60_000,
      graceMs: 500,
      keepIn: join(this.#folder, key),
      ...told,
      limits: {
        memoryBytes: 512 * mebibyte,
        pids: 64,
        diskBytes: 64 * mebibyte,
        ...told.limits,
      },
      outputs: { patterns: [], maxCount: 100, maxBytes: 64 * mebibyte, ...told.outputs },
    };
    const attempt = this.carrier.start(spec, {
      started: ({ at }) => {
        startedAt = at;
        begun.resolve();
      },
      output: (stream, bytes) => {
        chunks[stream].push(Buffer.from(bytes));
        // Nobody waits during output of many megabytes.
        if (waiting.length === 0) return;
        const text = Buffer.concat(chunks.stdout).toString();
        for (const wait of waiting) if (text.includes(wait.text)) wait.done();
      },
      ended: (end) => {
        if (end === "returned") ended.reject(new Error("the attempt was returned"));
        else {
          const stdout = Buffer.concat(chunks.stdout);
          ended.resolve({ end, stdout, stderr: Buffer.concat(chunks.stderr), startedAt });
        }
      },
    });
    return {
      attempt,
      samples: () => this.carrier.samples(runId, told.task ?? key),
      story: ended.promise,
      begun: begun.promise,
      said: async (text) => {
        const { promise, resolve } = Promise.withResolvers<void>();
        waiting.push({ text, done: resolve });
        if (Buffer.concat(chunks.stdout).toString().includes(text)) resolve();
        const early = ended.promise.then((story) => {
          if (story.stdout.includes(text)) return;
          throw new Error(`it ended before it said ${text}: ${JSON.stringify(story.end)}`);
        });
        await Promise.race([promise, early]);
      },
    };
  }

  async run(run: SandboxRun, told: Told = {}): Promise<Story> {
    return await this.start(run, told).story;
  }

  close(): void {
    if (existsSync(this.#folder)) rmSync(this.#folder, { recursive: true });
  }
}

export function languageOf(run: SandboxRun): string {
  if (run.kind === "code") return run.language;
  if (run.kind === "function") return run.runtime;
  return run.argv[0] === "python3" ? "python" : "shell";
}

export function shell(script: string): SandboxRun {
  return { kind: "command", argv: ["sh", "-c", script] };
}

export function python(code: string): SandboxRun {
  return { kind: "command", argv: ["python3", "-c", code] };
}

export function call(
  runtime: "python" | "node",
  code: string,
  args?: SandboxRun & { kind: "function" } extends { args?: infer A } ? A : never,
): SandboxRun {
  return { kind: "function", runtime, code, ...(args === undefined ? {} : { args }) };
}

export function isSuccess(t: Test, { end, stderr }: Story, what = "it succeeds"): void {
  t.same(end.outcome, { kind: "succeeded" }, `${what} (stderr: ${stderr.toString().slice(-500)})`);
}

/** The failure, when it failed for this reason. */
export function failsWith<R extends FailureReason>(
  t: Test,
  { end, stderr }: Story,
  reason: R,
): Extract<Failure, { reason: R }> | undefined {
  const { outcome } = end;
  const found = outcome.kind === "failed" ? outcome.failure.reason : outcome.kind;
  t.equal(
    found,
    reason,
    `it fails with ${reason} (${JSON.stringify(outcome)}; stderr: ${stderr.toString().slice(-500)})`,
  );
  if (outcome.kind !== "failed" || outcome.failure.reason !== reason) return undefined;
  // The reason was just compared.
  return outcome.failure as Extract<Failure, { reason: R }>;
}
