// Results of tasks and artifacts of runs: finds the attempt that counts, puts fan-outs together in the
// order of their items, and streams what is large. Serves bytes only after their SHA-256 was compared.
import { decidingAttempt } from "../runs/runs.ts";
import type { AttemptRow, MasterStorage, ObjectRow } from "../storage/storage.ts";

export interface ResultView {
  task: string;
  outcome?: AttemptRow["outcome"];
  value?: unknown;
  large?: { sizeBytes: number; sha256: string; state: string; url: string };
  items?: ResultView[];
}

/** Where the JSON text of a result is. */
type Source = { kind: "text"; attempt: number } | { kind: "object"; object: ObjectRow };

export type FoundResult =
  | { kind: "found"; text: AsyncIterable<string | Uint8Array> }
  | { kind: "no-task" }
  | { kind: "none"; outcome: AttemptRow["outcome"] }
  /** A part of it has not arrived or was not verified yet, or is corrupt. */
  | { kind: "not-served"; object: ObjectRow };

export class Results {
  readonly #storage: MasterStorage;

  constructor(storage: MasterStorage) {
    this.#storage = storage;
  }

  /** All tasks of a run that ended with a result or an outcome; items are inside their fan-out. */
  async all(run: string): Promise<ResultView[]> {
    const { tasks, objects } = await this.#load(run);
    const views = new Map<string, ResultView>();
    for (const [task, attempts] of tasks) {
      views.set(task, await this.#view(run, task, attempts, objects));
    }
    const top: ResultView[] = [];
    for (const [task, view] of views) {
      const item = itemOf(task);
      if (item === undefined) {
        top.push(view);
        continue;
      }
      let parent = views.get(item.parent);
      if (parent === undefined) {
        parent = { task: item.parent };
        views.set(item.parent, parent);
        top.push(parent);
      }
      parent.items ??= [];
      parent.items.push(view);
    }
    for (const view of top) view.items?.sort((a, b) => indexOf(a.task) - indexOf(b.task));
    return top;
  }

  /** The JSON text of one task's result; of a fan-out, the list of its items' results. */
  async one(run: string, task: string): Promise<FoundResult> {
    const { tasks, objects } = await this.#load(run);
    const attempts = tasks.get(task);
    const items = [...tasks.keys()]
      .filter((key) => itemOf(key)?.parent === task)
      .sort((a, b) => indexOf(a) - indexOf(b));
    if (attempts === undefined && items.length === 0) return { kind: "no-task" };
    const own = attempts === undefined ? undefined : source(task, attempts, objects);
    if (own === undefined && items.length > 0) {
      // Holes stay in their place: the list has one entry an item.
      const list: { task: string; source: Source | undefined }[] = [];
      for (const item of items) {
        const found = source(item, tasks.get(item) ?? [], objects);
        if (found?.kind === "object" && found.object.state !== "verified") {
          return { kind: "not-served", object: found.object };
        }
        list[indexOf(item)] = { task: item, source: found };
      }
      return { kind: "found", text: this.#list(run, list) };
    }
    if (own === undefined) {
      return { kind: "none", outcome: decidingAttempt(attempts ?? [])?.outcome };
    }
    if (own.kind === "object" && own.object.state !== "verified") {
      return { kind: "not-served", object: own.object };
    }
    return { kind: "found", text: this.#text(run, task, own) };
  }

  /** Newest attempt first among those of the same name. */
  async artifact(
    run: string,
    task: string,
    name: string,
    attempt?: number,
  ): Promise<ObjectRow | undefined> {
    const objects = await this.#storage.objects(run, "artifact");
    return objects
      .filter((object) => object.task === task && object.name === name)
      .filter((object) => attempt === undefined || object.attempt === attempt)
      .at(-1);
  }

  bytes(object: ObjectRow): AsyncIterable<Uint8Array> {
    return this.#storage.objectParts(object.id);
  }

  async #load(run: string) {
    const tasks = new Map<string, AttemptRow[]>();
    for (const attempt of await this.#storage.attempts(run)) {
      const attempts = tasks.get(attempt.task) ?? [];
      attempts.push(attempt);
      tasks.set(attempt.task, attempts);
    }
    return { tasks, objects: await this.#storage.objects(run, "result") };
  }

  async #view(
    run: string,
    task: string,
    attempts: readonly AttemptRow[],
    objects: readonly ObjectRow[],
  ): Promise<ResultView> {
    const view: ResultView = { task };
    const outcome = decidingAttempt(attempts)?.outcome;
    if (outcome !== undefined) view.outcome = outcome;
    const found = source(task, attempts, objects);
    if (found?.kind === "text") {
      view.value = JSON.parse((await this.#storage.resultText(run, task, found.attempt)) ?? "null");
    } else if (found?.kind === "object") {
      const { sizeBytes, sha256, state } = found.object;
      const url = `/api/runs/${encodeURIComponent(run)}/results/${encodeURIComponent(task)}`;
      view.large = { sizeBytes, sha256, state, url };
    }
    return view;
  }

  async *#list(
    run: string,
    list: readonly ({ task: string; source: Source | undefined } | undefined)[],
  ) {
    yield "[";
    for (let index = 0; index < list.length; index++) {
      if (index > 0) yield ",";
      const item = list[index];
      if (item?.source === undefined) yield "null";
      else yield* this.#text(run, item.task, item.source);
    }
    yield "]";
  }

  async *#text(run: string, task: string, from: Source): AsyncGenerator<string | Uint8Array> {
    if (from.kind === "text") {
      yield (await this.#storage.resultText(run, task, from.attempt)) ?? "null";
    } else if (from.kind === "object") {
      yield* this.#storage.objectParts(from.object.id);
    }
  }
}

function source(
  task: string,
  attempts: readonly AttemptRow[],
  objects: readonly ObjectRow[],
): Source | undefined {
  const deciding = decidingAttempt(attempts);
  if (deciding === undefined) return undefined;
  if (deciding.hasResult) return { kind: "text", attempt: deciding.attempt };
  const object = objects
    .filter((object) => object.task === task)
    .findLast((object) => deciding.attempt === 0 || object.attempt === deciding.attempt);
  return object === undefined ? undefined : { kind: "object", object };
}

const itemsLimit = 1_000_000;

function itemOf(task: string): { parent: string; index: number } | undefined {
  const match = /^(.*)\[(\d+)\]$/.exec(task);
  if (match?.[1] === undefined || match[2] === undefined) return undefined;
  const index = Number(match[2]);
  // Lists have a place for every index below the greatest: a hostile key must not make a huge one.
  return index < itemsLimit ? { parent: match[1], index } : undefined;
}

function indexOf(task: string): number {
  return itemOf(task)?.index ?? 0;
}
