// The scheduler of one run: `handle(event)` is the sole writer of its state and returns what the
// shell must do. It has no clock, no I/O and no randomness, so a replay of its events rebuilds it.
// Ready means "unmet count is zero"; nothing is ever rescanned, no generation is ever waited for.
// Here: the way in, and the life of the run. A task's way to ready is in arming.ts, its attempts in
// attempts.ts, its end in ends.ts; all of them write one set of books, books.ts.

import type { DagDocument, TaskAttributes } from "../../protocol/dag.ts";
import type { CancelledBy, RunOutcome } from "../../protocol/outcome.ts";
import { Arming } from "./arming.ts";
import { at } from "./at.ts";
import { Attempts } from "./attempts.ts";
import { Books } from "./books.ts";
import { Ends } from "./ends.ts";
import type { Capacity, Command, Instance, RunEvent } from "./events.ts";
import type { Item } from "./fan-out.ts";
import type { RunGraph } from "./graph.ts";
import { problemsOf } from "./invariants.ts";
import type { Counts, Phase } from "./progress.ts";
import { dumpOf, type RunDump } from "./run-dump.ts";
import type { TaskState } from "./task-state.ts";

export type { Counts, Item, Phase };

export class RunState {
  readonly document: DagDocument;
  readonly #books: Books;
  readonly #ends: Ends;
  readonly #arming: Arming;
  readonly #attempts: Attempts;

  constructor(document: DagDocument) {
    this.document = document;
    this.#books = new Books(document);
    this.#ends = new Ends(this.#books, (instance) => this.#arming.arm(instance));
    this.#arming = new Arming(this.#books, this.#ends);
    this.#attempts = new Attempts(this.#books, this.#ends, this.#arming);
  }

  get graph(): RunGraph {
    return this.#books.graph;
  }

  get phase(): Phase {
    return this.#books.progress.phase;
  }

  get counts(): Readonly<Counts> {
    return this.#books.progress.counts;
  }

  get failedTasks(): readonly string[] {
    return this.#books.progress.failedTasks;
  }

  /** Who cancelled the run, if anybody did. */
  get cancelledBy(): CancelledBy | undefined {
    return this.#books.progress.cancelledBy;
  }

  get instanceCount(): number {
    return this.#books.table.length;
  }

  /**
   * While exit handlers run: the outcome of everything before them, which is what they see as
   * `run.outcome`. Before and after: how the run would end now, or has ended.
   */
  get outcomeSoFar(): RunOutcome {
    return this.#books.progress.outcomeSoFar;
  }

  stateOf(instance: Instance): TaskState {
    return this.#books.table.stateOf(instance);
  }

  /** Number of the last attempt that was handed out; 0: none was. */
  attemptOf(instance: Instance): number {
    return this.#books.table.attemptOf(instance);
  }

  /** The task of the document that an instance belongs to; -1: there is no such instance. */
  taskIndexOf(instance: Instance): number {
    return this.#books.table.taskIndexOf(instance);
  }

  taskOf(instance: Instance): TaskAttributes {
    return this.#books.table.taskOf(instance);
  }

  itemOf(instance: Instance): Item | undefined {
    return this.#books.table.fanOuts.itemOf(instance);
  }

  /** Items of an expanded fan-out, in order; `undefined` when it has not been expanded. */
  itemsOf(instance: Instance): Instance[] | undefined {
    return this.#books.table.fanOuts.itemsOf(instance);
  }

  /** `months`, or `months[3]` for an item. */
  keyOf(instance: Instance): string {
    return this.#books.table.keyOf(instance);
  }

  /**
   * Instances with an attempt in flight: running, or stopping. Not what was handed to a worker
   * behind another one: that has not begun, and follows from the end of the one before it.
   */
  inFlight(): Instance[] {
    return this.#books.slots.queues().map((queue) => at(queue, 0));
  }

  /** Whether any task of the DAG waits for an event. */
  get waitsForEvents(): boolean {
    return this.#books.waits.isUsed;
  }

  /** Whether the next publication on this channel changes anything: all others need no event. */
  isWanted(channel: string): boolean {
    return this.#books.waits.isWanted(channel);
  }

  /** Work that the shell was asked to do and has not answered: after a replay it is asked again. */
  openEvaluations(): Command[] {
    const commands: Command[] = [];
    for (let task = 0; task < this.graph.size; task += 1) {
      const state = this.stateOf(task);
      if (state.id !== "evaluating") continue;
      commands.push({ type: state.what === "when" ? "evaluate-when" : "evaluate-map", task });
    }
    return commands;
  }

  /** The only way in. Events of the past that no longer matter (a late timer) give no command. */
  handle(event: RunEvent): Command[] {
    const books = this.#books;
    const commands: Command[] = [];
    books.commands = commands;
    books.now = event.now;
    this.#apply(event);
    this.#arming.fireTimers();
    this.#advancePhase();
    this.#attempts.dispatch();
    this.#armTimer();
    this.#reportDrained();
    return commands;
  }

  #apply(event: RunEvent): void {
    switch (event.type) {
      case "run-started":
        this.#start(event.capacity);
        break;
      case "run-resumed":
        this.#resume(event.capacity);
        break;
      case "attempt-finished":
        this.#attempts.finished(event);
        break;
      case "attempt-adopted":
        this.#attempts.adopted(event.task, event.attempt);
        break;
      case "agent-restarted":
        this.#attempts.restarted();
        break;
      case "attempt-returned":
        this.#attempts.returned(event.task, event.attempt);
        break;
      case "when-evaluated":
        this.#arming.whenEvaluated(event.task, event.holds);
        break;
      case "map-evaluated":
        this.#arming.mapEvaluated(event.task, event.items);
        break;
      case "evaluation-failed":
        this.#arming.evaluationFailed(event.task, event.failure);
        break;
      case "event-published":
        this.#arming.published(event.channel);
        break;
      case "time-passed":
        this.#books.timers.forgetWake();
        break;
      case "cancel-requested":
        this.#cancel(event.by);
        break;
      case "drain-requested":
        this.#books.isDraining = true;
        break;
    }
  }

  // ---- life of the run ----

  #start(capacity: Capacity): void {
    if (this.phase === "finished") return; // cancelled before it started
    if (this.phase !== "new") throw new Error("the run has already started");
    this.#books.progress.phase = "tasks";
    this.#books.admission.reset(capacity, []);
    const { size, isExit } = this.graph;
    this.#ends.together(() => {
      for (let i = 0; i < size; i += 1)
        if (this.#books.unmet.of(i) === 0 && !isExit[i]) this.#arming.arm(i);
    });
  }

  /**
   * What runs keeps its slot and what it holds: a drain may be taken back while attempts are in
   * flight, and after a restart the shell settles them as lost, before this event or after it.
   */
  #resume(capacity: Capacity): void {
    this.#books.isDraining = false;
    this.#books.isDrainReported = false;
    this.#books.timers.forgetWake();
    for (const instance of this.#books.admission.reset(capacity, this.inFlight())) {
      this.#arming.readyAgain(instance);
    }
  }

  #advancePhase(): void {
    const progress = this.#books.progress;
    if (progress.phase === "tasks" && progress.left === 0) {
      progress.beginExit();
      this.#ends.together(() => this.#beginExitHandlers());
    }
    if (progress.phase === "exit" && progress.exitLeft === 0) {
      progress.phase = "finished";
      this.#books.commands.push({ type: "finish-run", outcome: this.outcomeSoFar });
    }
  }

  #beginExitHandlers(): void {
    const { size } = this.graph;
    const { kind } = this.outcomeSoFar;
    const isOpen = (i: Instance) => this.#books.table.isExit(i) && this.stateOf(i).id === "waiting";
    // The unwanted first: a handler that needs one of them must not start before that is known.
    for (let i = 0; i < size; i += 1) {
      if (!isOpen(i)) continue;
      const { exit } = this.taskOf(i);
      if (exit === "any" || (exit === "success" ? kind === "succeeded" : kind === "failed"))
        continue;
      this.#ends.finish(i, { kind: "skipped", because: `run ${kind}` });
    }
    for (let i = 0; i < size; i += 1)
      if (isOpen(i) && this.#books.unmet.of(i) === 0) this.#arming.arm(i);
  }

  /**
   * Ends everything of the current phase: exit handlers clean up after a cancelled run, only a
   * cancel while they run ends them too. A run that has not started ends at once, with all of it.
   */
  #cancel(by: CancelledBy): void {
    const { phase } = this;
    if (phase === "finished") return;
    this.#books.progress.cancelledBy ??= by;
    if (phase === "new") this.#books.progress.phase = "tasks";
    this.#books.admission.clear(); // what is ready gets its outcome below
    this.#ends.together(() => {
      for (let i = 0; i < this.#books.table.length; i += 1) {
        if (phase === "new" || this.#books.table.isExit(i) === (phase === "exit"))
          this.#cancelOne(i, by);
      }
    });
  }

  #cancelOne(instance: Instance, by: CancelledBy): void {
    const { id } = this.stateOf(instance);
    if (id === "finished" || id === "stopping" || id === "expanded") return;
    if (id === "running" || id === "handed" || id === "queued") this.#attempts.stop(instance, by);
    else this.#ends.finish(instance, { kind: "cancelled", by });
  }

  #reportDrained(): void {
    if (!this.#books.isDraining || this.#books.isDrainReported) return;
    if (this.#books.slots.used > 0 || this.phase === "finished") return;
    this.#books.isDrainReported = true;
    this.#books.commands.push({ type: "report-drained" });
  }

  #armTimer(): void {
    if (this.#books.isDraining) return;
    const at = this.#books.timers.nextWake();
    if (at !== undefined) this.#books.commands.push({ type: "wake-at", at });
  }

  // ---- looking at it ----

  /** Throws when the collections and the states do not tell the same; for tests and debug runs. */
  check(): void {
    const problems = problemsOf(this.#books);
    if (problems.length > 0) throw new Error(`invariants broken:\n${problems.join("\n")}`);
  }

  /** Everything that decides what happens next, as plain JSON-able data: for people and tests. */
  dump(): RunDump {
    return dumpOf(this.#books);
  }
}
