// The state, the attempt number and the name of every instance. `move` is the only way to change a
// state, and refuses what the table of legal moves does not have.
import type { TaskAttributes } from "../../protocol/dag.ts";
import type { Instance, Millis } from "./events.ts";
import { FanOuts } from "./fan-out.ts";
import type { RunGraph } from "./graph.ts";
import { Story } from "./story.ts";
import { InvalidTransition, isLegalMove, type TaskState, WAITING } from "./task-state.ts";

export class TaskTable {
  readonly graph: RunGraph;
  readonly fanOuts: FanOuts;
  readonly #story = new Story();
  readonly #states: TaskState[];
  readonly #attempts: number[];

  constructor(graph: RunGraph) {
    this.graph = graph;
    this.fanOuts = new FanOuts(graph.size);
    this.#states = new Array<TaskState>(graph.size).fill(WAITING);
    this.#attempts = new Array<number>(graph.size).fill(0);
  }

  get length(): number {
    return this.#states.length;
  }

  /** Adds the items of a fan-out, all waiting; gives the first. */
  expand(parent: Instance, count: number): Instance {
    const first = this.fanOuts.expand(parent, count);
    for (let i = 0; i < count; i += 1) {
      this.#states.push(WAITING);
      this.#attempts.push(0);
    }
    return first;
  }

  stateOf(instance: Instance): TaskState {
    return this.#states[instance] ?? WAITING;
  }

  move(instance: Instance, to: TaskState, now: Millis): void {
    const from = this.stateOf(instance).id;
    if (!isLegalMove(from, to.id)) {
      throw new InvalidTransition(this.keyOf(instance), from, to.id, this.story());
    }
    this.#states[instance] = to;
    this.#story.record(now, instance, from, to.id);
  }

  /** Number of the last attempt that was handed out; 0: none was. */
  attemptOf(instance: Instance): number {
    return this.#attempts[instance] ?? 0;
  }

  countAttempt(instance: Instance): number {
    const attempt = this.attemptOf(instance) + 1;
    this.#attempts[instance] = attempt;
    return attempt;
  }

  /** The attempt has not happened: the next one gets its number. */
  forgetAttempt(instance: Instance): void {
    this.#attempts[instance] = this.attemptOf(instance) - 1;
  }

  /** The task of the document that an instance belongs to; -1: there is no such instance. */
  taskIndexOf(instance: Instance): number {
    return instance < this.graph.size ? instance : (this.fanOuts.itemOf(instance)?.parent ?? -1);
  }

  taskOf(instance: Instance): TaskAttributes {
    const task = this.graph.tasks[this.taskIndexOf(instance)];
    if (task === undefined) throw new Error(`no instance ${instance}`);
    return task;
  }

  isExit(instance: Instance): boolean {
    return this.graph.isExit[this.taskIndexOf(instance)] === 1;
  }

  /** `months`, or `months[3]` for an item. */
  keyOf(instance: Instance): string {
    const item = this.fanOuts.itemOf(instance);
    if (item === undefined) return this.graph.ids[instance] ?? `?${instance}`;
    return `${this.graph.ids[item.parent]}[${item.index}]`;
  }

  /** The last moves, oldest first. */
  story(): string[] {
    return this.#story.lines((instance) => this.keyOf(instance));
  }
}
