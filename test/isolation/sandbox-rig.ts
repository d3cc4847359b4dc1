// Real sandboxes of the levels that need nothing but the launcher, and one attempt's whole story, for
// the tests of what happens in a box from spec to outcome.
import { chmodSync, existsSync } from "node:fs";
import { join } from "node:path";
import type { Attempt, AttemptEnd } from "../../agent/exec/attempt.ts";
import { loadLanguages } from "../../agent/exec/isolation/languages/languages.ts";
import { defaultPoolSettings } from "../../agent/exec/isolation/pool/box-pool.ts";
import type { SandboxRun, SandboxSpec } from "../../agent/exec/isolation/sandbox-spec.ts";
import { Sandboxes } from "../../agent/exec/isolation/sandboxes.ts";
import { kindOf, newFolder, smallLimits } from "./isolation-rig.ts";
import { type LevelParts, startParts } from "./level-rig.ts";

export type TestLevel = "subprocess" | "seccomp";

export interface Told {
  end: AttemptEnd | "returned";
  stdout: string;
  stderr: string;
  starts: number;
}

export interface Started {
  attempt: Attempt;
  told: Promise<Told>;
  /** The first byte that it wrote. */
  output: Promise<void>;
}

export class SandboxRig implements AsyncDisposable {
  readonly folder: string;
  readonly level: TestLevel;
  readonly sandboxes: Sandboxes;
  readonly parts: LevelParts;
  #count = 0;

  static async start(
    t: { teardown(done: () => unknown): unknown },
    level: TestLevel,
  ): Promise<SandboxRig> {
    const folder = newFolder(t);
    // Users of boxes pass through it.
    chmodSync(folder, 0o711);
    return new SandboxRig(folder, level, await startParts(folder, `t${process.pid}`));
  }

  private constructor(folder: string, level: TestLevel, parts: LevelParts) {
    this.folder = folder;
    this.level = level;
    this.parts = parts;
    const loaded = loadLanguages("");
    if (!loaded.ok) throw new Error("the agent's own languages are bad");
    const registry = loaded.value;
    this.sandboxes = new Sandboxes({
      makers: [parts.makers.subprocess, parts.makers.seccomp],
      folders: parts.folders,
      settings: { ...defaultPoolSettings, size: 1, startsPerSecond: 1000 },
      limits: { ...smallLimits, memoryBytes: 1024 * 2 ** 20 },
      language: (name) => {
        const language = registry.find(name);
        return language === undefined ? undefined : { language, programs: {} };
      },
      onProblem: ({ state, detail }) => process.stderr.write(`${state}: ${detail}\n`),
    });
  }

  spec(run: SandboxRun, more: Partial<SandboxSpec> = {}): SandboxSpec {
    this.#count += 1;
    const language =
      run.kind === "function" ? run.runtime : run.kind === "code" ? run.language : "shell";
    return {
      kind: kindOf(this.level, { language }),
      run,
      task: `t${this.#count}`,
      attempt: 1,
      runId: "r1",
      env: {},
      inputs: {},
      files: [],
      limits: { ...smallLimits, memoryBytes: 1024 * 2 ** 20 },
      outputLimitBytes: 2 ** 20,
      timeoutMs: 60_000,
      graceMs: 200,
      outputs: { patterns: [], maxCount: 10, maxBytes: 2 ** 20 },
      keepIn: join(this.folder, "kept", `t${this.#count}`),
      ...more,
    };
  }

  start(run: SandboxRun, more: Partial<SandboxSpec> = {}): Started {
    const { promise, resolve } = Promise.withResolvers<Told>();
    const output = Promise.withResolvers<void>();
    const pieces = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
    let starts = 0;
    const attempt = this.sandboxes.start(this.spec(run, more), {
      started: () => {
        starts += 1;
      },
      output: (stream, bytes) => {
        pieces[stream].push(Buffer.from(bytes));
        output.resolve();
      },
      ended: (end) => {
        const stdout = Buffer.concat(pieces.stdout).toString();
        resolve({ end, stdout, stderr: Buffer.concat(pieces.stderr).toString(), starts });
      },
    });
    return { attempt, told: promise, output: output.promise };
  }

  async run(run: SandboxRun, more: Partial<SandboxSpec> = {}): Promise<Told & { end: AttemptEnd }> {
    const told = await this.start(run, more).told;
    if (told.end === "returned") throw new Error("the attempt was returned");
    return { ...told, end: told.end };
  }

  shell(script: string, more: Partial<SandboxSpec> = {}) {
    return this.run({ kind: "command", argv: ["/bin/sh", "-c", script] }, more);
  }

  python(code: string, more: Partial<SandboxSpec> = {}, args?: { [name: string]: string }) {
    const run: SandboxRun = { kind: "function", runtime: "python", code };
    return this.run(args === undefined ? run : { ...run, args }, more);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sandboxes.close();
    await this.parts[Symbol.asyncDispose]();
  }
}

export const levels: readonly TestLevel[] = ["subprocess", "seccomp"];

export function failureOf({ end }: Told) {
  if (end === "returned" || end.outcome.kind !== "failed") return undefined;
  return end.outcome.failure;
}

export function hasProgram(name: string): boolean {
  return ["/usr/bin", "/bin", "/usr/local/bin"].some((folder) => existsSync(join(folder, name)));
}
