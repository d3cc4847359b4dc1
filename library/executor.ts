// The executor as a caller has it: tasks in, handles out, results by handle. Speaks to the service of
// snippets in the same process; holds what HTTP holds: the same checks, the same limits.

import { availableResources } from "../master/doors/batch-door.ts";
import { Input } from "../master/doors/input.ts";
import { readCommand } from "../master/doors/read-command.ts";
import type { SnippetRules } from "../master/doors/rules.ts";
import { type SnippetView, viewOf } from "../master/doors/snippet-view.ts";
import type { SnippetRecord } from "../master/snippets/snippet.ts";
import { QueueFull, type Snippets } from "../master/snippets/snippets.ts";
import type { Statistics } from "../master/snippets/statistics.ts";
import type { NewSnippet } from "../master/snippets/store/store.ts";
import type { Diagnostic } from "../protocol/diagnostic.ts";
import type { SandboxLevel } from "../protocol/outcome.ts";
import { errorOfDiagnostics } from "./diagnostics.ts";
import {
  ExecutionError,
  MonitoringError,
  ResourceError,
  TimeoutError,
  ValidationError,
} from "./errors.js";

export interface TaskSpec {
  /** A program; its name is looked up on the PATH of the sandbox. */
  command: string;
  args?: readonly string[];
  env?: Readonly<Record<string, string>>;
  stdin?: string;
  /** Path to text, or to `{ base64 }`. */
  files?: Readonly<Record<string, string | { base64: string; executable?: boolean }>>;
  /** Patterns of files that are to be kept. */
  outputs?: readonly string[];
  /** Durations are seconds or text like 5s, sizes bytes or text like 64Mi. */
  limits?: {
    timeout?: number | string;
    memory?: number | string;
    cpu_time?: number | string;
    cpus?: number;
    output?: number | string;
    pids?: number;
    disk?: number | string;
    open_files?: number;
    artifacts?: number;
    artifact_size?: number | string;
  };
  isolation?: SandboxLevel;
  /** 0 to 9; 5 unless said. */
  priority?: number;
}

export interface TaskHandle {
  readonly id: string;
}

export interface TaskFile {
  name: string;
  content: Uint8Array;
}

export interface TaskResult extends Omit<SnippetView, "files"> {
  files: TaskFile[];
}

export interface WaitOptions {
  /** How many ends are enough; all unless said. */
  count?: number;
}

export interface ExecutorParts {
  snippets: Snippets;
  statistics: Statistics | undefined;
  rules: SnippetRules;
  deniedCommands: readonly string[];
  close(): Promise<void>;
}

export class Executor implements AsyncDisposable {
  readonly #parts: ExecutorParts;
  #closed: Promise<void> | undefined;

  constructor(parts: ExecutorParts) {
    this.#parts = parts;
  }

  /** Rejects with ValidationError, SecurityError or ResourceError; nothing was taken in then. */
  async submit(task: TaskSpec): Promise<TaskHandle> {
    const [handle] = await this.submitMany([task]);
    if (handle === undefined) throw new Error("nothing was taken in");
    return handle;
  }

  /** All or none of them. */
  async submitMany(tasks: readonly TaskSpec[]): Promise<TaskHandle[]> {
    if (tasks.length === 0) {
      throw new ValidationError("E_SNIPPET_FIELD", "there are no tasks", "Give at least one.");
    }
    const { snippets } = this.#parts;
    const read = this.#read(tasks);
    const { placing } = snippets.dispatcher;
    for (const { snippet } of read) {
      const why = placing.whyImpossible(snippet);
      if (why === undefined) continue;
      const remedy = "Ask for less; availableResources() says what there is.";
      throw new ResourceError("E_RESOURCES", `Insufficient resources: ${why}`, remedy);
    }
    try {
      const inserted = await snippets.submit(read);
      return inserted.map(({ id }) => ({ id }));
    } catch (error) {
      if (!(error instanceof QueueFull)) throw error;
      throw new ResourceError("E_QUEUE_FULL", error.message, "Wait for results, and submit again.");
    }
  }

  /**
   * How the task ended, whatever that was. Rejects with TimeoutError when it has not ended within
   * `timeoutMs`, and with ExecutionError when it is not known (any more).
   */
  async getResult(handle: TaskHandle, timeoutMs = Number.POSITIVE_INFINITY): Promise<TaskResult> {
    const limitMs = Math.min(timeoutMs, 2 ** 31 - 1);
    const record = await this.#parts.snippets.wait(handle.id, limitMs);
    if (record === undefined) {
      const remedy = "Results are kept up to resultCacheSize.";
      throw new ExecutionError("E_SNIPPET_UNKNOWN", `task ${handle.id} is not known`, remedy);
    }
    if (record.state === "finished") return resultOf(record);
    const message = `task ${handle.id} has not ended within ${timeoutMs} ms`;
    throw new TimeoutError("E_TIMEOUT", message, "Wait longer, or cancel it.");
  }

  /** Those that have ended by now or within the time, and the others; 0 answers at once. */
  async wait(
    handles: readonly TaskHandle[],
    timeoutMs: number,
    { count = handles.length }: WaitOptions = {},
  ): Promise<{ done: TaskResult[]; pending: TaskHandle[] }> {
    const enough = new AbortController();
    let ended = 0;
    const records = await Promise.all(
      handles.map(async ({ id }) => {
        const record = await this.#parts.snippets.wait(id, timeoutMs, enough.signal);
        if (record?.state === "finished") ended += 1;
        if (ended >= count) enough.abort();
        return record;
      }),
    );
    const isDone = (index: number) => records[index]?.state === "finished";
    return {
      done: records.flatMap((record) => (record?.state === "finished" ? [resultOf(record)] : [])),
      pending: handles.filter((_, index) => !isDone(index)),
    };
  }

  /** False: it had ended already, or is not known. */
  async cancel(handle: TaskHandle): Promise<boolean> {
    const how = await this.#parts.snippets.cancel(handle.id, "user");
    return how === "cancelled" || how === "requested";
  }

  availableResources(): ReturnType<typeof availableResources> {
    return availableResources(this.#parts);
  }

  /** Throws MonitoringError where monitoring is off. */
  statistics(): ReturnType<Statistics["view"]> & { queue: Snippets["figures"] } {
    return { ...this.#monitored().view(), queue: this.#parts.snippets.figures };
  }

  /** What was used in each of the last 60 minutes. Throws MonitoringError where monitoring is off. */
  usageHistory(): ReturnType<Statistics["history"]> {
    return this.#monitored().history();
  }

  /** Takes nothing more, lets what runs end for at most so long, and ends everything. */
  async shutdown({ drainMs = 0 }: { drainMs?: number } = {}): Promise<void> {
    this.#closed ??= this.#close(drainMs);
    await this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown();
  }

  async #close(drainMs: number): Promise<void> {
    const { snippets, close } = this.#parts;
    await snippets.drain(drainMs);
    snippets.leave();
    await close();
  }

  #monitored(): Statistics {
    const { statistics } = this.#parts;
    if (statistics !== undefined) return statistics;
    const remedy = "Make the executor with `monitoring: true`.";
    throw new MonitoringError("E_MONITORING", "monitoring is off", remedy);
  }

  #read(tasks: readonly TaskSpec[]): NewSnippet[] {
    const { rules, deniedCommands } = this.#parts;
    const problems: Diagnostic[] = [];
    const read: NewSnippet[] = [];
    for (const [index, task] of tasks.entries()) {
      const at = tasks.length === 1 ? "" : `[${index}]`;
      const input = Input.of(task, at, problems);
      if (input === undefined) continue;
      const parts = { rules, deniedCommands, callbacks: "off", clock: Date.now } as const;
      const snippet = readCommand(parts, input, "");
      if (snippet !== undefined) read.push({ snippet });
    }
    if (problems.length > 0) throw errorOfDiagnostics(problems);
    return read;
  }
}

function resultOf(record: SnippetRecord): TaskResult {
  const view = viewOf(record);
  const files = record.end?.files.map(({ name, content }) => ({ name, content })) ?? [];
  return { ...view, files };
}
