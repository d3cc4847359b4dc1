// What a run tells the master: records into the journal's outbox, large results and artifacts as
// files beside it. Decides nothing about the run.
import { hash } from "node:crypto";
import { copyFileSync, existsSync } from "node:fs";
import { glob } from "node:fs/promises";
import { basename, join, relative } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { crashPoint } from "../protocol/crash-points.ts";
import type { RunSummary } from "../protocol/link.ts";
import type { UnnumberedRecord } from "../protocol/outbox.ts";
import type { Facts, Outcome, RunOutcome } from "../protocol/outcome.ts";
import type { AttemptEnd, ResultFile } from "./exec/attempt.ts";
import type { Journal } from "./journal/journal.ts";
import type { KeptObject } from "./journaled-event.ts";
import {
  type CopyDigest,
  CopyFailed,
  copyAndDigest,
  type Digest,
  digestFile,
  openInside,
} from "./kept-files.ts";
import type { RunFolders } from "./run-folders.ts";
import type { Mask } from "./secrets/mask.ts";

/** An attempt is reported as started when it still runs after this time. */
const startedAfterMs = 100;
const progressEveryMs = 1000;
const retryMs = 1000;

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
  /** Of a run with secrets. */
  mask?: Pick<Mask, "hasSecret"> | undefined;
  /** Copies are on the disk before they are on record. */
  sync: boolean;
  /** A copy cannot be written and is tried again, or (undefined) could be. */
  stuck(problem: string | undefined): void;
  /** Says that an object is on record, so that a restart does not record it again. */
  onObject(key: string, object: KeptObject): void;
  /** Something to commit came up outside of a turn. */
  onRecord(): void;
  onProblem(text: string): void;
}

export class RunReport {
  readonly #options: ReportOptions;
  readonly #started = new Map<string, { task: string; attempt: number; at: number }>();
  readonly #progress = new Map<string, { at: number; late: NodeJS.Timeout | undefined }>();
  /** Attempts in flight: others have no progress, whatever their tasks say. */
  readonly #live = new Set<string>();
  readonly #pending = new Set<Promise<unknown>>();
  readonly #recorded: Set<string>;
  readonly artifacts: Artifact[] = [];
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  /** `recorded` are the objects that an earlier agent has put on record. */
  constructor(options: ReportOptions, recorded: Iterable<{ key: string; object?: KeptObject }>) {
    this.#options = options;
    this.#recorded = new Set();
    for (const { key, object } of recorded) {
      this.#recorded.add(key);
      if (object?.kind !== "artifact") continue;
      const { kind: _, ...artifact } = object;
      this.artifacts.push(artifact);
    }
  }

  runStarted(details: { dag: string; digest: string; tasks: number; params: RunParams }): void {
    this.#record({ type: "run-started", ...details });
  }

  attemptStarted(task: string, attempt: number): void {
    if (!this.#options.ships) return;
    const key = `${task}#${attempt}`;
    this.#live.add(key);
    this.#started.set(key, { task, attempt, at: Date.now() });
    this.#timer ??= setTimeout(() => this.#reportStarted(), startedAfterMs).unref();
  }

  /** Of an attempt that an earlier agent has started: it has told of it, or the end will. */
  attemptGoesOn(task: string, attempt: number): void {
    if (this.#options.ships) this.#live.add(`${task}#${attempt}`);
  }

  attemptFinished(
    { task, attempt, isFinal }: { task: string; attempt: number; isFinal: boolean },
    end: AttemptEnd,
  ): void {
    if (!this.#options.ships) return;
    if (this.#live.size > 0) this.#forget(`${task}#${attempt}`);
    const { outcome, facts, result } = end;
    const record: AttemptRecord = { type: "attempt-finished", task, attempt, outcome, facts };
    if (result !== undefined) record.result = result;
    if (isFinal) record.final = true;
    this.#record(record);
  }

  #forget(key: string): void {
    this.#live.delete(key);
    this.#started.delete(key);
    const progress = this.#progress.get(key);
    if (progress === undefined) return;
    clearTimeout(progress.late);
    this.#progress.delete(key);
  }

  /** A task that ends without an attempt of its own. */
  taskFinished(task: string, outcome: Outcome): void {
    this.#record({ type: "task-finished", task, outcome });
  }

  /** At most one record a second and attempt; the last one always goes out while it runs. */
  progress(task: string, attempt: number, { fraction, text }: Progress): void {
    const key = `${task}#${attempt}`;
    if (!this.#live.has(key)) return;
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

  /**
   * A result that is too large for a record: copied, so that it outlives the run's shared memory.
   * After a reboot that memory is empty and the copy is put back; false: both are gone.
   */
  keepResult(task: string, attempt: number, file: ResultFile): boolean {
    const object = { kind: "result", task, attempt, name: "result" } as const;
    const key = keyOf(object);
    if (!existsSync(file.path)) {
      const copy = this.#objectPath(key);
      if (!this.#recorded.has(key) || !existsSync(copy)) return false;
      copyFileSync(copy, file.path);
    }
    void this.keepFirst(task, attempt, file);
    return true;
  }

  /** Resolves when the copy of a large result is on record, or cannot be had. */
  keepFirst(task: string, attempt: number, file: ResultFile): Promise<void> {
    const { ships, sync } = this.#options;
    if (!ships && !sync) return Promise.resolve();
    const object = { kind: "result", task, attempt, name: "result" } as const;
    return this.#track(this.#keep(object, (to) => copyAndDigest(file.path, to, this.#options)));
  }

  /** Files that match the task's `outputs`, after it has succeeded. */
  collectOutputs(task: string, attempt: number, patterns: readonly string[]): void {
    const collect = async () => {
      const { work } = this.#options.folders;
      for (const pattern of patterns) {
        let found = 0;
        // The SDK's link is ours, and leads outside.
        const exclude = ["node_modules/edgedag"];
        for await (const entry of glob(pattern, { cwd: work, exclude, withFileTypes: true })) {
          if (entry.isDirectory()) continue;
          found += 1;
          const path = join(entry.parentPath, entry.name);
          await this.#keepArtifact({ task, attempt, name: relative(work, path), path });
        }
        if (found === 0) this.#options.onProblem(`${task}: no file matches the output ${pattern}`);
      }
    };
    void this.#track(collect());
  }

  /** A file that a task named through the SDK. */
  addArtifact(
    task: string,
    attempt: number,
    { name, path }: { name?: string; path: string },
  ): void {
    const absolute = path.startsWith("/") ? path : join(this.#options.folders.work, path);
    void this.#track(
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
    const { folders, ships, onProblem } = this.#options;
    const { task, attempt, name } = file;
    const object = { kind: "artifact", task, attempt, name } as const;
    if (this.#recorded.has(keyOf(object))) return;
    if (this.#options.mask?.hasSecret(name) === true) {
      onProblem(`${task}: an artifact was not kept: its name holds a secret`);
      return;
    }
    await using opened = await openInside(folders.work, file.path);
    if (opened.handle === undefined) {
      onProblem(`${task}: ${name} is not an artifact: ${opened.problem}`);
      return;
    }
    const { handle } = opened;
    const digest = ships
      ? await this.#keep(object, (to) => copyAndDigest(handle, to, this.#options))
      : await digestFile(handle);
    if (digest === undefined) return;
    const { sizeBytes, sha256 } = digest;
    this.artifacts.push({ ...file, sizeBytes, sha256 });
  }

  /** What was copied; undefined when it is on record already. */
  async #keep(
    object: ObjectName,
    copy: (to: string) => Promise<CopyDigest>,
  ): Promise<Digest | undefined> {
    const key = keyOf(object);
    if (this.#recorded.has(key)) return undefined;
    this.#recorded.add(key);
    const path = this.#objectPath(key);
    const digest = await this.#untilWritten(() => copy(path));
    if (this.#isClosed || digest === undefined) return undefined;
    const { run, journal } = this.#options;
    crashPoint("agent.object-copied");
    journal.recordObject({ run, time: Date.now(), ...object, path, ...digest });
    const { sizeBytes, sha256 } = digest;
    this.#options.onObject(key, { ...object, path, sizeBytes, sha256 });
    crashPoint("agent.object-recorded");
    this.#options.onRecord();
    return digest;
  }

  /** Results are never dropped: a disk that is full or broken is tried until it takes them. */
  async #untilWritten<T>(copy: () => Promise<T>): Promise<T | undefined> {
    for (let isStuck = false; !this.#isClosed; ) {
      try {
        const copied = await copy();
        if (isStuck) this.#options.stuck(undefined);
        return copied;
      } catch (error) {
        if (!(error instanceof CopyFailed)) throw error;
        isStuck = true;
        const code = /ENOSPC|EDQUOT/.test(error.message) ? "E_STATE_FULL" : "E_STATE_IO";
        this.#options.stuck(
          `${code}: a result or artifact cannot be kept: ${error.message} (Free space on that file system or check the disk; it is tried again.)`,
        );
        await delay(retryMs, undefined, { ref: false });
      }
    }
    return undefined;
  }

  /** Names of artifacts may be longer than a file system allows. */
  #objectPath(key: string): string {
    return join(this.#options.folders.objects, hash("sha256", key));
  }

  #track(work: Promise<unknown>): Promise<void> {
    const tracked: Promise<void> = work
      .then(() => {})
      .catch((error: unknown) => {
        this.#options.onProblem(`a file could not be kept: ${String(error)}`);
      })
      .finally(() => this.#pending.delete(tracked));
    this.#pending.add(tracked);
    return tracked;
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
type AttemptRecord = Omit<Extract<UnnumberedRecord, { type: "attempt-finished" }>, "time" | "run">;
type RunParams = Extract<UnnumberedRecord, { type: "run-started" }>["params"] & object;

export interface Progress {
  fraction: number;
  text?: string;
}

interface ObjectName {
  kind: "result" | "artifact";
  task: string;
  attempt: number;
  name: string;
}

function keyOf({ kind, task, attempt, name }: ObjectName): string {
  return `${kind} ${task}#${attempt} ${name}`;
}

/** Facts of an attempt that nothing is known of. */
export const noFacts: Facts = Object.freeze({});
