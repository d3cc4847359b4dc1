// Snippets of this node: one-task attempts that somebody else keeps the truth of. They go straight
// to the sandboxes: no journal, no run folder and no outbox, because whoever assigned one gives it to
// another node when this one is gone. What may run, and how tightly, is judged as for a DAG's tasks.
import { mkdirSync, rmSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Assignment, AssignmentEnd, AssignmentListener } from "../protocol/assignment.ts";
import type { DagDocument, TaskAttributes } from "../protocol/dag.ts";
import type { Diagnostic, Result } from "../protocol/diagnostic.ts";
import type { Json } from "../protocol/json.ts";
import type { Failure, SandboxLevel } from "../protocol/outcome.ts";
import type { Config } from "./config.ts";
import type { Attempt, AttemptEnd } from "./exec/attempt.ts";
import type { SandboxSpec } from "./exec/isolation/sandbox-spec.ts";
import type { Isolation } from "./isolation.ts";
import type { LazyIsolation } from "./lazy-isolation.ts";
import { checkPolicy } from "./policy.ts";
import { type Evaluated, planSandbox } from "./sandbox-plan.ts";
import { inputFilesOf, realPath, sandboxSettings } from "./sandbox-settings.ts";

/** A result above this is not handed on: it has no place in an answer. */
const maxResultBytes = 8 * 2 ** 20;
/** The one task of a snippet. */
const taskKey = "main";

export interface SnippetsOptions {
  config: Config;
  isolation: LazyIsolation;
  baseEnv: Readonly<Record<string, string>>;
  now(): number;
}

/** What this node can do for snippets. */
export interface SnippetAbilities {
  levels: SandboxLevel[];
  /** As `runtimeOf` names them. */
  runtimes: string[];
}

interface Running {
  attempt: Attempt | undefined;
  graceMs: number;
}

export class Snippets {
  readonly #options: SnippetsOptions;
  readonly #isolation: Isolation;
  readonly #settings: ReturnType<typeof sandboxSettings>;
  readonly #kept: string;
  readonly #running = new Map<string, Running>();
  #isClosed = false;

  /** Tries every level that the configuration allows. Fails with E_SANDBOX, E_LANGUAGE_* or E_STATE_IO. */
  static async open(options: SnippetsOptions): Promise<Result<Snippets>> {
    const opened = await options.isolation.open();
    if (!opened.ok) return opened;
    await opened.value.checkAll();
    const kept = join(options.config.stateDir, "snippets");
    try {
      // What an earlier agent did not hand over any more belongs to attempts that are lost.
      rmSync(kept, { recursive: true, force: true });
      mkdirSync(kept, { recursive: true, mode: 0o700 });
    } catch (error) {
      const remedy = "Give the agent a state folder that it may write.";
      const message = `the folder of snippets cannot be made: ${String(error)}`;
      return { ok: false, diagnostics: [{ code: "E_STATE_IO", path: "", message, remedy }] };
    }
    return { ok: true, value: new Snippets(options, opened.value, kept) };
  }

  private constructor(options: SnippetsOptions, isolation: Isolation, kept: string) {
    this.#options = options;
    this.#isolation = isolation;
    this.#kept = kept;
    this.#settings = sandboxSettings(options.config, options.baseEnv, []);
  }

  get abilities(): SnippetAbilities {
    const isolation = this.#isolation;
    const levels = isolation.held();
    const runtimes = ["python", "node", "shell", ...isolation.languages.keys()];
    // In an image there may be languages that the host lacks.
    if (levels.includes("docker")) {
      runtimes.push(...isolation.registry.list().map(({ name }) => name));
    }
    return { levels, runtimes: [...new Set(runtimes)] };
  }

  /** How many have not ended. */
  get count(): number {
    return this.#running.size;
  }

  /** Keeps boxes of this kind waiting. */
  warm(tasks: readonly TaskAttributes[]): void {
    this.#isolation.warm(documentOf(tasks));
  }

  /** Never throws for what the world does: it is the attempt's end. */
  start(assignment: Assignment, listener: AssignmentListener): void {
    const { id, attempt: number, task } = assignment;
    const key = keyOf(id, number);
    if (this.#isClosed || this.#running.has(key)) {
      const detail = this.#isClosed ? "the agent is ending" : "it runs here already";
      listener.ended({ kind: "returned", detail });
      return;
    }
    const planned = this.#plan(assignment);
    if (!planned.ok) {
      this.#refuse(planned.diagnostics, task, listener);
      return;
    }
    const running: Running = { attempt: undefined, graceMs: task.graceMs };
    this.#running.set(key, running);
    running.attempt = this.#isolation.start(planned.value, {
      started: ({ at }) => listener.started(at),
      output: (stream, bytes) => listener.output(stream, bytes),
      ended: (end) => {
        this.#running.delete(key);
        if (end === "returned") {
          listener.ended({ kind: "returned", detail: "it was ended before it began" });
          return;
        }
        void this.#finish(planned.value, end, listener);
      },
    });
  }

  /** Nothing when it is not here. */
  cancel(id: string, attempt: number): void {
    const running = this.#running.get(keyOf(id, attempt));
    running?.attempt?.stop(running.graceMs);
  }

  /** Ends what runs; whoever assigned it hears `returned` or its end. */
  close(): void {
    this.#isClosed = true;
    for (const { attempt } of this.#running.values()) attempt?.stop(0);
  }

  #plan({ id, attempt, task, files, folders }: Assignment): Result<SandboxSpec> {
    const { config } = this.#options;
    const diagnostics = checkPolicy({
      source: "snippet",
      document: documentOf([task]),
      held: this.#isolation.held(),
      config,
      languages: this.#isolation,
      realPath,
    });
    if (diagnostics.length > 0) return { ok: false, diagnostics };
    const { env, defaults, resolveMounts } = this.#settings;
    const mounts = resolveMounts(task.sandbox?.mounts ?? []);
    if (!mounts.ok) {
      const remedy = "Leave the mount out, or allow it on the node.";
      const message = mounts.detail;
      return { ok: false, diagnostics: [{ code: "E_DAG_POLICY", path: "", message, remedy }] };
    }
    const evaluated: Evaluated = {
      argv: argvOf(task),
      args: task.args,
      env: task.env ?? {},
      stdin: task.stdin,
      files: [...inputFilesOf(files), ...textFilesOf(task)],
      inputs: {},
      mounts: mounts.value,
    };
    const spec = planSandbox(task, evaluated, {
      run: id,
      key: taskKey,
      attempt,
      dagName: "snippet",
      sharedEnv: env,
      keptFolder: join(this.#kept, id),
      defaults,
    });
    return { ok: true, value: folders === undefined ? spec : { ...spec, folders } };
  }

  #refuse(
    diagnostics: readonly Diagnostic[],
    { isolation: level }: TaskAttributes,
    listener: AssignmentListener,
  ): void {
    const detail = diagnostics.map(({ message, remedy }) => `${message} ${remedy}`).join(" ");
    this.#tell(listener, failed({ reason: "sandbox", level, detail }));
  }

  /** Never rejects. */
  async #finish(
    spec: SandboxSpec,
    { outcome, facts, result, file, outputs }: AttemptEnd,
    listener: AssignmentListener,
  ): Promise<void> {
    const end: Omit<AssignmentEnd, "finishedAt"> = {
      outcome,
      facts,
      ...(result === undefined ? {} : { result }),
      files: [],
      refused: outputs?.refused ?? [],
    };
    try {
      if (file !== undefined) end.result = await readResult(file);
      for (const { path, keptAt, sizeBytes } of outputs?.artifacts ?? []) {
        end.files.push({ name: path, sizeBytes, content: await readFile(keptAt) });
      }
    } catch (error) {
      const detail = error instanceof TooLarge ? error.message : `its files: ${String(error)}`;
      end.outcome = failed({ reason: "bad-result", detail }).outcome;
    }
    this.#tell(listener, end);
    if (file !== undefined || (outputs?.artifacts ?? []).length > 0)
      await this.#forget(spec.keepIn);
  }

  async #forget(keepIn: string): Promise<void> {
    // It is removed with everything else at the next start.
    await rm(join(keepIn, ".."), { recursive: true, force: true }).catch(() => {});
  }

  #tell(listener: AssignmentListener, end: Omit<AssignmentEnd, "finishedAt">): void {
    listener.ended({ kind: "ended", ...end, finishedAt: this.#options.now() });
  }
}

class TooLarge extends Error {}

async function readResult(file: { path: string; sizeBytes: number }): Promise<Json> {
  if (file.sizeBytes > maxResultBytes) {
    throw new TooLarge(
      `the result has ${file.sizeBytes} bytes; ${maxResultBytes} can be handed on: leave it in a file`,
    );
  }
  return JSON.parse(await readFile(file.path, "utf8")) as Json; // JSON.parse gives nothing but Json
}

function failed(failure: Failure): Omit<AssignmentEnd, "finishedAt"> {
  return { outcome: { kind: "failed", failure }, facts: {}, files: [], refused: [] };
}

function keyOf(id: string, attempt: number): string {
  return `${id}#${attempt}`;
}

function argvOf({ run }: TaskAttributes): readonly string[] {
  if (run.kind === "command") return run.argv;
  if (run.kind === "shell") return ["/bin/sh", "-c", run.script];
  return run.kind === "code" ? run.args : [];
}

function textFilesOf({ inputs = {} }: TaskAttributes): { path: string; content: string }[] {
  return Object.entries(inputs).map(([path, content]) => ({ path, content }));
}

function documentOf(tasks: readonly TaskAttributes[]): DagDocument {
  return {
    options: { type: "directed", multi: false, allowSelfLoops: false },
    attributes: { edgedag: 1, dag: "snippet" },
    nodes: tasks.map((attributes, index) => ({
      key: index === 0 ? taskKey : `${taskKey}-${index}`,
      attributes,
    })),
    edges: [],
  };
}
