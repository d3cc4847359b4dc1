// The scheduler of one run: `handle(event)` is the sole writer of its state and returns what the
// shell must do. It has no clock, no I/O and no randomness, so a replay of its events rebuilds it.
// Ready means "unmet count is zero"; nothing is ever rescanned, no generation is ever waited for.
import type { DagDocument, TaskAttributes } from "../../protocol/dag.ts";
import type { CancelledBy, Failure, Outcome, RunOutcome } from "../../protocol/outcome.ts";
import type { Capacity, Command, Instance, Millis, RunEvent } from "./events.ts";
import { buildGraph, isSatisfied, type RunGraph } from "./graph.ts";
import { Heap } from "./heap.ts";
import { type Needs, noNeeds, ReadyQueue } from "./ready-queue.ts";
import { retryClass, retryDelay } from "./retry.ts";
import { InvalidTransition, isLegalMove, type TaskState } from "./task-state.ts";

/** An item of a fan-out. */
export interface Item {
  parent: Instance;
  index: number;
}

export type Phase = "new" | "tasks" | "exit" | "finished";

/** What occupies one slot: the running instance first, then what was handed out behind it. */
interface Slot {
  queue: Instance[];
}

interface Timer {
  at: Millis;
  instance: Instance;
  /** The state that the timer belongs to: a timer of a state that is over is ignored. */
  state: TaskState;
}

const WAITING: TaskState = { id: "waiting" };
const READY: TaskState = { id: "ready" };
const RUNNING: TaskState = { id: "running" };
const STOPPING: TaskState = { id: "stopping" };
const SUCCEEDED: TaskState = { id: "finished", outcome: { kind: "succeeded" } };

/** Instances handed to one worker ahead of time, the running one included. */
const handoverDepth = 16;
const storyLength = 200;

export interface Counts {
  total: number;
  running: number;
  succeeded: number;
  failed: number;
  skipped: number;
  cancelled: number;
  attempts: number;
}

export class RunState {
  readonly graph: RunGraph;
  readonly document: DagDocument;
  #phase: Phase = "new";
  #isDraining = false;
  #drainReported = false;
  #cancelledBy: CancelledBy | undefined;
  #states: TaskState[];
  #unmet: number[];
  /** Attempts begun of each instance. */
  #attempts: number[];
  /** Failures so far, only of instances that failed at least once. */
  readonly #tries = new Map<Instance, { own: number; lost: number }>();
  readonly #items: Item[] = [];
  /** First item instance and number of items of each expanded fan-out. */
  readonly #expansions = new Map<Instance, { first: Instance; count: number; failed: number }>();
  #ready: ReadyQueue = new ReadyQueue({ slots: 0, cpu: 0, memoryBytes: 0, gpu: 0 });
  #capacity: Capacity = { slots: 0, cpu: 0, memoryBytes: 0, gpu: 0 };
  readonly #slots = new Map<Instance, Slot>();
  #slotsUsed = 0;
  readonly #timers = new Heap<Timer>((a, b) => a.at < b.at);
  #wakeAt: Millis | undefined;
  readonly #published = new Set<string>();
  readonly #awaiting = new Map<string, Instance[]>();
  readonly #needsOf = new Map<Instance, Needs>();
  /** Tasks outside and inside the exit phase that have no outcome yet. */
  #left: number;
  #exitLeft: number;
  readonly #failedTasks: string[] = [];
  readonly #counts: Counts;
  #now: Millis = 0;
  #commands: Command[] = [];
  readonly #story: string[] = [];

  constructor(document: DagDocument) {
    this.document = document;
    this.graph = buildGraph(document);
    const { size, exitCount } = this.graph;
    this.#states = new Array<TaskState>(size).fill(WAITING);
    this.#unmet = Array.from(this.graph.unmet);
    this.#attempts = new Array<number>(size).fill(0);
    this.#exitLeft = exitCount;
    this.#left = size - exitCount;
    this.#counts = {
      total: size,
      running: 0,
      succeeded: 0,
      failed: 0,
      skipped: 0,
      cancelled: 0,
      attempts: 0,
    };
  }

  get phase(): Phase {
    return this.#phase;
  }

  get counts(): Readonly<Counts> {
    return this.#counts;
  }

  get failedTasks(): readonly string[] {
    return this.#failedTasks;
  }

  get instanceCount(): number {
    return this.#states.length;
  }

  /** Outcome of everything before the exit handlers: what they see as `run.outcome`. */
  get outcomeSoFar(): RunOutcome {
    if (this.#cancelledBy !== undefined) return { kind: "cancelled", by: this.#cancelledBy };
    if (this.#failedTasks.length > 0) return { kind: "failed", failed: [...this.#failedTasks] };
    return { kind: "succeeded" };
  }

  stateOf(instance: Instance): TaskState {
    return this.#states[instance] ?? WAITING;
  }

  attemptOf(instance: Instance): number {
    return this.#attempts[instance] ?? 0;
  }

  /** The task of the document that an instance belongs to. */
  taskIndexOf(instance: Instance): number {
    return instance < this.graph.size ? instance : (this.itemOf(instance)?.parent ?? -1);
  }

  taskOf(instance: Instance): TaskAttributes {
    const task = this.graph.tasks[this.taskIndexOf(instance)];
    if (task === undefined) throw new Error(`no instance ${instance}`);
    return task;
  }

  itemOf(instance: Instance): Item | undefined {
    return this.#items[instance - this.graph.size];
  }

  /** Items of an expanded fan-out, in order; `undefined` when it has not been expanded. */
  itemsOf(instance: Instance): Instance[] | undefined {
    const expansion = this.#expansions.get(instance);
    if (expansion === undefined) return undefined;
    return Array.from({ length: expansion.count }, (_, i) => expansion.first + i);
  }

  /** `months`, or `months[3]` for an item. */
  keyOf(instance: Instance): string {
    const item = this.itemOf(instance);
    if (item === undefined) return this.graph.ids[instance] ?? `?${instance}`;
    return `${this.graph.ids[item.parent]}[${item.index}]`;
  }

  /** Instances with an attempt in flight, or handed to a worker. */
  inFlight(): Instance[] {
    return [...this.#slots.keys()];
  }

  /** Work that the shell was asked to do and has not answered: after a replay it is asked again. */
  openEvaluations(): Command[] {
    const commands: Command[] = [];
    this.#states.forEach((state, task) => {
      if (state.id !== "evaluating") return;
      commands.push({ type: state.what === "when" ? "evaluate-when" : "evaluate-map", task });
    });
    return commands;
  }

  /** The only way in. Events of the past that no longer matter (a late timer) give no command. */
  handle(event: RunEvent): Command[] {
    this.#commands = [];
    this.#now = event.now;
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
        this.#returnAttempt(event.task);
        break;
      case "when-evaluated":
        this.#afterWhen(event.task, event.holds);
        break;
      case "map-evaluated":
        this.#expand(event.task, event.items);
        break;
      case "evaluation-failed":
        if (this.stateOf(event.task).id === "evaluating") {
          this.#finish(event.task, { kind: "failed", failure: event.failure });
        }
        break;
      case "event-published":
        this.#publish(event.channel);
        break;
      case "time-passed":
        break;
      case "cancel-requested":
        this.#cancel(event.by);
        break;
      case "drain-requested":
        this.#isDraining = true;
        break;
    }
    this.#fireTimers();
    this.#advancePhase();
    this.#dispatch();
    this.#armTimer();
    if (this.#isDraining && this.#slotsUsed === 0 && !this.#drainReported) {
      if (this.#phase !== "finished") {
        this.#drainReported = true;
        this.#commands.push({ type: "report-drained" });
      }
    }
    return this.#commands;
  }

  // ---- life of the run ----

  #start(capacity: Capacity): void {
    if (this.#phase !== "new") throw new Error("the run has already started");
    this.#phase = "tasks";
    this.#setCapacity(capacity);
    const { size, isExit } = this.graph;
    for (let i = 0; i < size; i += 1) if (this.#unmet[i] === 0 && !isExit[i]) this.#arm(i);
  }

  // After a restart nothing of ours runs any more: the shell has settled every attempt in flight
  // before. What was ready is ready again under the new capacity.
  #resume(capacity: Capacity): void {
    this.#isDraining = false;
    this.#drainReported = false;
    this.#wakeAt = undefined;
    const ready = this.#ready.instances();
    this.#setCapacity(capacity);
    for (const instance of ready) this.#enqueue(instance);
  }

  #setCapacity(capacity: Capacity): void {
    const { concurrency } = this.document.attributes;
    this.#capacity = {
      ...capacity,
      slots: Math.min(capacity.slots, concurrency ?? capacity.slots),
    };
    this.#ready = new ReadyQueue(capacity);
    for (const [name, places] of Object.entries(this.document.attributes.pools ?? {})) {
      this.#ready.addPool(name, places);
    }
    for (const instance of this.#expansions.keys()) this.#addMapPool(instance);
    this.#needsOf.clear();
  }

  #advancePhase(): void {
    if (this.#phase === "tasks" && this.#left === 0) {
      this.#phase = "exit";
      const { size, isExit } = this.graph;
      if (this.#exitLeft > 0) {
        for (let i = 0; i < size; i += 1) {
          if (isExit[i] && this.stateOf(i).id === "waiting") this.#enterExit(i);
        }
      }
    }
    if (this.#phase === "exit" && this.#exitLeft === 0) {
      this.#phase = "finished";
      this.#commands.push({ type: "finish-run", outcome: this.outcomeSoFar });
    }
  }

  #enterExit(instance: Instance): void {
    const { exit } = this.taskOf(instance);
    const { kind } = this.outcomeSoFar;
    const isWanted =
      exit === "any" || (exit === "success" ? kind === "succeeded" : kind === "failed");
    if (!isWanted) this.#finish(instance, { kind: "skipped", because: `run ${kind}` });
    else if (this.#unmet[instance] === 0) this.#arm(instance);
  }

  #cancel(by: CancelledBy): void {
    if (this.#phase === "finished") return;
    this.#cancelledBy ??= by;
    const { size, isExit } = this.graph;
    // Exit handlers clean up after a cancelled run; only a cancel while they run ends them too.
    const isOver = this.#phase === "exit";
    for (let i = 0; i < this.#states.length; i += 1) {
      const isExitTask = i < size && isExit[i] === 1;
      if (isExitTask !== isOver) continue;
      this.#cancelOne(i, by);
    }
  }

  #cancelOne(instance: Instance, by: CancelledBy): void {
    const { id } = this.stateOf(instance);
    if (id === "finished" || id === "stopping" || id === "expanded") return;
    if (id === "running" || id === "handed") {
      this.#move(instance, STOPPING);
      const attempt = this.attemptOf(instance);
      this.#commands.push({ type: "stop-attempt", task: instance, attempt, by });
      return;
    }
    this.#finish(instance, { kind: "cancelled", by });
  }

  // ---- from waiting to ready ----

  /** Every need is met: evaluate `when`, wait for an event, expand, or become ready. */
  #arm(instance: Instance): void {
    const task = this.taskOf(instance);
    if (task.when !== undefined) {
      this.#move(instance, { id: "evaluating", what: "when" });
      this.#commands.push({ type: "evaluate-when", task: instance });
    } else {
      this.#afterWhen(instance, true);
    }
  }

  #afterWhen(instance: Instance, holds: boolean): void {
    const { id } = this.stateOf(instance);
    if (id !== "waiting" && id !== "evaluating") return;
    if (!holds) {
      this.#finish(instance, { kind: "skipped", because: "when" });
      return;
    }
    const { waitFor } = this.taskOf(instance);
    if (waitFor === undefined || this.#published.has(waitFor.event)) {
      this.#afterWait(instance);
      return;
    }
    const { event, timeoutMs } = waitFor;
    const state: TaskState =
      timeoutMs === undefined
        ? { id: "awaiting", event }
        : { id: "awaiting", event, until: this.#now + timeoutMs };
    this.#move(instance, state);
    const others = this.#awaiting.get(event);
    if (others === undefined) this.#awaiting.set(event, [instance]);
    else others.push(instance);
    if (state.id === "awaiting" && state.until !== undefined) {
      this.#timers.push({ at: state.until, instance, state });
    }
  }

  #publish(channel: string): void {
    this.#published.add(channel);
    const waiting = this.#awaiting.get(channel);
    this.#awaiting.delete(channel);
    for (const instance of waiting ?? []) {
      if (this.stateOf(instance).id === "awaiting") this.#afterWait(instance);
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
    const state = this.stateOf(parent);
    if (state.id !== "evaluating" || state.what !== "map") return;
    const first = this.#states.length;
    this.#move(parent, { id: "expanded", left: count });
    this.#expansions.set(parent, { first, count, failed: 0 });
    this.#addMapPool(parent);
    this.#counts.total += count;
    for (let index = 0; index < count; index += 1) {
      this.#items.push({ parent, index });
      this.#states.push(WAITING);
      this.#unmet.push(0);
      this.#attempts.push(0);
    }
    for (let index = 0; index < count; index += 1) this.#makeReady(first + index);
    if (count === 0) this.#finish(parent, { kind: "succeeded" });
  }

  #addMapPool(parent: Instance): void {
    const { mapConcurrency } = this.taskOf(parent);
    if (mapConcurrency !== undefined) this.#ready.addPool(mapPool(parent), mapConcurrency);
  }

  #makeReady(instance: Instance): void {
    const { resources } = this.taskOf(instance);
    const lacking = resources === undefined ? undefined : this.#lacking(resources);
    if (lacking !== undefined) {
      const failure: Failure = { reason: "backend", backend: "local", detail: lacking };
      this.#finish(instance, { kind: "failed", failure });
      return;
    }
    this.#move(instance, READY);
    this.#enqueue(instance);
  }

  #lacking(wanted: NonNullable<TaskAttributes["resources"]>): string | undefined {
    for (const name of ["cpu", "memoryBytes", "gpu"] as const) {
      const amount = wanted[name] ?? 0;
      if (amount > this.#capacity[name]) {
        return `the task asks for ${amount} of ${name}, this node has ${this.#capacity[name]}`;
      }
    }
    return undefined;
  }

  #enqueue(instance: Instance): void {
    const task = this.taskOf(instance);
    this.#ready.push(
      {
        instance,
        priority: task.priority,
        remaining: this.graph.remaining[this.taskIndexOf(instance)] ?? 0,
      },
      this.#needs(instance),
    );
  }

  #needs(instance: Instance): Needs {
    const task = this.taskOf(instance);
    const item = this.itemOf(instance);
    const isBounded = item !== undefined && task.mapConcurrency !== undefined;
    if (task.pool === undefined && task.resources === undefined && !isBounded) return noNeeds;
    const owner = this.taskIndexOf(instance);
    const known = this.#needsOf.get(owner);
    if (known !== undefined) return known;
    const pools: string[] = [];
    if (task.pool !== undefined) pools.push(task.pool);
    if (isBounded) pools.push(mapPool(owner));
    const { cpu = 0, memoryBytes = 0, gpu = 0 } = task.resources ?? {};
    const key = JSON.stringify([pools, cpu, memoryBytes, gpu]);
    const needs: Needs = { key, pools, cpu, memoryBytes, gpu };
    this.#needsOf.set(owner, needs);
    return needs;
  }

  // ---- starting ----

  #dispatch(): void {
    if (this.#isDraining) return;
    while (this.#slotsUsed < this.#capacity.slots) {
      const instance = this.#ready.take();
      if (instance === undefined) return;
      this.#slotsUsed += 1;
      const slot: Slot = { queue: [instance] };
      this.#slots.set(instance, slot);
      this.#begin(instance);
      const attempt = this.#nextAttempt(instance);
      this.#commands.push({ type: "start-attempt", task: instance, attempt });
      this.#handOver(slot);
    }
  }

  #nextAttempt(instance: Instance): number {
    const attempt = this.attemptOf(instance) + 1;
    this.#attempts[instance] = attempt;
    return attempt;
  }

  #begin(instance: Instance): void {
    this.#move(instance, RUNNING);
    this.#counts.running += 1;
    this.#counts.attempts += 1;
  }

  /**
   * A chain does not pay a round trip a task: successors that need nothing but the task before
   * them go to the same worker at once, each on the condition that the one before succeeds.
   */
  #handOver(slot: Slot): void {
    if (this.#isDraining || this.#cancelledBy !== undefined) return;
    // Refilled when half of it is done: several tasks travel in one frame.
    if (slot.queue.length > handoverDepth / 2) return;
    while (slot.queue.length < handoverDepth) {
      const last = slot.queue[slot.queue.length - 1];
      if (last === undefined) return;
      const next = this.#chainedAfter(last);
      if (next === undefined) return;
      this.#move(next, { id: "handed", after: last });
      slot.queue.push(next);
      this.#slots.set(next, slot);
      const attempt = this.#nextAttempt(next);
      this.#commands.push({ type: "start-attempt", task: next, attempt, behind: last });
    }
  }

  #chainedAfter(instance: Instance): Instance | undefined {
    const { graph } = this;
    if (instance >= graph.size) return undefined;
    const lane = graph.lanes[instance] ?? 0;
    if (lane === 0) return undefined;
    let best: Instance | undefined;
    const end = graph.rows[instance + 1] ?? 0;
    for (let e = graph.rows[instance] ?? 0; e < end; e += 1) {
      const target = graph.targets[e] ?? 0;
      if (graph.lanes[target] !== lane || graph.conditions[e] !== 0) continue;
      if (this.#unmet[target] !== 1 || this.stateOf(target).id !== "waiting") continue;
      if (best === undefined || this.#outranks(target, best)) best = target;
    }
    return best;
  }

  #outranks(a: Instance, b: Instance): boolean {
    const byPriority = this.taskOf(a).priority - this.taskOf(b).priority;
    if (byPriority !== 0) return byPriority > 0;
    return (this.graph.remaining[a] ?? 0) > (this.graph.remaining[b] ?? 0);
  }

  // ---- ending ----

  #finishAttempt(event: Extract<RunEvent, { type: "attempt-finished" }>): void {
    const { task: instance, attempt, outcome } = event;
    const { id } = this.stateOf(instance);
    if ((id !== "running" && id !== "stopping") || attempt !== this.attemptOf(instance)) {
      throw new Error(
        `attempt ${this.keyOf(instance)}#${attempt} finished in state ${id}, ` +
          `attempt ${this.attemptOf(instance)} was expected`,
      );
    }
    this.#leaveSlot(instance, outcome.kind === "succeeded");
    const retry =
      id === "running" && outcome.kind === "failed"
        ? this.#retry(instance, outcome.failure, event.random)
        : undefined;
    if (retry !== undefined) {
      this.#commands.push({ type: "announce-retry", task: instance, attempt, at: retry });
      return;
    }
    this.#finish(instance, outcome);
  }

  #retry(instance: Instance, failure: Failure, random: number): Millis | undefined {
    const policy = this.taskOf(instance).retries;
    const kind = retryClass(policy, failure);
    if (kind === "none") return undefined;
    const tries = this.#tries.get(instance) ?? { own: 0, lost: 0 };
    tries[kind] += 1;
    this.#tries.set(instance, tries);
    if (tries[kind] > (kind === "own" ? policy.limit : policy.lost)) return undefined;
    const until = this.#now + retryDelay(policy, tries[kind], random);
    if (until <= this.#now) {
      this.#move(instance, READY);
      this.#enqueue(instance);
      return this.#now;
    }
    const state: TaskState = { id: "delayed", until };
    this.#move(instance, state);
    this.#timers.push({ at: until, instance, state });
    return until;
  }

  /** Frees the slot, or passes it to what was handed out behind the instance. */
  #leaveSlot(instance: Instance, isSuccess: boolean): void {
    const slot = this.#slots.get(instance);
    if (slot === undefined) throw new Error(`${this.keyOf(instance)} has no slot`);
    this.#slots.delete(instance);
    const wasFirst = slot.queue[0] === instance;
    slot.queue.splice(slot.queue.indexOf(instance), 1);
    if (wasFirst) {
      this.#counts.running -= 1;
      this.#ready.giveBack(this.#needs(instance));
      if (isSuccess) this.#promote(slot);
      else this.#takeBack(slot);
    }
    if (slot.queue.length === 0) this.#slotsUsed -= 1;
  }

  /** The next handed instance of the slot is what runs now. */
  #promote(slot: Slot): void {
    const next = slot.queue[0];
    if (next === undefined) return;
    // It was told to stop while it was still behind: it stays so and now occupies the slot.
    if (this.stateOf(next).id === "stopping") {
      this.#counts.running += 1;
      this.#counts.attempts += 1;
      return;
    }
    this.#unmet[next] = 0;
    this.#begin(next);
    this.#handOver(slot);
  }

  /** The condition of everything that was handed out behind has failed: none of it will run. */
  #takeBack(slot: Slot): void {
    const behind = slot.queue.splice(0);
    // From the end, so that each still finds its predecessor unfinished.
    for (const instance of behind.reverse()) {
      this.#slots.delete(instance);
      this.#attempts[instance] = this.attemptOf(instance) - 1;
      if (this.stateOf(instance).id !== "stopping") this.#move(instance, WAITING);
      else this.#finish(instance, { kind: "cancelled", by: this.#cancelledBy ?? "user" });
    }
  }

  /** The worker gave it back unrun: it is ready again, and the attempt has not happened. */
  #returnAttempt(instance: Instance): void {
    const { id } = this.stateOf(instance);
    // Behind one that did not succeed: that one's end has already taken it back.
    if (id !== "running" && id !== "stopping") return;
    const slot = this.#slots.get(instance);
    if (slot === undefined || slot.queue[0] !== instance) return;
    this.#leaveSlot(instance, false);
    this.#counts.attempts -= 1;
    this.#attempts[instance] = this.attemptOf(instance) - 1;
    if (id === "stopping") {
      this.#finish(instance, { kind: "cancelled", by: this.#cancelledBy ?? "user" });
      return;
    }
    this.#move(instance, READY);
    this.#enqueue(instance);
  }

  #finish(instance: Instance, outcome: Outcome): void {
    this.#move(instance, outcome.kind === "succeeded" ? SUCCEEDED : { id: "finished", outcome });
    this.#counts[outcome.kind] += 1;
    this.#commands.push({ type: "finish-task", task: instance, outcome });
    const item = this.itemOf(instance);
    if (item !== undefined) {
      this.#finishItem(item.parent, outcome);
      return;
    }
    const isExitTask = this.graph.isExit[instance] === 1;
    if (isExitTask) this.#exitLeft -= 1;
    else this.#left -= 1;
    if (outcome.kind === "failed" && !this.taskOf(instance).allowFailure) {
      this.#failedTasks.push(this.keyOf(instance));
    }
    this.#settleSuccessors(instance, outcome);
  }

  #finishItem(parent: Instance, outcome: Outcome): void {
    const state = this.stateOf(parent);
    const expansion = this.#expansions.get(parent);
    if (state.id !== "expanded" || expansion === undefined) return;
    state.left -= 1;
    if (outcome.kind === "failed") expansion.failed += 1;
    if (state.left > 0) return;
    this.#ready.removePool(mapPool(parent));
    this.#finish(parent, this.#outcomeOfItems(parent, expansion));
  }

  #outcomeOfItems(
    parent: Instance,
    { first, count, failed }: { first: Instance; count: number; failed: number },
  ): Outcome {
    if (this.#cancelledBy !== undefined && failed === 0) {
      for (let i = first; i < first + count; i += 1) {
        const state = this.stateOf(i);
        if (state.id === "finished" && state.outcome.kind === "cancelled") return state.outcome;
      }
    }
    if (failed === 0) return { kind: "succeeded" };
    for (let i = first; i < first + count; i += 1) {
      const state = this.stateOf(i);
      if (state.id === "finished" && state.outcome.kind === "failed") return state.outcome;
    }
    throw new Error(`${this.keyOf(parent)} counts failed items that are not there`);
  }

  #settleSuccessors(instance: Instance, outcome: Outcome): void {
    const { rows, targets, conditions, isExit } = this.graph;
    const end = rows[instance + 1] ?? 0;
    for (let e = rows[instance] ?? 0; e < end; e += 1) {
      const target = targets[e] ?? 0;
      if (this.stateOf(target).id !== "waiting") continue;
      if (!isSatisfied(conditions[e] ?? 0, outcome.kind)) {
        // An explicit stack is not needed: skips go as deep as the DAG, which `#skipFrom` walks.
        this.#skips.push({ instance: target, because: this.keyOf(instance) });
        continue;
      }
      const unmet = (this.#unmet[target] ?? 0) - 1;
      this.#unmet[target] = unmet;
      if (unmet === 0 && (isExit[target] === 0 || this.#phase === "exit")) this.#arms.push(target);
    }
    this.#settle();
  }

  // Skipping one task skips its successors and may arm others. A work list instead of recursion:
  // a chain of 100,000 tasks must not overflow the stack.
  readonly #skips: { instance: Instance; because: string }[] = [];
  readonly #arms: Instance[] = [];
  #isSettling = false;

  #settle(): void {
    if (this.#isSettling) return;
    this.#isSettling = true;
    for (;;) {
      const skip = this.#skips.pop();
      if (skip !== undefined) {
        if (this.stateOf(skip.instance).id === "waiting") {
          this.#finish(skip.instance, { kind: "skipped", because: skip.because });
        }
        continue;
      }
      const armed = this.#arms.pop();
      if (armed === undefined) break;
      if (this.stateOf(armed).id === "waiting") this.#arm(armed);
    }
    this.#isSettling = false;
  }

  // ---- timers ----

  #fireTimers(): void {
    for (;;) {
      const timer = this.#timers.peek();
      if (timer === undefined || timer.at > this.#now) return;
      this.#timers.pop();
      const { instance, state } = timer;
      if (this.stateOf(instance) !== state) continue;
      if (state.id === "delayed") {
        this.#move(instance, READY);
        this.#enqueue(instance);
      } else if (state.id === "awaiting") {
        const limitMs = this.taskOf(instance).waitFor?.timeoutMs ?? 0;
        this.#finish(instance, { kind: "failed", failure: { reason: "timeout", limitMs } });
      }
    }
  }

  #armTimer(): void {
    const at = this.#timers.peek()?.at;
    if (at === undefined || this.#isDraining) return;
    if (this.#wakeAt !== undefined && this.#wakeAt > this.#now && this.#wakeAt <= at) return;
    this.#wakeAt = at;
    this.#commands.push({ type: "wake-at", at });
  }

  // ---- moves and invariants ----

  #move(instance: Instance, to: TaskState): void {
    const from = this.stateOf(instance);
    if (!isLegalMove(from.id, to.id)) {
      throw new InvalidTransition(this.keyOf(instance), from.id, to.id, [...this.#story]);
    }
    this.#states[instance] = to;
    if (this.#story.length === storyLength) this.#story.shift();
    this.#story.push(`${this.#now} ${this.keyOf(instance)} ${from.id} -> ${to.id}`);
  }

  /** Throws when the collections and the states do not tell the same; for tests and debug runs. */
  check(): void {
    const problems: string[] = [];
    const expect = (condition: boolean, message: string) => {
      if (!condition) problems.push(message);
    };
    const { size, isExit } = this.graph;
    let left = 0;
    let exitLeft = 0;
    let running = 0;
    const ready = new Set(this.#ready.instances());
    this.#states.forEach((state, i) => {
      if (i < size && state.id !== "finished") {
        if (isExit[i]) exitLeft += 1;
        else left += 1;
      }
      const slot = this.#slots.get(i);
      if (slot?.queue[0] === i) running += 1;
      expect(
        (state.id === "running" || state.id === "handed" || state.id === "stopping") ===
          (slot !== undefined),
        `${this.keyOf(i)} is ${state.id} and ${slot === undefined ? "has no" : "has a"} slot`,
      );
      expect(
        (state.id === "ready") === ready.has(i),
        `${this.keyOf(i)} is ${state.id}, queue differs`,
      );
      if (state.id === "running")
        expect(slot?.queue[0] === i, `${this.keyOf(i)} runs but is not first`);
      if (state.id === "handed") {
        expect(
          slot?.queue[slot.queue.indexOf(i) - 1] === state.after,
          `${this.keyOf(i)} follows another`,
        );
      }
      if (state.id === "expanded") {
        const open = (this.itemsOf(i) ?? []).filter(
          (x) => this.stateOf(x).id !== "finished",
        ).length;
        expect(
          open === state.left,
          `${this.keyOf(i)} counts ${state.left} items, ${open} are open`,
        );
      }
    });
    expect(left === this.#left, `left ${this.#left}, counted ${left}`);
    expect(exitLeft === this.#exitLeft, `exitLeft ${this.#exitLeft}, counted ${exitLeft}`);
    expect(running === this.#counts.running, `running ${this.#counts.running}, counted ${running}`);
    expect(new Set(this.#slots.values()).size === this.#slotsUsed, "slots in use differ");
    expect(this.#slotsUsed <= this.#capacity.slots, "more slots in use than there are");
    if (this.#slotsUsed === 0 && !this.#isDraining && this.#phase === "tasks") {
      const isStuck = this.#states.every((s) =>
        ["waiting", "finished", "expanded", "ready"].includes(s.id),
      );
      expect(!isStuck, "nothing runs and nothing will");
    }
    if (problems.length > 0) throw new Error(`invariants broken:\n${problems.join("\n")}`);
  }
}

function mapPool(parent: Instance): string {
  return ` map ${parent}`; // a space: no pool of a user has such a name
}
