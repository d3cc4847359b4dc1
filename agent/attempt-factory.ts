// Turns "start attempt n of this instance" into what is to be executed: templates evaluated,
// environment and inputs put together, results of other tasks passed as values or references.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Json } from "../protocol/json.ts";
import type { Failure } from "../protocol/outcome.ts";
import { secretSet } from "../protocol/secret-set.ts";
import {
  type Evaluation,
  evaluateText,
  type ResultPath,
  type TemplateScope,
} from "../protocol/template.ts";
import { Problem } from "../protocol/template-filters.ts";
import { evaluateValue } from "../protocol/template-value.ts";
import { AttemptValues, worldProblem } from "./attempt-values.ts";
import type { Instance } from "./core/events.ts";
import type { RunState } from "./core/run-state.ts";
import type { AttemptSpec } from "./exec/attempt.ts";
import type { InputFile } from "./exec/isolation/sandbox-spec.ts";
import type { ProcessSpec } from "./exec/launcher/launcher.ts";
import { escapeRefs, refToCall, refToNeed } from "./exec/workers/values.ts";
import type { CallHandle, CallSpec } from "./exec/workers/worker-pool.ts";
import type { RunFolders } from "./run-folders.ts";
import { ResultGone, type RunResults } from "./run-results.ts";
import { outputFiles } from "./sandbox-outputs.ts";
import { needsSandbox, planSandbox, type SandboxSettings } from "./sandbox-plan.ts";
import { type GivenSecrets, type RunSecrets, writeSecretFiles } from "./secrets/run-secrets.ts";
import type { TaskPlan } from "./task-plan.ts";

/** Inputs up to this many bytes go into the environment, larger ones into a file. */
const inlineInputsBytes = 16 * 1024;

export interface FactoryOptions {
  run: string;
  state: RunState;
  results: RunResults;
  folders: RunFolders;
  params: { [name: string]: Json };
  baseEnv: Readonly<Record<string, string>>;
  templateEnv: Readonly<Record<string, string>>;
  storeSocket: string;
  storeUrl: string;
  outputLimitBytes: number;
  sandbox: SandboxSettings;
  /** Absent: no task of the run names any. */
  secrets?: RunSecrets | undefined;
}

export type Made =
  /** `cleanUp`: when the attempt is over, however it ended. */
  { ok: true; spec: AttemptSpec; cleanUp?: () => void } | { ok: false; failure: Failure };

export class AttemptFactory {
  readonly #options: FactoryOptions;
  readonly #values: AttemptValues;
  readonly #paths = new Map<string, string>();
  /** Of processes and, since a call's environment is all that a worker keeps, of functions. */
  readonly #processEnv: Readonly<Record<string, string>>;
  /** As workers take them. */
  readonly #callParams: Json;

  constructor(options: FactoryOptions) {
    this.#options = options;
    this.#values = new AttemptValues(options);
    this.#callParams = escapeRefs(options.params);
    const { run, folders, state, storeSocket, storeUrl } = options;
    const own = {
      EDGEDAG_RUN: run,
      EDGEDAG_DAG_NAME: state.document.attributes.dag,
      EDGEDAG_SHM: folders.shm,
      ...(storeUrl === "" ? { EDGEDAG_STORE: storeSocket } : { EDGEDAG_STORE_URL: storeUrl }),
    };
    // The working folder comes last on the PATH: a task may call its own scripts by name, and
    // nothing that a task leaves there shadows a program of the system.
    const path = `${options.baseEnv.PATH ?? ""}:${folders.work}`;
    this.#processEnv = { ...options.baseEnv, PATH: path, ...own };
  }

  plan(instance: Instance): TaskPlan {
    return this.#values.plan(instance);
  }

  /** All conditions of `when`, in order; the first that is false decides. */
  evaluateWhen(instance: Instance): Evaluation<boolean> {
    try {
      return this.#values.evaluateWhen(instance);
    } catch (error) {
      return { ok: false, detail: worldProblem(error) };
    }
  }

  /** The items of a fan-out. The same results give the same items, so a replay may ask again. */
  evaluateMap(instance: Instance): Evaluation<Json[]> {
    try {
      return this.#values.evaluateMap(instance);
    } catch (error) {
      return { ok: false, detail: worldProblem(error) };
    }
  }

  /**
   * `behind` gives the calls of tasks that are still in flight at the same worker; `gpus` is for
   * CUDA_VISIBLE_DEVICES, absent where the node has none.
   */
  make(
    instance: Instance,
    attempt: number,
    behind?: (task: string) => CallHandle | undefined,
    gpus?: string,
  ): Made {
    try {
      return this.#make(instance, attempt, behind, gpus);
    } catch (error) {
      const detail = worldProblem(error);
      if (error instanceof ResultGone) return { ok: false, failure: { reason: "lost", detail } };
      return { ok: false, failure: { reason: "backend", backend: "local", detail } };
    }
  }

  #make(
    instance: Instance,
    attempt: number,
    behind: ((task: string) => CallHandle | undefined) | undefined,
    gpus: string | undefined,
  ): Made {
    const { state } = this.#options;
    const task = state.taskOf(instance);
    const scope = this.#values.scope(instance, attempt);
    const { run } = task;
    const given = this.#options.secrets?.of(task);
    if (typeof given === "string") return cannotGive(given);
    if (needsSandbox(task)) {
      return this.#makeSandboxed({ instance, attempt, scope, gpus, given });
    }
    if (run.kind === "python" || run.kind === "node") {
      return this.#makeCall({ instance, attempt, scope, behind, gpus, given });
    }
    const env = this.#values.taskEnv(instance, scope, gpus);
    if (!env.ok) return badTemplate(env.detail);
    const stdin = this.#values.stdin(instance, scope);
    if (!stdin.ok) return badTemplate(stdin.detail);
    const argv = this.#values.argv(instance, scope);
    if (!argv.ok) return badTemplate(argv.detail);
    const key = `${state.keyOf(instance)}#${attempt}`;
    const { folders } = this.#options;
    const { resultPath, largePath } = resultPaths(folders.shm, key);
    const stdinPath = join(folders.shm, `${key}.stdin`);
    if (stdin.value !== undefined) writeFileSync(stdinPath, stdin.value, { mode: 0o600 });
    const secret = given === undefined ? undefined : writeSecretFiles(given, folders.shm, key);
    if (typeof secret === "string") return cannotGive(secret);
    const process: ProcessSpec = {
      argv: argv.value,
      env: {
        ...this.#processEnv,
        EDGEDAG_TASK: state.keyOf(instance),
        EDGEDAG_ATTEMPT: String(attempt),
        EDGEDAG_RESULT: resultPath,
        ...this.#inputsEnv(instance, key),
        ...env.value,
        ...secret?.env,
      },
      cwd: folders.work,
      ...(stdin.value === undefined ? {} : { stdin: stdinPath }),
      ...this.#limits(instance),
    };
    return {
      ok: true,
      spec: { kind: "process", process, resultPath, largePath },
      ...(secret === undefined ? {} : { cleanUp: secret.remove }),
    };
  }

  /** Of a process that runs already: what its end is judged by. Writes nothing. */
  adopted(instance: Instance, attempt: number): AttemptSpec & { kind: "process" } {
    const { state, folders } = this.#options;
    const paths = resultPaths(folders.shm, `${state.keyOf(instance)}#${attempt}`);
    const limits = this.#limits(instance);
    const held = { tag: "", note: [0, 0] } as const;
    return { kind: "process", process: { argv: [], env: {}, cwd: "/", held, ...limits }, ...paths };
  }

  #limits(instance: Instance) {
    const { state, outputLimitBytes } = this.#options;
    const task = state.taskOf(instance);
    return {
      graceMs: task.graceMs,
      outputLimitBytes: task.limits?.outputBytes ?? outputLimitBytes,
      ...(task.timeoutMs === undefined ? {} : { timeoutMs: task.timeoutMs }),
      ...rlimitsOf(task.limits),
    };
  }

  #makeCall({
    instance,
    attempt,
    scope,
    behind,
    gpus,
    given,
  }: {
    instance: Instance;
    attempt: number;
    scope: TemplateScope;
    behind: ((task: string) => CallHandle | undefined) | undefined;
    gpus: string | undefined;
    given: GivenSecrets | undefined;
  }): Made {
    const { state, run, folders, results } = this.#options;
    const task = state.taskOf(instance);
    if (task.run.kind !== "python" && task.run.kind !== "node") throw new Error("not a function");
    const plan = this.plan(instance);
    let problem: Problem | undefined;
    const refer = ({ task: needed, path }: ResultPath): Json | undefined => {
      const call = behind?.(needed);
      if (call !== undefined) return refToCall(call.id, path);
      const index = state.graph.indexOf.get(needed);
      const value = index === undefined ? undefined : results.refer(index, path);
      if (!(value instanceof Problem)) return value;
      problem ??= value;
      return null;
    };
    const env = this.#values.taskEnv(instance, scope, gpus);
    if (!env.ok) return badTemplate(env.detail);
    const args =
      plan.args === undefined
        ? undefined
        : evaluateValue(plan.args, scope, { refer, escape: escapeRefs });
    if (args !== undefined && !args.ok) return badTemplate(args.detail);
    if (problem !== undefined) return badTemplate(problem.detail);
    const needs: { [task: string]: Json } = {};
    for (const needed of this.#values.needsOf(instance)) {
      const flying = behind?.(needed);
      if (flying !== undefined) {
        needs[needed] = refToNeed(flying.id);
        continue;
      }
      const index = state.graph.indexOf.get(needed) ?? -1;
      const finished = state.stateOf(index);
      const outcome = finished.id === "finished" ? finished.outcome.kind : "succeeded";
      const result = refer({ task: needed, path: [] });
      needs[needed] = result === undefined || result === null ? { outcome } : { outcome, result };
    }
    const inputs: { [name: string]: Json } = { params: this.#callParams, needs };
    const item = this.#values.itemValue(instance);
    if ("item" in item) {
      inputs.item = escapeRefs(item.item);
      inputs.index = item.index;
    }
    const taskKey = state.keyOf(instance);
    const secret =
      given === undefined
        ? undefined
        : writeSecretFiles(given, folders.shm, `${taskKey}#${attempt}`);
    if (typeof secret === "string") return cannotGive(secret);
    const hasOwn = plan.env.length > 0 || gpus !== undefined || secret !== undefined;
    const { kind: runtime } = task.run;
    const call: CallSpec = {
      task: taskKey,
      attempt,
      run,
      file: "file" in task.run ? this.#pathOf(task.run.file) : undefined,
      code: "file" in task.run ? undefined : task.run.code,
      function: task.run.function,
      // Evaluated from a mapping, so it is one.
      args: args?.value as { [name: string]: Json } | undefined,
      inputs,
      env: this.#processEnv,
      own: hasOwn ? { ...env.value, ...secret?.env } : undefined,
      cwd: folders.work,
      after: false,
      graceMs: task.graceMs,
      timeoutMs: task.timeoutMs,
    };
    if (secret === undefined) return { ok: true, spec: { kind: "call", runtime, call } };
    const group = `${run}\n${secretSet(task)}`;
    return { ok: true, spec: { kind: "call", runtime, call, group }, cleanUp: secret.remove };
  }

  /** Of a file of the DAG. */
  #pathOf(file: string): string {
    let path = this.#paths.get(file);
    if (path === undefined) {
      path = join(this.#options.folders.work, file);
      this.#paths.set(file, path);
    }
    return path;
  }

  #makeSandboxed({
    instance,
    attempt,
    scope,
    gpus,
    given,
  }: {
    instance: Instance;
    attempt: number;
    scope: TemplateScope;
    gpus: string | undefined;
    given: GivenSecrets | undefined;
  }): Made {
    const { run, state, folders, sandbox } = this.#options;
    const task = state.taskOf(instance);
    const plan = this.plan(instance);
    const env = this.#values.taskEnv(instance, scope, gpus);
    if (!env.ok) return badTemplate(env.detail);
    const argv = this.#values.argv(instance, scope);
    if (!argv.ok) return badTemplate(argv.detail);
    const args = plan.args === undefined ? undefined : evaluateValue(plan.args, scope);
    if (args !== undefined && !args.ok) return badTemplate(args.detail);
    const stdin = this.#values.stdin(instance, scope);
    if (!stdin.ok) return badTemplate(stdin.detail);
    const inputs: [string, string][] = [];
    for (const [path, template] of plan.inputs) {
      const content = evaluateText(template, scope);
      if (!content.ok) return badTemplate(`inputs.${path}: ${content.detail}`);
      inputs.push([path, content.value]);
    }
    const mounts = sandbox.resolveMounts(task.sandbox?.mounts ?? []);
    if (!mounts.ok) {
      const { isolation: level } = task;
      return { ok: false, failure: { reason: "sandbox", level, detail: mounts.detail } };
    }
    const sandboxed = planSandbox(
      task,
      {
        argv: argv.value,
        // Evaluated from a mapping, so it is one.
        args: args?.value as { [name: string]: Json } | undefined,
        env: env.value,
        stdin: stdin.value,
        files: this.#sandboxFiles(instance, inputs),
        inputs: this.#values.inputs(instance),
        mounts: mounts.value,
        secrets: given,
      },
      {
        run,
        key: state.keyOf(instance),
        attempt,
        dagName: state.document.attributes.dag,
        sharedEnv: sandbox.env,
        keptFolder: folders.kept,
        defaults: sandbox.defaults,
      },
    );
    return { ok: true, spec: { kind: "sandboxed", sandboxed } };
  }

  /** The DAG's files, the outputs of the tasks that it needs, and its own inputs over them. */
  #sandboxFiles(instance: Instance, inputs: readonly [string, string][]): InputFile[] {
    const { state, folders, sandbox } = this.#options;
    const files = new Map(sandbox.files.map((file) => [file.path, file]));
    for (const needed of this.#values.needsOf(instance)) {
      const { outputs = [] } = state.graph.tasks[state.graph.indexOf.get(needed) ?? -1] ?? {};
      for (const path of outputFiles(folders.work, outputs)) {
        files.set(path, { path, content: { copyOf: join(folders.work, path) } });
      }
    }
    for (const [path, content] of inputs) files.set(path, { path, content });
    return [...files.values()];
  }

  /** What the SDK finds, for programs. */
  #inputsEnv(instance: Instance, key: string): Record<string, string> {
    const { folders } = this.#options;
    const text = JSON.stringify(this.#values.inputs(instance));
    if (Buffer.byteLength(text) <= inlineInputsBytes) return { EDGEDAG_INPUTS: text };
    const path = join(folders.shm, `${key}.inputs`);
    writeFileSync(path, text, { mode: 0o600 });
    return { EDGEDAG_INPUTS_FILE: path };
  }
}

function cannotGive(detail: string): Made {
  return { ok: false, failure: { reason: "backend", backend: "local", detail } };
}

/** Where a program may write its result, and where a large one is moved. */
export function resultPaths(shm: string, key: string): { resultPath: string; largePath: string } {
  return { resultPath: join(shm, `${key}.result`), largePath: join(shm, `${key}.json`) };
}

function badTemplate(detail: string): Made {
  return {
    ok: false,
    failure: { reason: "bad-result", detail: `a template has no value: ${detail}` },
  };
}

function rlimitsOf(
  limits: { memoryBytes?: number; cpuMs?: number; openFiles?: number; fileSizeBytes?: number } = {},
): Pick<ProcessSpec, "rlimits"> {
  const rlimits: NonNullable<ProcessSpec["rlimits"]>[number][] = [];
  const add = (name: (typeof rlimits)[number]["name"], value: number | undefined) => {
    if (value !== undefined) rlimits.push({ name, soft: value, hard: value });
  };
  add("as", limits.memoryBytes);
  if (limits.cpuMs !== undefined) {
    const soft = Math.max(1, Math.ceil(limits.cpuMs / 1000));
    // The signal comes at the soft limit and can be caught; KILL at the hard one cannot.
    rlimits.push({ name: "cpu", soft, hard: soft + 2 });
  }
  add("nofile", limits.openFiles);
  add("fsize", limits.fileSizeBytes);
  return rlimits.length === 0 ? {} : { rlimits };
}
