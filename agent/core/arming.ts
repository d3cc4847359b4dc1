// The way of a task from "every need is met" to "ready": `when`, `wait_for`, `map`, and whether this
// node can run it at all. Nothing starts here.
import type { Failure } from "../../protocol/outcome.ts";
import type { Books } from "./books.ts";
import type { Ends } from "./ends.ts";
import type { Instance } from "./events.ts";
import { READY, type TaskState } from "./task-state.ts";

export class Arming {
  readonly #books: Books;
  readonly #ends: Ends;

  constructor(books: Books, ends: Ends) {
    this.#books = books;
    this.#ends = ends;
  }

  arm(instance: Instance): void {
    const { table, commands } = this.#books;
    if (table.taskOf(instance).when === undefined) {
      this.#wait(instance);
      return;
    }
    this.#books.move(instance, { id: "evaluating", what: "when" });
    commands.push({ type: "evaluate-when", task: instance });
  }

  whenEvaluated(instance: Instance, holds: boolean): void {
    if (!this.#isEvaluating(instance, "when")) return;
    if (holds) this.#wait(instance);
    else this.#ends.finish(instance, { kind: "skipped", because: "when" });
  }

  mapEvaluated(parent: Instance, count: number): void {
    if (!this.#isEvaluating(parent, "map")) return;
    const { table, progress, admission } = this.#books;
    this.#books.move(parent, { id: "expanded" });
    const first = table.expand(parent, count);
    progress.counts.total += count;
    if (count === 0) {
      this.#ends.finish(parent, { kind: "succeeded" });
      return;
    }
    admission.openFanOut(parent);
    for (let i = first; i < first + count; i += 1) this.makeReady(i);
  }

  evaluationFailed(instance: Instance, failure: Failure): void {
    if (this.#books.idOf(instance) !== "evaluating") return;
    this.#ends.finish(instance, { kind: "failed", failure });
  }

  published(channel: string): void {
    for (const instance of this.#books.waits.publish(channel)) {
      if (this.#books.idOf(instance) === "awaiting") this.#expandOrReady(instance);
    }
  }

  /** Ready, or failed when the node does not have what the task asks for. */
  makeReady(instance: Instance): void {
    const { admission } = this.#books;
    const lacking = admission.lacking(instance);
    if (lacking !== undefined) {
      this.#failLacking(instance, lacking);
      return;
    }
    this.#books.move(instance, READY);
    admission.push(instance);
  }

  /** Puts back what was ready before the capacity changed. */
  readyAgain(instance: Instance): void {
    const { admission } = this.#books;
    const lacking = admission.lacking(instance);
    if (lacking === undefined) admission.push(instance);
    else this.#failLacking(instance, lacking);
  }

  fireTimers(): void {
    const { timers, table, now } = this.#books;
    for (let due = timers.takeDue(now); due !== undefined; due = timers.takeDue(now)) {
      const { instance, state } = due;
      const limitMs = table.taskOf(instance).waitFor?.timeoutMs;
      if (state.id === "delayed" || limitMs === undefined) {
        this.makeReady(instance);
      } else {
        this.#ends.finish(instance, { kind: "failed", failure: { reason: "timeout", limitMs } });
      }
    }
  }

  #wait(instance: Instance): void {
    const { table, waits, timers, now } = this.#books;
    const { waitFor } = table.taskOf(instance);
    if (waitFor === undefined || waits.hasHappened(waitFor.event)) {
      this.#expandOrReady(instance);
      return;
    }
    const { event, timeoutMs } = waitFor;
    waits.wait(event, instance);
    if (timeoutMs === undefined) {
      this.#books.move(instance, { id: "awaiting", event });
      return;
    }
    const until = now + timeoutMs;
    const state: TaskState = { id: "awaiting", event, until };
    this.#books.move(instance, state);
    timers.add(until, instance, state);
  }

  #expandOrReady(instance: Instance): void {
    const { table, commands } = this.#books;
    if (table.taskOf(instance).map === undefined) {
      this.makeReady(instance);
      return;
    }
    this.#books.move(instance, { id: "evaluating", what: "map" });
    commands.push({ type: "evaluate-map", task: instance });
  }

  #isEvaluating(instance: Instance, what: "when" | "map"): boolean {
    const state = this.#books.table.stateOf(instance);
    return state.id === "evaluating" && state.what === what;
  }

  #failLacking(instance: Instance, detail: string): void {
    const failure: Failure = { reason: "backend", backend: "local", detail };
    this.#ends.finish(instance, { kind: "failed", failure });
  }
}
