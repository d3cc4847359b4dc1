// The results of one run while it runs: small ones as values, large ones as files, and how
// templates and workers reach into them.
import { readFileSync } from "node:fs";
import type { Json } from "../protocol/json.ts";
import type { ResultPath } from "../protocol/template.ts";
import { memberOf, Problem } from "../protocol/template-filters.ts";
import type { Instance } from "./core/events.ts";
import type { RunState } from "./core/run-state.ts";
import type { ResultFile } from "./exec/attempt.ts";

export type StoredResult = { value: Json } | { file: ResultFile };

/** A value that a worker resolves by itself; the shapes are those of the worker channel. */
export interface References {
  toFile(path: string, members: (string | number)[]): Json;
  escape(value: Json): Json;
}

/** The file of a large result is not there any more: shared memory does not survive a reboot. */
export class ResultGone extends Error {}

export class RunResults {
  readonly #state: RunState;
  readonly #references: References;
  readonly #results = new Map<Instance, StoredResult>();
  /** The file that was read last: templates of one task often read one result many times. */
  #lastRead: { path: string; value: Json } | undefined;

  constructor(state: RunState, references: References) {
    this.#state = state;
    this.#references = references;
  }

  /** `null` results are not kept: absent means null. */
  set(instance: Instance, result: StoredResult): void {
    this.#results.set(instance, result);
  }

  get size(): number {
    return this.#results.size;
  }

  get(instance: Instance): StoredResult | undefined {
    return this.#results.get(instance);
  }

  /** The whole value, read from its file if it has one. A fan-out gives the list of its items. */
  valueOf(instance: Instance): Json {
    const items = this.#state.itemsOf(instance);
    if (items !== undefined) return items.map((item) => this.valueOf(item));
    const stored = this.#results.get(instance);
    if (stored === undefined) return null;
    return "value" in stored ? stored.value : this.#read(stored.file.path);
  }

  /** What is passed to a worker for a path into a result; a problem when a member is missing. */
  refer(instance: Instance, members: ResultPath["path"]): Json | Problem {
    const items = this.#state.itemsOf(instance);
    if (items !== undefined) return this.#referToItems(items, members);
    const stored = this.#results.get(instance);
    if (stored !== undefined && "file" in stored) {
      return this.#references.toFile(stored.file.path, members);
    }
    let value: Json | Problem = stored?.value ?? null;
    for (const member of members) {
      value = memberOf(value, member, "the result");
      if (value instanceof Problem) return value;
    }
    return this.#references.escape(value);
  }

  #referToItems(items: Instance[], members: ResultPath["path"]): Json | Problem {
    const [first, ...rest] = members;
    if (first === undefined) {
      const list: Json[] = [];
      for (const item of items) {
        const value = this.refer(item, []);
        if (value instanceof Problem) return value;
        list.push(value);
      }
      return list;
    }
    const item = items[Number(first)];
    return item === undefined
      ? new Problem(`the result is a list of ${items.length} and has no \`${first}\``, true)
      : this.refer(item, rest);
  }

  #read(path: string): Json {
    if (this.#lastRead?.path === path) return this.#lastRead.value;
    let text: string;
    try {
      text = readFileSync(path, "utf8");
    } catch (error) {
      throw new ResultGone(`a result can no longer be read: ${String(error)}`);
    }
    const value = JSON.parse(text) as Json; // checked when its attempt ended
    this.#lastRead = { path, value };
    return value;
  }
}
