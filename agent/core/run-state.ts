// The scheduler of one run: `handle(event)` is the sole writer of its state and returns what the
// shell must do. It has no clock, no I/O and no randomness, so a replay of its events rebuilds it.
// Ready means "unmet count is zero"; nothing is ever rescanned, no generation is ever waited for.
// The parts that it writes to keep books and decide nothing: table, unmet, admission, slots, waits.
import type { DagDocument, TaskAttributes } from "../../protocol/dag.ts";
import type { CancelledBy, Outcome, RunOutcome } from "../../protocol/outcome.ts";
import { Admission } from "./admission.ts";
import { EventWaits } from "./event-waits.ts";
import type { Capacity, Command, Instance, Millis, RunEvent } from "./events.ts";
import type { Item } from "./fan-out.ts";
import { buildGraph, type RunGraph } from "./graph.ts";
import { problemsOf } from "./invariants.ts";
import { type Counts, type Phase, Progress } from "./progress.ts";
import { Retries } from "./retry.ts";
import { dumpOf, type RunDump } from "./run-dump.ts";
import { handoverDepth, type Slot, Slots } from "./slots.ts";
import { READY, RUNNING, STOPPING, SUCCEEDED, type TaskState, WAITING } from "./task-state.ts";
import { TaskTable } from "./task-table.ts";
import { Timers } from "./timers.ts";
import { type Successors, Unmet } from "./unmet.ts";

export type { Counts, Item, Phase };

export class RunState {
  readonly graph: RunGraph;
  readonly document: DagDocument;
  readonly #table: TaskTable;
  readonly #unmet: Unmet;
  readonly #admission: Admission;
  readonly #slots = new Slots();
  readonly #timers: Timers;
  readonly #waits: EventWaits;
  readonly #retries = new Retries();
  readonly #progress: Progress;
  #isDraining = false;
  #drainReported = false;
  #now: Millis = 0;
  #commands: Command[] = [];

  constructor(document: DagDocument) {
    this.document = document;
    this.graph = buildGraph(document);
    this.#table = new TaskTable(this.graph);
    this.#unmet = new Unmet(this.graph);
    this.#admission = new Admission(this.#table, document.attributes);
    this.#timers = new Timers((instance) => this.#table.stateOf(instance));
    this.#waits = new EventWaits(this.graph.tasks);
    this.#progress = new Progress(this.graph);
  }

  get phase(): Phase {
    return this.#progress.phase;
  }

  get counts(): Readonly<Counts> {
    return this.#progress.counts;
  }

  get failedTasks(): readonly string[] {
    return this.#progress.failedTasks;
  }

  /** Who cancelled the run, if anybody did. */
  get cancelledBy(): CancelledBy | undefined {
    return this.#progress.cancelledBy;
  }

  get instanceCount(): number {
    return this.#table.length;
  }

  /**
   * While exit handlers run: the outcome of everything before them, which is what they see as
   * `run.outcome`. Before and after: how the run would end now, or has ended.
   */
  get outcomeSoFar(): RunOutcome {
    return this.#progress.outcomeSoFar;
  }

  stateOf(instance: Instance): TaskState {
    return this.#table.stateOf(instance);
  }

  /** Number of the last attempt that was handed out; 0: none was. */
  attemptOf(instance: Instance): number {
    return this.#table.attemptOf(instance);
  }

  /** The task of the document that an instance belongs to; -1: there is no such instance. */
  taskIndexOf(instance: Instance): number {
    return this.#table.taskIndexOf(instance);
  }

  taskOf(instance: Instance): TaskAttributes {
    return this.#table.taskOf(instance);
  }

  itemOf(instance: Instance): Item | undefined {
    return this.#table.fanOuts.itemOf(instance);
  }

  /** Items of an expanded fan-out, in order; `undefined` when it has not been expanded. */
  itemsOf(instance: Instance): Instance[] | undefined {
    return this.#table.fanOuts.itemsOf(instance);
  }

  /** `months`, or `months[3]` for an item. */
  keyOf(instance: Instance): string {
    return this.#table.keyOf(instance);
  }

  /**
   * Instances with an attempt in flight: running, or stopping. Not what was handed to a worker
   * behind another one: that has not begun, and follows from the end of the one before it.
   */
  inFlight(): Instance[] {
    return this.#slots.queues().flatMap(([first]) => first ?? []);
  }

  /** Whether the next publication on this channel changes anything: all others need no event. */
  isWanted(channel: string): boolean {
    return this.#waits.isWanted(channel);
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
    this.#commands = [];
    this.#now = event.now;
    this.#apply(event);
    this.#fireTimers();
    this.#advancePhase();
    this.#dispatch();
    this.#armTimer();
    this.#reportDrained();
    return this.#commands;
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
        this.#finishAttempt(event);
        break;
      case "attempt-returned":
        this.#returnAttempt(event.task, event.attempt);
        break;
      case "when-evaluated":
        if (this.#isEvaluating(event.task, "when")) this.#afterWhen(event.task, event.holds);
        break;
      case "map-evaluated":
        if (this.#isEvaluating(event.task, "map")) this.#expand(event.task, event.items);
        break;
      case "evaluation-failed":
        if (this.stateOf(event.task).id === "evaluating") {
          this.#finish(event.task, { kind: "failed", failure: event.failure });
        }
        break;
      case "event-published":
        for (const instance of this.#waits.publish(event.channel)) {
          if (this.stateOf(instance).id === "awaiting") this.#afterWait(instance);
        }
        break;
      case "time-passed":
        this.#timers.forgetWake();
        break;
      case "cancel-requested":
        this.#cancel(event.by);
        break;
      case "drain-requested":
        this.#isDraining = true;
        break;
    }
  }

  // ---- life of the run ----

  #start(capacity: Capacity): void {
    if (this.phase === "finished") return; // cancelled before it started
    if (this.phase !== "new") throw new Error("the run has already started");
    this.#progress.phase = "tasks";
    this.#admission.reset(capacity, []);
    const { size, isExit } = this.graph;
    this.#together(() => {
      for (let i = 0; i < size; i += 1) if (this.#unmet.of(i) === 0 && !isExit[i]) this.#arm(i);
    });
  }

  /**
   * What runs keeps its slot and what it holds: a drain may be taken back while attempts are in
   * flight, and after a restart the shell settles them as lost, before this event or after it.
   */
  #resume(capacity: Capacity): void {
    this.#isDraining = false;
    this.#drainReported = false;
    this.#timers.forgetWake();
    for (const instance of this.#admission.reset(capacity, this.inFlight())) {
      const lacking = this.#admission.lacking(instance);
      if (lacking === undefined) this.#admission.push(instance);
      else this.#failLacking(instance, lacking);
    }
  }

  #advancePhase(): void {
    const progress = this.#progress;
    if (progress.phase === "tasks" && progress.left === 0) {
      progress.beginExit();
      this.#together(() => this.#beginExitHandlers());
    }
    if (progress.phase === "exit" && progress.exitLeft === 0) {
      progress.phase = "finished";
      this.#commands.push({ type: "finish-run", outcome: this.outcomeSoFar });
    }
  }

  #beginExitHandlers(): void {
    const { size } = this.graph;
    const { kind } = this.outcomeSoFar;
    const isOpen = (i: Instance) => this.#table.isExit(i) && this.stateOf(i).id === "waiting";
    // The unwanted first: a handler that needs one of them must not start before that is known.
    for (let i = 0; i < size; i += 1) {
      if (!isOpen(i)) continue;
      const { exit } = this.taskOf(i);
      if (exit === "any" || (exit === "success" ? kind === "succeeded" : kind === "failed"))
        continue;
      this.#finish(i, { kind: "skipped", because: `run ${kind}` });
    }
    for (let i = 0; i < size; i += 1) if (isOpen(i) && this.#unmet.of(i) === 0) this.#arm(i);
  }

  /**
   * Ends everything of the current phase: exit handlers clean up after a cancelled run, only a
   * cancel while they run ends them too. A run that has not started ends at once, with all of it.
   */
  #cancel(by: CancelledBy): void {
    const { phase } = this;
    if (phase === "finished") return;
    this.#progress.cancelledBy ??= by;
    if (phase === "new") this.#progress.phase = "tasks";
    this.#admission.clear(); // what is ready gets its outcome below
    this.#together(() => {
      for (let i = 0; i < this.#table.length; i += 1) {
        if (phase === "new" || this.#table.isExit(i) === (phase === "exit")) this.#cancelOne(i, by);
      }
    });
  }

  #cancelOne(instance: Instance, by: CancelledBy): void {
    const { id } = this.stateOf(instance);
    if (id === "finished" || id === "stopping" || id === "expanded") return;
    if (id !== "running" && id !== "handed") {
      this.#finish(instance, { kind: "cancelled", by });
      return;
    }
    this.#move(instance, STOPPING);
    const attempt = this.attemptOf(instance);
    this.#commands.push({ type: "stop-attempt", task: instance, attempt, by });
  }

  #reportDrained(): void {
    if (!this.#isDraining || this.#drainReported) return;
    if (this.#slots.used > 0 || this.phase === "finished") return;
    this.#drainReported = true;
    this.#commands.push({ type: "report-drained" });
  }

  // ---- from waiting to ready ----

  /** Every need is met: evaluate `when`, wait for an event, expand, or become ready. */
  #arm(instance: Instance): void {
    if (this.taskOf(instance).when === undefined) {
      this.#afterWhen(instance, true);
      return;
    }
    this.#move(instance, { id: "evaluating", what: "when" });
    this.#commands.push({ type: "evaluate-when", task: instance });
  }

  #isEvaluating(instance: Instance, what: "when" | "map"): boolean {
    const state = this.stateOf(instance);
    return state.id === "evaluating" && state.what === what;
  }

  #afterWhen(instance: Instance, holds: boolean): void {
    const { waitFor } = this.taskOf(instance);
    if (!holds) {
      this.#finish(instance, { kind: "skipped", because: "when" });
    } else if (waitFor === undefined || this.#waits.hasHappened(waitFor.event)) {
      this.#afterWait(instance);
    } else {
      const { event, timeoutMs } = waitFor;
      const state: TaskState = { id: "awaiting", event };
      this.#move(instance, state);
      this.#waits.wait(event, instance);
      if (timeoutMs === undefined) return;
      state.until = this.#now + timeoutMs;
      this.#timers.add(state.until, instance, state);
    }
  }

  #afterWait(instance: Instance): void {
    if (this.taskOf(instance).map === undefined) {
      this.#makeReady(instance);
      return;
    }
    this.#move(instance, { id: "evaluating", what: "map" });
    this.#commands.push({ type: "evaluate-map", task: instance });
  }

  #expand(parent: Instance, count: number): void {
    this.#move(parent, { id: "expanded" });
    const first = this.#table.expand(parent, count);
    this.#progress.counts.total += count;
    if (count === 0) {
      this.#finish(parent, { kind: "succeeded" });
      return;
    }
    this.#admission.openFanOut(parent);
    for (let i = first; i < first + count; i += 1) this.#makeReady(i);
  }

  #makeReady(instance: Instance): void {
    const lacking = this.#admission.lacking(instance);
    if (lacking !== undefined) {
      this.#failLacking(instance, lacking);
      return;
    }
    this.#move(instance, READY);
    this.#admission.push(instance);
  }

  #failLacking(instance: Instance, detail: string): void {
    const failure = { reason: "backend", backend: "local", detail } as const;
    this.#finish(instance, { kind: "failed", failure });
  }

  // ---- starting ----

  #dispatch(): void {
    while (!this.#isDraining && this.#slots.used < this.#admission.capacity.slots) {
      const instance = this.#admission.take();
      if (instance === undefined) return;
      const slot = this.#slots.open(instance);
      this.#begin(instance);
      const attempt = this.#table.countAttempt(instance);
      this.#commands.push({ type: "start-attempt", task: instance, attempt });
      this.#handOver(slot, instance);
    }
  }

  #begin(instance: Instance): void {
    this.#move(instance, RUNNING);
    this.#progress.begin();
  }

  /**
   * A chain does not pay a round trip a task: successors that need nothing but the task before
   * them go to the same worker at once, each on the condition that the one before succeeds.
   * Refilled when half of it is done, so that several tasks travel in one frame, and not while
   * something of higher priority waits for a slot.
   */
  #handOver(slot: Slot, head: Instance): void {
    if (this.#isDraining || slot.queue.length > handoverDepth / 2) return;
    let last = slot.queue.at(-1) ?? head;
    let least: number | undefined;
    while (slot.queue.length < handoverDepth) {
      const next = this.#unmet.chainedAfter(last, this.#successors.isWaiting);
      if (next === undefined) return;
      least ??= this.#admission.bestPriority();
      if (this.taskOf(next).priority < least) return;
      this.#move(next, { id: "handed", after: last });
      this.#slots.append(slot, next);
      const attempt = this.#table.countAttempt(next);
      this.#commands.push({ type: "start-attempt", task: next, attempt, behind: last });
      last = next;
    }
  }

  // ---- ending ----

  #finishAttempt(event: Extract<RunEvent, { type: "attempt-finished" }>): void {
    const { task: instance, attempt, outcome } = event;
    const { id } = this.stateOf(instance);
    const expected = this.attemptOf(instance);
    if ((id !== "running" && id !== "stopping") || attempt !== expected) {
      const what = `attempt ${this.keyOf(instance)}#${attempt} finished in state ${id}`;
      throw new Error(`${what}, attempt ${expected} was expected`);
    }
    this.#leaveSlot(instance, outcome.kind === "succeeded");
    if (id === "running" && outcome.kind === "failed") {
      const policy = this.taskOf(instance).retries;
      const { failure } = outcome;
      const delayMs = this.#retries.delayAfter({ instance, policy, failure, random: event.random });
      if (delayMs !== undefined) {
        this.#retry(instance, delayMs);
        return;
      }
    }
    this.#finish(instance, outcome);
  }

  #retry(instance: Instance, delayMs: number): void {
    const until = this.#now + delayMs;
    const attempt = this.attemptOf(instance);
    this.#commands.push({ type: "announce-retry", task: instance, attempt, at: until });
    if (delayMs === 0) {
      this.#makeReady(instance);
      return;
    }
    const state: TaskState = { id: "delayed", until };
    this.#move(instance, state);
    this.#timers.add(until, instance, state);
  }

  /** Frees the slot, or passes it to what was handed out behind the instance. */
  #leaveSlot(instance: Instance, isSuccess: boolean): void {
    const isFirst = this.#slots.isFirst(instance);
    const slot = this.#slots.remove(instance);
    if (!isFirst) return;
    this.#progress.counts.running -= 1;
    this.#admission.release(instance);
    if (isSuccess) this.#promote(slot);
    else this.#takeBack(slot);
  }

  /** The next instance of the slot is what runs now. */
  #promote(slot: Slot): void {
    const next = slot.queue[0];
    if (next === undefined) return;
    if (this.stateOf(next).id === "stopping") {
      // It was told to stop while it was still behind: now it occupies the slot until it ends.
      this.#progress.begin();
      return;
    }
    this.#unmet.meetAll(next);
    this.#begin(next);
    this.#handOver(slot, next);
  }

  /** The condition of everything that was handed out behind has failed: none of it will run. */
  #takeBack(slot: Slot): void {
    for (const instance of slot.queue.slice()) {
      this.#slots.remove(instance);
      this.#table.forgetAttempt(instance);
      if (this.stateOf(instance).id === "handed") this.#move(instance, WAITING);
      else this.#finishStopped(instance);
    }
  }

  /**
   * The worker gave it back unrun: it is ready again, and the attempt has not happened. What was
   * handed out behind something that did not succeed has been taken back before; nothing follows.
   */
  #returnAttempt(instance: Instance, attempt: number): void {
    const { id } = this.stateOf(instance);
    if (id !== "running" && id !== "stopping") return;
    if (attempt !== this.attemptOf(instance)) return;
    if (this.#slots.isFirst(instance)) this.#progress.counts.attempts -= 1;
    this.#leaveSlot(instance, false);
    this.#table.forgetAttempt(instance);
    if (id === "stopping") this.#finishStopped(instance);
    else this.#makeReady(instance);
  }

  /** It never began, and was told to stop. */
  #finishStopped(instance: Instance): void {
    const by = this.#progress.cancelledBy ?? "user";
    this.#finish(instance, { kind: "cancelled", by });
  }

  #finish(instance: Instance, outcome: Outcome): void {
    this.#move(instance, outcome.kind === "succeeded" ? SUCCEEDED : { id: "finished", outcome });
    this.#commands.push({ type: "finish-task", task: instance, outcome });
    const item = this.itemOf(instance);
    if (item === undefined) {
      const isFault = outcome.kind === "failed" && !this.taskOf(instance).allowFailure;
      this.#progress.finishTask(instance, outcome, isFault ? this.keyOf(instance) : undefined);
      this.#settleSuccessors(instance, outcome);
      return;
    }
    this.#progress.finishItem(outcome);
    const outcomeOfAll = this.#table.fanOuts.finish(item, outcome);
    if (outcomeOfAll === undefined) return;
    this.#admission.closeFanOut(item.parent);
    this.#finish(item.parent, outcomeOfAll);
  }

  // Skipping one task skips its successors and may arm others. A work list instead of recursion:
  // a chain of 100,000 tasks must not overflow the stack.
  readonly #unreachable: { instance: Instance; because: Instance }[] = [];
  readonly #met: Instance[] = [];
  #isSettling = false;
  #source: Instance = 0;

  readonly #successors: Successors = {
    isWaiting: (instance) => this.#table.stateOf(instance).id === "waiting",
    unreachable: (instance) => this.#unreachable.push({ instance, because: this.#source }),
    met: (instance) => this.#met.push(instance),
  };

  #settleSuccessors(instance: Instance, outcome: Outcome): void {
    this.#source = instance;
    this.#unmet.settle(instance, outcome.kind, this.#successors);
    if (!this.#isSettling) this.#settle();
  }

  /** Finishes or arms several tasks before what follows from any of them. */
  #together(work: () => void): void {
    this.#isSettling = true;
    work();
    this.#settle();
  }

  #settle(): void {
    this.#isSettling = true;
    for (;;) {
      const lost = this.#unreachable.pop();
      if (lost !== undefined) {
        const { instance, because } = lost;
        if (this.stateOf(instance).id !== "waiting") continue;
        this.#finish(instance, { kind: "skipped", because: this.keyOf(because) });
        continue;
      }
      const armed = this.#met.pop();
      if (armed === undefined) break;
      if (this.stateOf(armed).id !== "waiting") continue;
      // Exit handlers start together, when every other task has finished.
      if (this.phase === "exit" || !this.#table.isExit(armed)) this.#arm(armed);
    }
    this.#isSettling = false;
  }

  // ---- timers ----

  #fireTimers(): void {
    for (;;) {
      const timer = this.#timers.takeDue(this.#now);
      if (timer === undefined) return;
      const { instance, state } = timer;
      if (state.id === "delayed") {
        this.#makeReady(instance);
      } else {
        const limitMs = this.taskOf(instance).waitFor?.timeoutMs ?? 0;
        this.#finish(instance, { kind: "failed", failure: { reason: "timeout", limitMs } });
      }
    }
  }

  #armTimer(): void {
    if (this.#isDraining) return;
    const at = this.#timers.nextWake();
    if (at !== undefined) this.#commands.push({ type: "wake-at", at });
  }

  #move(instance: Instance, to: TaskState): void {
    this.#table.move(instance, to, this.#now);
  }

  // ---- looking at it ----

  /** Throws when the collections and the states do not tell the same; for tests and debug runs. */
  check(): void {
    const problems = problemsOf(this.#view());
    if (problems.length > 0) throw new Error(`invariants broken:\n${problems.join("\n")}`);
  }

  /** Everything that decides what happens next, as plain JSON-able data: for people and tests. */
  dump(): RunDump {
    return dumpOf(this.#view());
  }

  #view() {
    return {
      table: this.#table,
      unmet: this.#unmet,
      admission: this.#admission,
      slots: this.#slots,
      timers: this.#timers,
      waits: this.#waits,
      retries: this.#retries,
      progress: this.#progress,
      isDraining: this.#isDraining,
    };
  }
}
