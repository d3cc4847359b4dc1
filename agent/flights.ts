// The attempts of a run that are in flight, and those that are held back until what they stand
// behind is over. Carries out starts and stops; every end becomes an event exactly once.
import { crashPoint } from "../protocol/crash-points.ts";
import type { AttemptFactory } from "./attempt-factory.ts";
import type { Command, Instance } from "./core/events.ts";
import type { RunState } from "./core/run-state.ts";
import type { Attempt, AttemptEnd, AttemptSpec, Executor, Orphan } from "./exec/attempt.ts";
import type { StreamBytes } from "./exec/launcher/process.ts";
import type { Gpus } from "./gpus.ts";
import type { Holding } from "./holding.ts";
import { type FlightKeeper, InFlight, type Output } from "./in-flight.ts";
import type { AttemptFinished, JournaledEvent } from "./journaled-event.ts";
import type { RunLog } from "./log/run-log.ts";
import type { RunFigures } from "./run-figures.ts";
import { noFacts } from "./run-report.ts";
import { dropOutputs, publishOutputs } from "./sandbox-outputs.ts";
import type { Mask } from "./secrets/mask.ts";

export type StartAttempt = Extract<Command, { type: "start-attempt" }>;
export type StopAttempt = Extract<Command, { type: "stop-attempt" }>;

export interface FlightsOptions {
  /** Present where processes are to outlive this agent. */
  holding: Holding;
  /** New ones are; what was taken over is in any case. */
  holds: boolean;
  state: RunState;
  factory: AttemptFactory;
  executor: Executor;
  log: RunLog;
  gpus: Gpus;
  /** Of a run with secrets. */
  mask: Mask | undefined;
  /** The run's working folder. */
  work: string;
  figures: RunFigures;
  /** Unix milliseconds that never jump. */
  now(): number;
  random(): number;
  post(event: JournaledEvent): void;
  /** It runs now, or (`isOver`) has run: its end follows at once. */
  started(task: string, attempt: number, isOver: boolean): void;
  /** It has written something. */
  wrote(): void;
}

export class Flights {
  readonly #options: FlightsOptions;
  readonly #inFlight = new Map<Instance, InFlight>();
  /** Entries whose end is on its way through the inbox. */
  readonly #ends = new Map<Instance, InFlight>();
  /** Started since this was set to 0, which is up to who sends them off. */
  unsent = 0;

  readonly #keeper: FlightKeeper = {
    // Not when it is sent off: it may wait behind others, and come back without having begun.
    started: ({ instance, number }, isOver) =>
      this.#options.started(this.#options.state.keyOf(instance), number, isOver),
    output: (entry, stream, bytes) => {
      const { state, log, wrote } = this.#options;
      entry[stream] ??= this.#output(log.stream(state.keyOf(entry.instance), entry.number, stream));
      entry[stream].write(bytes);
      wrote();
    },
    ended: (entry, end) => this.#settle(entry, end),
  };
  /** The call of a task that is still in flight. */
  readonly #callOf = (task: string) => {
    const { indexOf } = this.#options.state.graph;
    return this.#inFlight.get(indexOf.get(task) ?? -1)?.attempt?.call;
  };

  constructor(options: FlightsOptions) {
    this.#options = options;
  }

  /** Keys of the tasks that run now, with their attempt. */
  running(): { task: string; attempt: number }[] {
    const { state } = this.#options;
    return [...this.#inFlight.values()]
      .filter(({ instance }) => !["handed", "queued"].includes(state.stateOf(instance).id))
      .map((entry) => ({ task: state.keyOf(entry.instance), attempt: entry.number }));
  }

  /** `cause`: when that ended which made it possible; Unix milliseconds with fractions. */
  start(command: StartAttempt, cause: number | undefined): void {
    const { task, behind } = command;
    const entry = new InFlight(this.#keeper, command, cause);
    this.#inFlight.set(task, entry);
    // The one before may have ended already, with its end still in the inbox: held until then.
    const head =
      behind === undefined ? undefined : (this.#inFlight.get(behind) ?? this.#ends.get(behind));
    const isBehindEnded = behind !== undefined && this.#ends.has(behind);
    if (head !== undefined) {
      head.next = entry;
      entry.before = head;
    }
    // Held here while what it needs cannot be told to the worker as a reference.
    if (behind === undefined) this.#execute(entry);
    else if (head?.attempt !== undefined && !isBehindEnded) this.#follow(entry, head.attempt);
  }

  /** Goes on with what an earlier agent has started. */
  adopt(instance: Instance, number: number, orphan: Orphan): void {
    const { factory, executor, holding } = this.#options;
    const entry = new InFlight(this.#keeper, { task: instance, attempt: number }, undefined);
    this.#inFlight.set(instance, entry);
    const spec = factory.adopted(instance, number);
    entry.attempt = executor.adopt(spec, orphan, holding.note, entry);
    this.#hold(entry, orphan.from);
  }

  stop({ task, by }: StopAttempt): void {
    const entry = this.#inFlight.get(task);
    if (entry === undefined) return;
    entry.stoppedBy = by;
    if (entry.attempt === undefined) this.#giveBack(entry);
    else entry.attempt.stop(this.#options.state.taskOf(task).graceMs);
  }

  /** What was handed out behind an instance that is over: started now, or forgotten. */
  release(instance: Instance): void {
    const ended = this.#ends.get(instance);
    this.#ends.delete(instance);
    const { state } = this.#options;
    let before = ended;
    for (let entry = ended?.next; entry !== undefined; before = entry, entry = entry.next) {
      const { id } = state.stateOf(entry.instance);
      const isCurrent = this.#inFlight.get(entry.instance) === entry;
      if (!isCurrent) continue;
      if (id !== "running" && id !== "handed" && id !== "queued" && id !== "stopping") {
        this.#inFlight.delete(entry.instance); // taken back
        continue;
      }
      if (entry.attempt !== undefined) continue;
      if (id === "stopping") this.#giveBack(entry);
      else if (before === ended) this.#execute(entry);
      else if (before?.attempt !== undefined) this.#follow(entry, before.attempt);
    }
  }

  /** Kills everything, but what is left to the next agent; nothing more is told of it. */
  abandon({ isLeft }: { isLeft: boolean }): void {
    const { holding } = this.#options;
    for (const entry of this.#inFlight.values()) {
      const { attempt, flight } = entry;
      if (!isLeft || flight === undefined || !holding.has(flight)) attempt?.stop(0);
      // What a mask holds back belongs into the log as well.
      entry.stdout?.end();
      entry.stderr?.end();
      entry.cleanUp?.();
    }
    this.#inFlight.clear();
  }

  /**
   * Handed over behind one that has not ended, when it takes nothing of it but by reference. Else it
   * waits here for that end; or, free as it is, comes back at once.
   */
  #follow(entry: InFlight, before: Attempt): void {
    const isPossible = before.call !== undefined || before.line !== undefined;
    if (isPossible && (entry.isFree || this.#options.factory.plan(entry.instance).isDeferrable)) {
      this.#execute(entry, before);
    } else if (entry.isFree) {
      this.#giveBack(entry);
    }
  }

  #execute(entry: InFlight, behind?: Attempt): void {
    const { factory, state, executor, gpus } = this.#options;
    const { instance, number } = entry;
    const { gpu = 0 } = state.taskOf(instance).resources ?? {};
    entry.gpu = gpus.count === 0 ? undefined : gpus.take(gpu);
    // A node with GPUs shows each task its own, and no GPU to those that ask for none.
    if (gpus.count > 0 && gpu > 0 && entry.gpu === undefined) {
      const detail = `the free shares of GPUs are spread: none has room for ${gpu}`;
      const failure = { reason: "backend", backend: "local", detail } as const;
      this.#ended(entry, { outcome: { kind: "failed", failure }, facts: noFacts });
      return;
    }
    const visible = gpus.count === 0 ? undefined : (entry.gpu?.visible ?? "");
    const made = factory.make(instance, number, this.#callOf, visible);
    if (!made.ok && behind !== undefined && !entry.isFree) {
      // It has not begun, and cannot fail before that: it is tried again when its turn has come.
      entry.gpu?.release();
      entry.gpu = undefined;
      return;
    }
    if (!made.ok) {
      this.#ended(entry, { outcome: { kind: "failed", failure: made.failure }, facts: noFacts });
      return;
    }
    entry.cleanUp = made.cleanUp;
    if (made.spec.kind === "process" && this.#mayBeHeld(gpu)) {
      const held = this.#options.holding.mark(state.keyOf(instance), number);
      if (held !== undefined) made.spec.process.held = held;
    }
    if (behind?.line !== undefined && !this.#isLikeHeld(made.spec, behind)) {
      entry.cleanUp?.();
      entry.cleanUp = undefined;
      if (entry.isFree) this.#giveBack(entry);
      return;
    }
    crashPoint("agent.attempt-dispatch");
    this.unsent += 1;
    entry.attempt = executor.start(
      made.spec,
      entry,
      behind === undefined ? undefined : { attempt: behind, isCondition: !entry.isFree },
    );
    crashPoint("agent.attempt-dispatched");
    this.#hold(entry, [0, 0]);
  }

  /**
   * Which shares of GPUs it has the next agent would not know; and where secrets are masked, the log
   * does not tell how many bytes of the output it has.
   */
  #mayBeHeld(gpu: number): boolean {
    const { holds, mask } = this.#options;
    return holds && gpu === 0 && mask === undefined;
  }

  /** What outlives the agent has a launcher of its own. */
  #isLikeHeld(spec: AttemptSpec, before: Attempt): boolean {
    const isHeld = spec.kind === "process" && spec.process.held !== undefined;
    return isHeld === (before.held !== undefined);
  }

  #hold(entry: InFlight, from: StreamBytes): void {
    const held = entry.attempt?.held;
    if (held === undefined) return;
    entry.flight = { held, from, streams: entry };
    this.#options.holding.begin(entry.flight);
  }

  /** Masked before it is cut into lines. */
  #output(log: Output): Output {
    const { mask } = this.#options;
    if (mask === undefined) return log;
    const stream = mask.stream((bytes) => {
      log.write(bytes);
      this.#options.wrote();
    });
    return {
      write: (bytes) => stream.write(bytes),
      end: () => {
        stream.end();
        log.end();
      },
    };
  }

  /** A large result that holds a secret is rewritten before anybody hears of it. */
  #settle(entry: InFlight, end: AttemptEnd | "returned"): void {
    const { mask } = this.#options;
    const file = end === "returned" ? undefined : end.file;
    if (mask === undefined || end === "returned" || file === undefined) {
      this.#settleOutputs(entry, end);
      return;
    }
    mask.file(file.path).then(
      (sizeBytes) => {
        const clean = sizeBytes === undefined ? file : { ...file, sizeBytes };
        this.#settleOutputs(entry, { ...end, file: clean });
      },
      (error: unknown) => {
        const detail = `the result cannot be looked at for secrets: ${String(error)}`;
        const { file: _, ...others } = end;
        const outcome = { kind: "failed", failure: { reason: "bad-result", detail } } as const;
        this.#settleOutputs(entry, { ...others, outcome });
      },
    );
  }

  /** What a sandbox left is in the working folder before the next task hears of the end. */
  #settleOutputs(entry: InFlight, end: AttemptEnd | "returned"): void {
    const outputs = end === "returned" ? undefined : end.outputs;
    if (end === "returned" || outputs === undefined) {
      this.#ended(entry, end);
      return;
    }
    const { state, log, work, mask } = this.#options;
    const key = state.keyOf(entry.instance);
    const settle = async () => {
      if (end.outcome.kind !== "succeeded") {
        await dropOutputs(outputs.artifacts);
        return;
      }
      const lost = await publishOutputs(work, outputs.artifacts);
      const named = outputs.artifacts
        .filter(({ path }) => mask?.hasSecret(path) === true)
        .map(({ path }) => ({ path, why: "its name holds a secret" }));
      lost.push(...named);
      for (const { path, why } of [...outputs.refused, ...lost]) {
        log.agent("warn", `${key}: ${JSON.stringify(path)} was not kept: ${why}`);
      }
      const isLost = new Set(lost.map(({ path }) => path));
      entry.artifacts = outputs.artifacts.map(({ path }) => path).filter((p) => !isLost.has(p));
    };
    settle().then(
      () => this.#ended(entry, end),
      (error: unknown) => {
        const failure = { reason: "internal", detail: String(error) } as const;
        this.#ended(entry, { ...end, outcome: { kind: "failed", failure } });
      },
    );
  }

  #ended(entry: InFlight, end: AttemptEnd | "returned"): void {
    const { instance, number } = entry;
    crashPoint("agent.attempt-end");
    entry.gpu?.release();
    entry.stdout?.end();
    entry.stderr?.end();
    entry.cleanUp?.();
    entry.cleanUp = undefined;
    if (entry.flight !== undefined) this.#options.holding.ended(entry.flight);
    // Taken back by the scheduler in the meantime: what a worker says of it no longer matters.
    if (this.#inFlight.get(instance) !== entry) return;
    if (end === "returned" && this.#options.state.stateOf(instance).id === "handed") {
      // Still behind a task whose end the scheduler has not seen: held until then.
      entry.attempt = undefined;
      return;
    }
    this.#inFlight.delete(instance);
    const { now, random, post } = this.#options;
    this.#ends.set(instance, entry);
    if (end === "returned") {
      post({ type: "attempt-returned", task: instance, attempt: number, now: now() });
      return;
    }
    const { mask } = this.#options;
    const { facts, file } = end;
    const outcome = mask === undefined ? end.outcome : mask.outcome(end.outcome);
    const result =
      mask === undefined || end.result === undefined ? end.result : mask.json(end.result);
    const by = entry.stoppedBy;
    const { startedAt, wallMs } = facts;
    const { figures } = this.#options;
    if (wallMs !== undefined) figures.addAttempt(wallMs);
    if (startedAt !== undefined) {
      if (wallMs !== undefined) entry.endedAt = startedAt + wallMs;
      const cause = entry.before?.endedAt ?? entry.cause;
      if (cause !== undefined) figures.gaps.add(Math.max(0, startedAt - cause));
      entry.before = undefined; // else a chain would keep all of itself in memory
    }
    const event: AttemptFinished = {
      type: "attempt-finished",
      task: instance,
      attempt: number,
      outcome:
        outcome.kind === "cancelled" && by !== undefined ? { kind: "cancelled", by } : outcome,
      now: now(),
      random: outcome.kind === "failed" ? random() : 0,
      facts,
    };
    if (wallMs !== undefined) event.wallMs = wallMs;
    if (result !== undefined) event.result = result;
    if (file !== undefined) event.file = file;
    if (entry.artifacts !== undefined) event.artifacts = entry.artifacts;
    post(event);
  }

  #giveBack(entry: InFlight): void {
    this.#ended(entry, "returned");
  }
}
