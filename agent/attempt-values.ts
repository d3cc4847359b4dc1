// What the templates of attempts give, and what tasks find of those that they need: the values that
// a factory puts together to what is executed. Compiles each task's templates once.
import type { Json } from "../protocol/json.ts";
import {
  type Evaluation,
  evaluate,
  evaluateShell,
  evaluateText,
  isTruthy,
  type TemplateScope,
} from "../protocol/template.ts";
import { AttemptScope, type ItemValue, type ScopeParts } from "./attempt-scope.ts";
import type { Instance } from "./core/events.ts";
import type { RunState } from "./core/run-state.ts";
import { ResultGone } from "./run-results.ts";
import { planTask, type TaskPlan } from "./task-plan.ts";

export class AttemptValues {
  readonly #options: ScopeParts;
  readonly #plans: (TaskPlan | undefined)[] = [];
  readonly #items = new Map<Instance, Json[]>();
  /** Each task's needs; made when first asked for. */
  #needs: Needs | undefined;

  constructor(options: ScopeParts) {
    this.#options = options;
  }

  plan(instance: Instance): TaskPlan {
    const index = this.#options.state.taskIndexOf(instance);
    let plan = this.#plans[index];
    if (plan === undefined) {
      plan = planTask(this.#options.state.taskOf(instance));
      this.#plans[index] = plan;
    }
    return plan;
  }

  /** All conditions of `when`, in order; the first that is false decides. */
  evaluateWhen(instance: Instance): Evaluation<boolean> {
    const scope = this.scope(instance);
    for (const template of this.plan(instance).when) {
      const value = evaluate(template, scope);
      if (!value.ok) return value;
      if (!isTruthy(value.value)) return { ok: true, value: false };
    }
    return { ok: true, value: true };
  }

  /** The items of a fan-out. The same results give the same items, so a replay may ask again. */
  evaluateMap(instance: Instance): Evaluation<Json[]> {
    const known = this.#items.get(instance);
    if (known !== undefined) return { ok: true, value: known };
    const { map } = this.#options.state.taskOf(instance);
    const { map: template } = this.plan(instance);
    const value: Evaluation<Json> =
      template === undefined
        ? { ok: true, value: (map as Json[] | undefined) ?? [] } // no template: a literal list
        : evaluate(template, this.scope(instance));
    if (!value.ok) return value;
    if (!Array.isArray(value.value)) {
      return { ok: false, detail: "`map` must give a list" };
    }
    this.#items.set(instance, value.value);
    return { ok: true, value: value.value };
  }

  stdin(
    instance: Instance,
    scope: TemplateScope,
  ): { ok: true; value: string | undefined } | { ok: false; detail: string } {
    const { stdin } = this.plan(instance);
    return stdin === undefined ? { ok: true, value: undefined } : evaluateText(stdin, scope);
  }

  argv(instance: Instance, scope: TemplateScope): Evaluation<string[]> {
    const { argv = [], script } = this.plan(instance);
    if (script !== undefined) {
      const text = evaluateShell(script, scope);
      return text.ok ? { ok: true, value: ["/bin/sh", "-c", text.value] } : text;
    }
    const words: string[] = [];
    for (const template of argv) {
      const word = evaluateText(template, scope);
      if (!word.ok) return word;
      words.push(word.value);
    }
    return { ok: true, value: words };
  }

  taskEnv(
    instance: Instance,
    scope: TemplateScope,
    gpus: string | undefined,
  ): Evaluation<{ [name: string]: string }> {
    const { env } = this.plan(instance);
    if (env.length === 0 && gpus === undefined) return noEnv;
    const entries: [string, string][] = gpus === undefined ? [] : [["CUDA_VISIBLE_DEVICES", gpus]];
    for (const [name, template] of env) {
      const value = evaluateText(template, scope);
      if (!value.ok) return { ok: false, detail: `env.${name}: ${value.detail}` };
      entries.push([name, value.value]);
    }
    return { ok: true, value: Object.fromEntries(entries) };
  }

  scope(instance: Instance, attempt?: number): TemplateScope {
    return new AttemptScope(this.#options, { instance, attempt }, this.#itemOf);
  }

  readonly #itemOf = (instance: Instance) => this.itemValue(instance);

  itemValue(instance: Instance): ItemValue | Record<string, never> {
    const item = this.#options.state.itemOf(instance);
    if (item === undefined) return {};
    const items = this.evaluateMap(item.parent);
    // They were there before: what they were made of is gone since a restart.
    if (!items.ok) throw new ResultGone(`the items of the fan-out are gone: ${items.detail}`);
    return { item: items.value[item.index] ?? null, index: item.index };
  }

  /** Ids of the tasks that it needs, in the order of the document. */
  needsOf(instance: Instance): readonly string[] {
    const { state } = this.#options;
    this.#needs ??= needsOfAll(state);
    const { rows, sources } = this.#needs;
    const { ids } = state.graph;
    const index = state.taskIndexOf(instance);
    const found: string[] = [];
    const end = rows[index + 1] ?? 0;
    for (let at = rows[index] ?? 0; at < end; at += 1) found.push(ids[sources[at] ?? -1] ?? "");
    return found;
  }

  /** What the SDK finds. */
  inputs(instance: Instance): { [name: string]: Json } {
    const { state, results, params } = this.#options;
    const needs: { [task: string]: { outcome: string; result?: Json } } = {};
    for (const needed of this.needsOf(instance)) {
      const index = state.graph.indexOf.get(needed) ?? -1;
      const finished = state.stateOf(index);
      // What is handed out behind one that has not ended begins only when it has succeeded.
      const outcome = finished.id === "finished" ? finished.outcome.kind : "succeeded";
      const result = results.valueOf(index);
      needs[needed] = result === null ? { outcome } : { outcome, result };
    }
    return { params, needs, ...this.itemValue(instance) };
  }
}

/** `sources` of task i stand from `rows[i]` to before `rows[i + 1]`. */
interface Needs {
  rows: Uint32Array;
  sources: Uint32Array;
}

function needsOfAll({ document, graph }: RunState): Needs {
  const { edges } = document;
  const rows = new Uint32Array(graph.size + 1);
  const indexOf = (id: string) => graph.indexOf.get(id) ?? 0;
  for (const { target } of edges) rows[indexOf(target) + 1] = (rows[indexOf(target) + 1] ?? 0) + 1;
  for (let i = 0; i < graph.size; i += 1) rows[i + 1] = (rows[i + 1] ?? 0) + (rows[i] ?? 0);
  const next = rows.slice();
  const sources = new Uint32Array(edges.length);
  for (const { source, target } of edges) {
    const task = indexOf(target);
    const at = next[task] ?? 0;
    sources[at] = indexOf(source);
    next[task] = at + 1;
  }
  return { rows, sources };
}

const noEnv: Evaluation<{ [name: string]: string }> = { ok: true, value: {} };

/** What the host or the data did; anything else is a bug of ours and goes on up. */
export function worldProblem(error: unknown): string {
  if (error instanceof ResultGone) return error.message;
  if (error instanceof RangeError) return "a value is nested too deeply or is too large";
  if (error instanceof Error && "syscall" in error) return error.message;
  throw error;
}
