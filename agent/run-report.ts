// What a run tells the master: records into the journal's outbox, large results and artifacts as
// files beside it. Decides nothing about the run.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { copyFile, glob, lstat, realpath } from "node:fs/promises";
import { basename, join, relative, sep } from "node:path";
import { pipeline } from "node:stream/promises";
import type { RunSummary } from "../protocol/link.ts";
import type { UnnumberedRecord } from "../protocol/outbox.ts";
import type { Facts, Outcome, RunOutcome } from "../protocol/outcome.ts";
import type { AttemptEnd, ResultFile } from "./exec/attempt.ts";
import type { Journal } from "./journal/journal.ts";
import type { RunFolders } from "./run-folders.ts";

/** An attempt is reported as started when it still runs after this time. */
const startedAfterMs = 100;
const progressEveryMs = 1000;

export interface Artifact {
  task: string;
  attempt: number;
  name: string;
  /** Where the artifact lies on the node. */
  path: string;
  sizeBytes: number;
  sha256: string;
}

export interface ReportOptions {
  run: string;
  journal: Journal;
  folders: RunFolders;
  /** False: no master is configured; artifacts are still listed, nothing is copied. */
  ships: boolean;
  /** Says that an object is on record, so that a restart does not record it again. */
  onObject(key: string): void;
  /** Something to commit came up outside of a turn. */
  onRecord(): void;
  onProblem(text: string): void;
}

export class RunReport {
  readonly #options: ReportOptions;
  readonly #started = new Map<string, { task: string; attempt: number; at: number }>();
  readonly #progress = new Map<string, { at: number; late: NodeJS.Timeout | undefined }>();
  readonly #pending = new Set<Promise<void>>();
  readonly #recorded: Set<string>;
  readonly artifacts: Artifact[] = [];
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: ReportOptions, recorded: Iterable<string> = []) {
    this.#options = options;
    this.#recorded = new Set(recorded);
  }

  runStarted(details: { dag: string; digest: string; tasks: number; params: RunParams }): void {
    this.#record({ type: "run-started", ...details });
  }

  attemptStarted(task: string, attempt: number): void {
    if (!this.#options.ships) return;
    this.#started.set(`${task}#${attempt}`, { task, attempt, at: Date.now() });
    this.#timer ??= setTimeout(() => this.#reportStarted(), startedAfterMs).unref();
  }

  attemptFinished(
    { task, attempt, isFinal }: { task: string; attempt: number; isFinal: boolean },
    end: AttemptEnd,
  ): void {
    this.#started.delete(`${task}#${attempt}`);
    const progress = this.#progress.get(`${task}#${attempt}`);
    clearTimeout(progress?.late);
    this.#progress.delete(`${task}#${attempt}`);
    if (!this.#options.ships) return;
    const { outcome, facts, result } = end;
    this.#record({
      type: "attempt-finished",
      task,
      attempt,
      outcome,
      facts,
      ...(result === undefined ? {} : { result }),
      ...(isFinal ? { final: true } : {}),
    });
  }

  /** A task that ends without an attempt of its own. */
  taskFinished(task: string, outcome: Outcome): void {
    this.#record({ type: "task-finished", task, outcome });
  }

  /** At most one record a second and attempt; the last one always goes out while it runs. */
  progress(task: string, attempt: number, { fraction, text }: Progress): void {
    const key = `${task}#${attempt}`;
    const now = Date.now();
    const known = this.#progress.get(key) ?? { at: 0, late: undefined };
    clearTimeout(known.late);
    const send = () => {
      this.#progress.set(key, { at: Date.now(), late: undefined });
      this.#record({
        type: "progress",
        task,
        attempt,
        fraction,
        ...(text === undefined ? {} : { text }),
      });
      this.#options.onRecord();
    };
    const waitMs = known.at + progressEveryMs - now;
    if (waitMs <= 0) send();
    else this.#progress.set(key, { at: known.at, late: setTimeout(send, waitMs).unref() });
  }

  runFinished(outcome: RunOutcome, summary: RunSummary): void {
    clearTimeout(this.#timer);
    this.#record({ type: "run-finished", outcome, summary });
  }

  /** Nothing is recorded from here on: the journal may be closed, or the run finished. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    for (const { late } of this.#progress.values()) clearTimeout(late);
  }

  /** A result that is too large for a record: copied, so that it outlives the run's shared memory. */
  keepResult(task: string, attempt: number, file: ResultFile): void {
    if (!this.#options.ships) return;
    this.#keep({ kind: "result", task, attempt, name: "result", from: file.path });
  }

  /** Files that match the task's `outputs`, after it has succeeded. */
  collectOutputs(task: string, attempt: number, patterns: readonly string[]): void {
    const collect = async () => {
      const { work } = this.#options.folders;
      for (const pattern of patterns) {
        let found = 0;
        for await (const name of glob(pattern, { cwd: work })) {
          found += 1;
          await this.#keepArtifact({ task, attempt, name, path: join(work, name) });
        }
        if (found === 0) this.#options.onProblem(`${task}: no file matches the output ${pattern}`);
      }
    };
    this.#track(collect());
  }

  /** A file that a task named through the SDK. */
  addArtifact(
    task: string,
    attempt: number,
    { name, path }: { name?: string; path: string },
  ): void {
    const absolute = path.startsWith("/") ? path : join(this.#options.folders.work, path);
    this.#track(
      this.#keepArtifact({ task, attempt, name: name ?? basename(path), path: absolute }),
    );
  }

  /** Resolves when every copy that was begun is on record. */
  async settled(): Promise<void> {
    while (this.#pending.size > 0) await Promise.all(this.#pending);
  }

  async #keepArtifact(file: {
    task: string;
    attempt: number;
    name: string;
    path: string;
  }): Promise<void> {
    const { work } = this.#options.folders;
    const stat = await lstat(file.path);
    // A link could lead anywhere on the host: what is shipped must lie in the working folder.
    const real = relative(await realpath(work), await realpath(file.path));
    if (!stat.isFile() || real.startsWith(`..${sep}`) || real === "..") {
      this.#options.onProblem(
        `${file.task}: ${file.name} is not an artifact: only regular files in the working folder are`,
      );
      return;
    }
    const sha256 = await digestOf(file.path);
    this.artifacts.push({ ...file, sizeBytes: stat.size, sha256 });
    const { task, attempt, name, path: from } = file;
    if (this.#options.ships) this.#keep({ kind: "artifact", task, attempt, name, from });
  }

  #keep(object: {
    kind: "result" | "artifact";
    task: string;
    attempt: number;
    name: string;
    from: string;
  }): void {
    const { kind, task, attempt, name, from } = object;
    const key = `${kind} ${task}#${attempt} ${name}`;
    if (this.#recorded.has(key)) return;
    this.#recorded.add(key);
    const copy = async () => {
      const path = join(this.#options.folders.objects, encodeURIComponent(key));
      await copyFile(from, path);
      const { size } = await lstat(path);
      const sha256 = await digestOf(path);
      const { run, journal } = this.#options;
      const time = Date.now();
      journal.recordObject({ run, time, kind, task, attempt, name, path, sizeBytes: size, sha256 });
      this.#options.onObject(key);
      this.#options.onRecord();
    };
    this.#track(copy());
  }

  #track(work: Promise<void>): void {
    const tracked = work
      .catch((error: unknown) => {
        this.#options.onProblem(`a file could not be kept: ${String(error)}`);
      })
      .finally(() => this.#pending.delete(tracked));
    this.#pending.add(tracked);
  }

  #reportStarted(): void {
    this.#timer = undefined;
    const before = Date.now() - startedAfterMs;
    let isAny = false;
    for (const [key, { task, attempt, at }] of this.#started) {
      if (at > before) {
        this.#timer ??= setTimeout(() => this.#reportStarted(), at - before).unref();
        break; // they are in the order of their start
      }
      this.#started.delete(key);
      this.#record({ type: "attempt-started", task, attempt });
      isAny = true;
    }
    if (isAny) this.#options.onRecord();
  }

  #record(record: DistributiveOmit<UnnumberedRecord, "time" | "run">): void {
    if (!this.#options.ships || this.#isClosed) return;
    this.#options.journal.record({ time: Date.now(), run: this.#options.run, ...record });
  }
}

type DistributiveOmit<T, K extends string> = T extends unknown ? Omit<T, K> : never;
type RunParams = Extract<UnnumberedRecord, { type: "run-started" }>["params"] & object;

export interface Progress {
  fraction: number;
  text?: string;
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}

/** Facts of an attempt that nothing is known of. */
export const noFacts: Facts = Object.freeze({});
