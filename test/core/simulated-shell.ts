// A shell with no processes: carries out commands in memory, ends attempts in a random order by a
// script, and holds the scheduler to everything that a real shell relies on. Each choice comes from
// a list, so a failing run shrinks; when the list is used up, choice 0 leads to the run's end.
import type { Command, Instance, RunEvent } from "../../agent/core/events.ts";
import { isSatisfied } from "../../agent/core/graph.ts";
import { RunState } from "../../agent/core/run-state.ts";
import type { Outcome, RunOutcome } from "../../protocol/outcome.ts";
import { documentOf, lateEvent, type RandomDag, type Script } from "./random-dag.ts";
import { capacityOf, lost, succeeded } from "./sample.ts";

interface Call {
  attempt: number;
  behind: Instance | undefined;
  /** It runs behind that one whatever becomes of it. */
  isFree: boolean;
  isStopped: boolean;
}

type StartAttempt = Extract<Command, { type: "start-attempt" }>;
type Check = (condition: boolean, message: string) => void;

const maxEvents = 3000;

export class SimulatedShell {
  readonly ends = new Map<Instance, Outcome>();
  runOutcome: RunOutcome | undefined;
  isCancelled = false;
  /** Queued calls that came back. */
  revocations = 0;
  /** Queued calls that another worker ran. */
  overtakings = 0;
  state: RunState;
  readonly #dag: RandomDag;
  readonly #choices: number[];
  readonly #check: Check;
  readonly #same: (a: unknown, b: unknown, message: string) => void;
  readonly #mayCancel: boolean;
  readonly #events: RunEvent[] = [];
  readonly #calls = new Map<Instance, Call>();
  readonly #evaluations = new Map<Instance, "when" | "map">();
  /** Attempts that began and ended, or are in flight; without those given back. */
  readonly #begun = new Map<Instance, number>();
  readonly #ownFailures = new Map<Instance, number>();
  #wakeAt: number | undefined;
  #now = 1000;
  #slots = 2;
  #isDraining = false;
  #isPublished = false;
  #drains = 0;
  #restarts = 0;
  #losses = 0;
  #cancels = 0;

  constructor(options: {
    dag: RandomDag;
    choices: readonly number[];
    mayCancel: boolean;
    check: Check;
    same: (a: unknown, b: unknown, message: string) => void;
  }) {
    this.#dag = options.dag;
    this.#choices = [...options.choices];
    this.#check = options.check;
    this.#same = options.same;
    this.#mayCancel = options.mayCancel;
    this.state = new RunState(documentOf(options.dag));
  }

  run(): void {
    if (this.#mayCancel && this.#pick(20) === 19) this.#cancel();
    this.#feed({ type: "run-started", now: this.#now, capacity: this.#capacity() });
    while (this.runOutcome === undefined) {
      this.#check(this.#events.length < maxEvents, "the run does not end");
      this.#step();
    }
    this.#check(this.state.phase === "finished", "the run has an outcome and goes on");
    this.#check(this.#calls.size === 0, "attempts are in flight after the end");
    this.#check(this.ends.size === this.state.instanceCount, "a task has no outcome");
    let begun = 0;
    for (const count of this.#begun.values()) begun += count;
    this.#check(begun === this.state.counts.attempts, "attempts are miscounted");
    this.#verifyReplay();
    this.#feed({ type: "time-passed", now: this.#now + 1e6 });
    this.#feed({ type: "cancel-requested", by: "user", now: this.#now });
    this.#feed({ type: "run-resumed", now: this.#now, capacity: this.#capacity() });
  }

  #pick(count: number): number {
    return (this.#choices.shift() ?? 0) % count;
  }

  #capacity() {
    return { ...capacityOf(this.#slots), lines: true as const };
  }

  // ---- one step: something happens ----

  #step(): void {
    const whim = this.#pick(40);
    if (whim === 39 && this.#mayCancel && this.#cancels < 2) this.#cancel();
    else if (whim === 38 && this.#restarts < 4) this.#restart();
    else if (whim === 37 && this.#drains < 4) this.#drain();
    else if (whim === 36) this.#publish();
    else if (whim === 35) this.#passTime(this.#now + this.#pick(25));
    else if (whim === 34) this.#sayStale();
    else if (whim === 33 && this.#isDraining) this.#resume();
    else if (whim > 27 && whim < 33) this.#revokeOne();
    else if (whim > 24 && whim < 28) this.#overtake();
    else this.#goOn();
  }

  #revokeOne(): void {
    const queued = [...this.#calls].filter(
      ([, { behind, isFree }]) => isFree && behind !== undefined,
    );
    const [instance, call] = queued[this.#pick(Math.max(1, queued.length))] ?? [];
    if (instance === undefined || call === undefined) this.#goOn();
    else {
      this.revocations += 1;
      this.#revoke(instance, call);
    }
  }

  /** Another worker runs a queued call before its turn comes. */
  #overtake(): void {
    const queued = [...this.#calls].filter(
      ([, { behind, isFree }]) => isFree && behind !== undefined,
    );
    const [instance, call] = queued[this.#pick(Math.max(1, queued.length))] ?? [];
    if (instance === undefined || call === undefined) {
      this.#goOn();
      return;
    }
    this.overtakings += 1;
    const outcome = this.#scripted(instance);
    this.#calls.delete(instance);
    this.#begun.set(instance, call.attempt);
    if (outcome.kind !== "succeeded") this.#dropBehind(instance);
    const next = this.#behind(instance)?.[1];
    if (next !== undefined) {
      next.behind = call.behind;
      next.isFree = true;
    }
    this.#feedEnd(instance, outcome, call.attempt);
  }

  #goOn(): void {
    const heads = [...this.#calls].filter(([, call]) => call.behind === undefined);
    const steps: (() => void)[] = [
      ...heads.map(
        ([instance, call]) =>
          () =>
            this.#end(instance, call),
      ),
      ...[...this.#evaluations].map(
        ([instance, what]) =>
          () =>
            this.#evaluate(instance, what),
      ),
    ];
    const step = steps[this.#pick(Math.max(1, steps.length))];
    if (step !== undefined) step();
    else if (this.#isDraining) this.#resume();
    else if (this.#wakeAt !== undefined && this.#pick(4) < 3) this.#passTime(this.#wakeAt);
    else if (!this.#isPublished) this.#publish();
    else {
      this.#check(this.#wakeAt !== undefined, "nothing is left to do and the run goes on");
      this.#passTime(this.#wakeAt ?? 0);
    }
  }

  #passTime(now: number): void {
    this.#now = Math.max(now, this.#now);
    this.#wakeAt = undefined;
    this.#feed({ type: "time-passed", now: this.#now });
  }

  #publish(): void {
    this.#isPublished = true;
    this.#feed({ type: "event-published", channel: lateEvent, now: this.#now });
  }

  #cancel(): void {
    this.#cancels += 1;
    this.isCancelled = true;
    this.#feed({ type: "cancel-requested", by: "user", now: this.#now });
  }

  #drain(): void {
    this.#drains += 1;
    this.#isDraining = true;
    this.#feed({ type: "drain-requested", now: this.#now });
  }

  #resume(): void {
    this.#isDraining = false;
    this.#slots = 1 + this.#pick(4);
    this.#wakeAt = undefined;
    this.#feed({ type: "run-resumed", now: this.#now, capacity: this.#capacity() });
  }

  /** The process dies: a new one replays the events, settles what was in flight, and goes on. */
  #restart(): void {
    this.#restarts += 1;
    this.#verifyReplay();
    const state = new RunState(documentOf(this.#dag));
    for (const event of this.#events) state.handle(structuredClone(event));
    this.state = state;
    this.#now += this.#pick(50);
    this.#calls.clear();
    this.#wakeAt = undefined;
    this.#evaluations.clear();
    const heads = state.inFlight();
    const isResumedFirst = this.#pick(2) === 0;
    for (const command of state.openEvaluations()) this.#carryOut(command);
    this.#feed({ type: "agent-restarted", now: this.#now });
    if (isResumedFirst) this.#resume();
    for (const task of heads) {
      this.#feedEnd(task, { kind: "failed", failure: lost }, state.attemptOf(task));
    }
    if (!isResumedFirst) this.#resume();
  }

  #verifyReplay(): void {
    const replayed = new RunState(documentOf(this.#dag));
    for (const event of this.#events) replayed.handle(structuredClone(event));
    this.#same(replayed.dump(), this.state.dump(), "a replay gives another state");
  }

  /** What a slow shell may still say of what is over. */
  #sayStale(): void {
    const [task, outcome] = [...this.ends][this.#pick(8)] ?? [];
    if (task === undefined || outcome === undefined) return;
    const now = this.#now;
    const kind = this.#pick(4);
    const failure = { reason: "bad-result", detail: "late" } as const;
    if (kind === 0) this.#feed({ type: "attempt-returned", task, attempt: 1, now });
    else if (kind === 1) this.#feed({ type: "when-evaluated", task, now, holds: true });
    else if (kind === 2) this.#feed({ type: "map-evaluated", task, now, items: 2 });
    else this.#feed({ type: "evaluation-failed", task, now, failure });
  }

  #evaluate(task: Instance, what: "when" | "map"): void {
    this.#evaluations.delete(task);
    const { when, items } = this.#scriptOf(task);
    const now = this.#now;
    if ((what === "when" && when === "fails") || (what === "map" && items === "fails")) {
      const failure = { reason: "bad-result", detail: "no" } as const;
      this.#feed({ type: "evaluation-failed", task, now, failure });
    } else if (what === "when") {
      this.#feed({ type: "when-evaluated", task, now, holds: when === "true" });
    } else {
      this.#feed({ type: "map-evaluated", task, now, items: items === "fails" ? 0 : items });
    }
  }

  #scriptOf(instance: Instance): Script {
    const script = this.#dag.scripts[this.state.taskIndexOf(instance)];
    if (script === undefined) throw new Error("no script");
    return script;
  }

  // ---- ends of attempts ----

  #end(instance: Instance, call: Call): void {
    const how = this.#pick(12);
    if (how === 11) {
      this.#giveBack(instance, call);
    } else if (how === 10 && this.#losses < 20) {
      this.#losses += 1;
      this.#finish(instance, call, { kind: "failed", failure: lost });
    } else if (call.isStopped && how < 8) {
      this.#finish(instance, call, { kind: "cancelled", by: "user" });
    } else {
      this.#finish(instance, call, this.#scripted(instance));
    }
  }

  #scripted(instance: Instance): Outcome {
    const item = this.state.itemOf(instance);
    const { fails } = this.#scriptOf(instance);
    const failures = item === undefined ? fails : (fails + item.index) % 4;
    const soFar = this.#ownFailures.get(instance) ?? 0;
    if (soFar >= failures) return succeeded;
    this.#ownFailures.set(instance, soFar + 1);
    return { kind: "failed", failure: { reason: "exit-code", code: 1 } };
  }

  #finish(instance: Instance, call: Call, outcome: Outcome): void {
    this.#calls.delete(instance);
    if (outcome.kind !== "succeeded") this.#dropBehind(instance);
    this.#promoteBehind(instance);
    this.#feedEnd(instance, outcome, call.attempt);
  }

  #feedEnd(task: Instance, outcome: Outcome, attempt: number): void {
    const random = this.#pick(10) / 10;
    // Mostly quick, so that calls are queued behind others; sometimes slow, sometimes not measured.
    const wallMs = this.#pick(8) === 7 ? 50 : 0.01;
    const event = { type: "attempt-finished", task, attempt, outcome, now: this.#now } as const;
    this.#feed(this.#pick(20) === 19 ? { ...event, random } : { ...event, random, wallMs });
  }

  #behind(instance: Instance): [Instance, Call] | undefined {
    return [...this.#calls].find(([, call]) => call.behind === instance);
  }

  #promoteBehind(instance: Instance): void {
    const [next, call] = this.#behind(instance) ?? [];
    if (next === undefined || call === undefined) return;
    call.behind = undefined;
    this.#begun.set(next, call.attempt);
  }

  /** What counts on the instance will not run; the first that does not takes its place. */
  #dropBehind(instance: Instance): Instance[] {
    const [next, call] = this.#behind(instance) ?? [];
    if (next === undefined || call === undefined) return [];
    if (call.isFree) return [];
    this.#calls.delete(next);
    const dropped = this.#dropBehind(next);
    // The first that does not count on it takes its place.
    const left = this.#behind(next)?.[1];
    if (left !== undefined) left.behind = instance;
    return [next, ...dropped];
  }

  /** The worker retires: the head comes back, and with it all that was handed out behind it. */
  #giveBack(instance: Instance, call: Call): void {
    this.#calls.delete(instance);
    this.#begun.set(instance, call.attempt - 1);
    const dropped: Instance[] = [];
    for (let [next] = this.#behind(instance) ?? []; next !== undefined; ) {
      dropped.push(next);
      const [after] = this.#behind(next) ?? [];
      this.#calls.delete(next);
      next = after;
    }
    const attempts = dropped.map((task) => this.state.attemptOf(task));
    const now = this.#now;
    this.#feed({ type: "attempt-returned", task: instance, attempt: call.attempt, now });
    dropped.forEach((task, i) => {
      // In the same turn, although the scheduler may have handed it out again by now.
      const attempt = attempts[i] ?? 0;
      this.#feed({ type: "attempt-returned", task, attempt, now });
    });
  }

  /** The head takes long: a queued call comes back, and what counts on it with it. */
  #revoke(instance: Instance, call: Call): void {
    const before = call.behind;
    this.#calls.delete(instance);
    let [next] = this.#behind(instance) ?? [];
    while (next !== undefined && this.#calls.get(next)?.isFree === false) {
      this.#calls.delete(next);
      [next] = this.#behind(next) ?? [];
    }
    const left = next === undefined ? undefined : this.#calls.get(next);
    if (left !== undefined) left.behind = before;
    const { attempt } = call;
    this.#feed({ type: "attempt-returned", task: instance, attempt, now: this.#now });
  }

  // ---- commands ----

  #feed(event: RunEvent): void {
    this.#events.push(structuredClone(event));
    const commands = this.state.handle(event);
    this.state.check();
    const before = [...this.#calls.keys()];
    for (const command of commands) this.#carryOut(command);
    this.#checkRanks(commands, before);
    this.#giveBackStopped(commands);
  }

  #carryOut(command: Command): void {
    switch (command.type) {
      case "start-attempt":
        this.#start(command);
        break;
      case "stop-attempt": {
        const call = this.#calls.get(command.task);
        // After a restart: an attempt that is about to be settled as lost.
        if (call === undefined) break;
        this.#check(call.attempt === command.attempt, "another attempt is told to stop");
        call.isStopped = true;
        break;
      }
      case "evaluate-when":
      case "evaluate-map":
        this.#check(!this.#evaluations.has(command.task), "an evaluation is asked for twice");
        this.#evaluations.set(command.task, command.type === "evaluate-when" ? "when" : "map");
        break;
      case "finish-task":
        this.#check(!this.ends.has(command.task), "a task ends twice");
        this.#check(
          !this.#calls.has(command.task) || this.#isGone(command),
          "it ends while it runs",
        );
        this.ends.set(command.task, command.outcome);
        this.#evaluations.delete(command.task);
        break;
      case "announce-retry":
        this.#check(command.at >= this.#now, "a retry in the past");
        break;
      case "wake-at":
        this.#wakeAt = command.at;
        break;
      case "finish-run":
        this.#check(this.runOutcome === undefined, "the run ends twice");
        this.runOutcome = command.outcome;
        break;
      case "report-drained":
        this.#check(this.#isDraining, "nobody asked for a drain");
        this.#check(this.#calls.size === 0, "drained, and attempts are in flight");
        break;
    }
  }

  /** A stopped attempt behind one that did not succeed ends with it. */
  #isGone(command: Extract<Command, { type: "finish-task" }>): boolean {
    const call = this.#calls.get(command.task);
    return call?.isStopped === true && command.outcome.kind === "cancelled";
  }

  #start({ task, attempt, behind, isFree }: StartAttempt): void {
    const key = `${this.state.keyOf(task)}#${attempt}`;
    this.#check(!this.#isDraining, `${key} starts while the run drains`);
    this.#check(!this.#calls.has(task), `${key} starts twice`);
    this.#check(!this.ends.has(task), `${key} starts after its end`);
    this.#check(attempt === (this.#begun.get(task) ?? 0) + 1, `${key} has a wrong number`);
    this.#check(behind === undefined || this.#calls.has(behind), `${key} is behind nothing`);
    this.#checkNeeds(task, isFree === true ? undefined : behind);
    this.#calls.set(task, { attempt, behind, isFree: isFree === true, isStopped: false });
    if (behind === undefined) {
      this.#begun.set(task, attempt);
      this.#checkRoom(task);
    }
  }

  #checkNeeds(task: Instance, behind: Instance | undefined): void {
    const { graph } = this.state;
    const owner = this.state.taskIndexOf(task);
    const key = this.state.keyOf(task);
    for (let i = 0; i < graph.size; i += 1) {
      if (graph.isExit[owner] === 1 && graph.isExit[i] === 0) {
        this.#check(this.ends.has(i), `${key} starts before ${graph.ids[i]} has ended`);
      }
      for (let e = graph.rows[i] ?? 0; e < (graph.rows[i + 1] ?? 0); e += 1) {
        if (graph.targets[e] !== owner || i === behind) continue;
        const { kind } = this.ends.get(i) ?? {};
        const isMet = kind !== undefined && isSatisfied(graph.conditions[e] ?? 0, kind);
        // The one before may have succeeded in this very turn.
        this.#check(isMet, `${key} starts although ${graph.ids[i]} ${kind ?? "has not ended"}`);
      }
    }
  }

  #checkRoom(started: Instance): void {
    const { state } = this;
    const heads = state.inFlight();
    const { concurrency = 99 } = state.document.attributes;
    const key = state.keyOf(started);
    this.#check(heads.length <= Math.min(this.#slots, concurrency), `no slot for ${key}`);
    const count = (isOne: (head: Instance) => boolean) => heads.filter(isOne).length;
    const { pool, mapConcurrency, resources } = state.taskOf(started);
    const { pools = {} } = state.document.attributes;
    if (pool !== undefined) {
      const held = count((head) => state.taskOf(head).pool === pool);
      this.#check(held <= (pools[pool] ?? 0), `no place in ${pool} for ${key}`);
    }
    if (mapConcurrency !== undefined) {
      const parent = state.taskIndexOf(started);
      const held = count((head) => state.taskIndexOf(head) === parent);
      this.#check(held <= mapConcurrency, `too many items beside ${key}`);
    }
    if (resources?.cpu !== undefined) {
      const cpu = heads.reduce((sum, head) => sum + (state.taskOf(head).resources?.cpu ?? 0), 0);
      this.#check(cpu <= 4 + 1e-2, `no cpu for ${key}`);
    }
  }

  /** Nothing that still waits for just a slot may rank above what has got one. */
  #checkRanks(commands: readonly Command[], before: readonly Instance[]): void {
    const { state } = this;
    const isFree = (i: Instance) => {
      const { pool, resources, mapConcurrency } = state.taskOf(i);
      return pool === undefined && resources === undefined && mapConcurrency === undefined;
    };
    const rank = (i: Instance) => {
      const remaining = state.graph.remaining[state.taskIndexOf(i)] ?? 0;
      return [state.taskOf(i).priority, remaining, -i];
    };
    const waiting = Array.from({ length: state.instanceCount }, (_, i) => i).filter(
      (i) => state.stateOf(i).id === "ready" && isFree(i),
    );
    for (const command of commands) {
      if (command.type !== "start-attempt" || before.includes(command.task)) continue;
      for (const other of waiting) {
        const isFair =
          command.behind === undefined ? compare(rank(command.task), rank(other)) > 0 : true;
        this.#check(isFair, `${state.keyOf(command.task)} overtakes ${state.keyOf(other)}`);
      }
    }
  }

  /** What was told to stop before it began: some shells give it back at once. */
  #giveBackStopped(commands: readonly Command[]): void {
    for (const command of commands) {
      if (command.type !== "stop-attempt") continue;
      const call = this.#calls.get(command.task);
      if (call?.behind === undefined || this.#pick(2) === 1) continue;
      const next = this.#behind(command.task)?.[1];
      if (next !== undefined) next.behind = call.behind;
      this.#calls.delete(command.task);
      const { task, attempt } = command;
      this.#feed({ type: "attempt-returned", task, attempt, now: this.#now });
    }
  }
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < a.length; i += 1) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
