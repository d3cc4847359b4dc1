// What templates of one attempt see. Nothing of it is made before a template asks for it: most tasks
// have none, and an attempt costs microseconds.
import type { Json } from "../protocol/json.ts";
import type { TemplateScope } from "../protocol/template.ts";
import type { Instance } from "./core/events.ts";
import type { RunState } from "./core/run-state.ts";
import type { RunResults } from "./run-results.ts";

export interface ScopeParts {
  run: string;
  state: RunState;
  results: RunResults;
  params: { [name: string]: Json };
  templateEnv: Readonly<Record<string, string>>;
}

export interface ItemValue {
  item: Json;
  index: number;
}

export class AttemptScope implements TemplateScope {
  readonly #parts: ScopeParts;
  readonly #instance: Instance;
  readonly #attempt: number | undefined;
  readonly #itemOf: (instance: Instance) => ItemValue | Record<string, never>;

  constructor(
    parts: ScopeParts,
    of: { instance: Instance; attempt: number | undefined },
    itemOf: (instance: Instance) => ItemValue | Record<string, never>,
  ) {
    this.#parts = parts;
    this.#instance = of.instance;
    this.#attempt = of.attempt;
    this.#itemOf = itemOf;
  }

  need(task: string): { outcome: string; result?: Json } | undefined {
    const { state, results } = this.#parts;
    const index = state.graph.indexOf.get(task);
    if (index === undefined) return undefined;
    const finished = state.stateOf(index);
    if (finished.id !== "finished") return undefined;
    return { outcome: finished.outcome.kind, result: results.valueOf(index) };
  }

  get env(): { readonly [name: string]: string | undefined } {
    return this.#parts.templateEnv;
  }

  get params(): { readonly [name: string]: Json } {
    return this.#parts.params;
  }

  /** Undefined outside of a fan-out. */
  get item(): Json | undefined {
    return this.#itemOf(this.#instance).item;
  }

  get index(): number | undefined {
    return this.#itemOf(this.#instance).index;
  }

  get run(): { id: string; outcome: string; failed: string[] } {
    const { run, state } = this.#parts;
    return {
      id: run,
      // Only where they are asked for: the list may be as long as the DAG.
      get outcome() {
        return state.outcomeSoFar.kind;
      },
      get failed() {
        return [...state.failedTasks];
      },
    };
  }

  get task(): { id: string; attempt?: number } {
    const id = this.#parts.state.keyOf(this.#instance);
    return this.#attempt === undefined ? { id } : { id, attempt: this.#attempt };
  }

  get dag(): { name: string } {
    return { name: this.#parts.state.document.attributes.dag };
  }
}
