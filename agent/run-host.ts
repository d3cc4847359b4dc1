// The shell of one run: feeds events to the scheduler in turns, carries out its commands, and sees
// to it that log, journal and report follow in the same turn, off the path from one task to the
// next. Decides nothing that the scheduler could decide.
import { setImmediate as nextTurn } from "node:timers/promises";
import { crashPoint } from "../protocol/crash-points.ts";
import { describeRun } from "../protocol/describe.ts";
import type { LogLevel } from "../protocol/log.ts";
import type { CancelledBy, Failure, RunOutcome } from "../protocol/outcome.ts";
import type { Command, Instance } from "./core/events.ts";
import type { RunState } from "./core/run-state.ts";
import type { Orphan } from "./exec/attempt.ts";
import { Flights } from "./flights.ts";
import { Holding } from "./holding.ts";
import {
  type AttemptFinished,
  isForScheduler,
  type JournaledEvent,
  type KeptObject,
} from "./journaled-event.ts";
import { LogFlush } from "./log-flush.ts";
import { OnlyOnce } from "./only-once.ts";
import { RunClosing } from "./run-closing.ts";
import { RunFigures } from "./run-figures.ts";
import type { RunHostOptions } from "./run-host-options.ts";
import type { RunChannel } from "./run-observer.ts";
import { noFacts } from "./run-report.ts";
import { RunTelling } from "./run-telling.ts";
import { readTaskMessage } from "./task-messages.ts";

/** Attempts that are handed over in one piece. */
const sentAtOnce = 16;
/** A longer timer of Node.js ends at once. */
export const longestTimerMs = 2 ** 31 - 1;

export class RunHost {
  readonly #options: RunHostOptions;
  readonly #flights: Flights;
  readonly #holding: Holding;
  readonly #telling: RunTelling;
  readonly #flush: LogFlush;
  readonly #closing: RunClosing;
  readonly #onlyOnce: OnlyOnce;
  readonly #drained = Promise.withResolvers<void>();
  #inbox: JournaledEvent[] = [];
  #isScheduled = false;
  #channel: RunChannel | undefined;
  #cause: number | undefined;
  /** This turn gives something to a worker that had nothing. */
  #feedsIdle = false;
  #wake: NodeJS.Timeout | undefined;
  #deadline: NodeJS.Timeout | undefined;
  #startedAt: number;
  readonly #figures: RunFigures;
  #saidWrong = 0;
  #isBegun = false;
  #isHeldBack = false;
  #earlyCancel: CancelledBy | undefined;
  #isOver = false;

  constructor(options: RunHostOptions) {
    this.#options = options;
    this.#startedAt = options.now();
    this.#figures = new RunFigures(options.sentBytes);
    const { state, factory, executor, log, gpus, mask, work, now, random, holds } = options;
    const { report, observer } = options;
    this.#telling = new RunTelling({
      state,
      report,
      observer,
      line: (level, text) => this.#line(level, text),
      publish: (key, what) => this.#publish(key, what),
    });
    this.#holding = new Holding(options, () => log.position);
    const { commit, logStuck, whenKept } = options;
    this.#flush = new LogFlush({
      log: options.log,
      holding: this.#holding,
      commit,
      logStuck,
      whenKept,
    });
    this.#closing = new RunClosing(options, this.#flush);
    this.#onlyOnce = new OnlyOnce({
      commitForGood: () => {
        this.#flush.now();
        return options.commitForGood();
      },
      begin: (command, cause) => this.#flights.start(command, cause),
      takenBack: ({ task, attempt }) =>
        this.#post({ type: "attempt-returned", task, attempt, now: now() }),
      again: () => this.#schedule(),
    });
    this.#flights = new Flights({
      holding: this.#holding,
      holds,
      state,
      factory,
      executor,
      log,
      gpus,
      mask,
      work,
      figures: this.#figures,
      now,
      random,
      post: (event) => this.#postKept(event),
      started: (task, attempt, isOver) => {
        if (!this.#isOver) this.#telling.attemptStarted(task, attempt, isOver);
      },
      wrote: () => this.#flushSoon(),
    });
  }

  /** How many attempts would outlive this agent now. */
  get held(): number {
    return this.#holding.size;
  }

  get run(): string {
    return this.#options.run;
  }

  get state(): RunState {
    return this.#options.state;
  }

  /** Keys of the tasks that run now, with their attempt. */
  running(): { task: string; attempt: number }[] {
    return this.#flights.running();
  }

  /** Tasks reach the agent through this channel; it is closed when the run ends. */
  connect(channel: RunChannel): void {
    this.#channel = channel;
  }

  start(): void {
    if (this.#isHeldBack || this.#isOver) return;
    this.#isBegun = true;
    const { state, report, digest, params, capacity, now } = this.#options;
    const { dag } = state.document.attributes;
    report.runStarted({ dag, digest, tasks: state.graph.size, params });
    this.#line("info", `run ${this.run} of ${dag} started: ${state.graph.size} tasks`);
    this.#armDeadline();
    // First: nothing of it may start.
    if (this.#earlyCancel !== undefined) this.cancel(this.#earlyCancel);
    this.#post({ type: "run-started", now: now(), capacity });
  }

  /** Rebuilds the state from the events of an earlier agent and goes on from there. */
  async resume(events: readonly JournaledEvent[], startedAt: number): Promise<void> {
    if (this.#isHeldBack || this.#isOver) return;
    const { state, results, report, capacity, now, random, orphans } = this.#options;
    this.#startedAt = startedAt;
    for (const event of events) {
      if (event.type === "cancel-asked") this.#earlyCancel ??= event.by;
      if (!isForScheduler(event)) continue;
      this.#keepResult(event);
      state.handle(event);
    }
    const inFlight = state.phase === "tasks" || state.phase === "exit" ? state.inFlight() : [];
    const names = inFlight.map((i) => ({ task: state.keyOf(i), attempt: state.attemptOf(i) }));
    // Before anything starts: what is dropped may be an attempt that comes again.
    const adopted = orphans.isEmpty ? undefined : await orphans.sort(names);
    if (this.#isHeldBack || this.#isOver) return;
    if (state.phase === "new") {
      this.start();
      return;
    }
    this.#isBegun = true;
    // The agent may have ended between the end of an attempt and the record of its files.
    for (const event of events) {
      if (event.type === "attempt-finished") this.#telling.keepFiles(event);
      else if (event.type === "artifact-named") {
        report.addArtifact(event.task, event.attempt, event);
      }
    }
    if (state.phase === "finished") {
      this.#line("warn", "the agent ended after the last task and before the run was closed");
      void this.#finish(state.outcomeSoFar);
      return;
    }
    if (state.cancelledBy === undefined) this.#armDeadline();
    if (this.#earlyCancel !== undefined) this.cancel(this.#earlyCancel);
    // Resumed first: nothing may start under the capacity of the earlier agent.
    this.#post({ type: "run-resumed", now: now(), capacity });
    this.#post({ type: "agent-restarted", now: now() });
    for (const instance of state.inFlight()) {
      const task = state.keyOf(instance);
      const attempt = state.attemptOf(instance);
      const orphan = adopted?.get(`${task}#${attempt}`);
      if (orphan !== undefined) {
        this.#adopt(instance, attempt, orphan);
        continue;
      }
      this.#line("warn", `${task}#${attempt} was lost with the agent`);
      this.#post({
        type: "attempt-finished",
        task: instance,
        attempt,
        outcome: { kind: "failed", failure: { reason: "lost", detail: "the agent ended" } },
        now: now(),
        random: random(),
      });
    }
    this.#line("info", `run ${this.run} goes on: ${results.size} results are kept`);
    for (const command of state.openEvaluations()) this.#carryOut(command);
    crashPoint("agent.run-resumed");
  }

  #adopt(instance: Instance, attempt: number, orphan: Orphan): void {
    const { state, report, now } = this.#options;
    const task = state.keyOf(instance);
    this.#line("info", `${task}#${attempt} goes on: it has outlived the agent`);
    report.attemptGoesOn(task, attempt);
    this.#post({ type: "attempt-adopted", task: instance, attempt, now: now() });
    this.#flights.adopt(instance, attempt, orphan);
    const was = state.stateOf(instance);
    // That it was to end the earlier agent may not have said any more.
    if (was.id === "stopping") {
      this.#flights.stop({ type: "stop-attempt", task: instance, attempt, by: was.by });
    }
  }

  /**
   * A task has come to the run's store, which ends with this agent: what may be its process must
   * not go on with the next one, whose store is empty.
   */
  storeReached(): void {
    this.#holding.letGo();
    this.#options.executor.flush();
  }

  cancel(by: CancelledBy): void {
    if (this.#isOver || this.state.phase === "finished") return;
    if (!this.#isBegun) {
      if (this.#earlyCancel !== undefined) return;
      this.#earlyCancel = by;
      this.#options.journal.append(this.run, [{ type: "cancel-asked", by }]);
      this.#options.commit();
      return;
    }
    this.#line("warn", `the run is cancelled by ${by}`);
    this.#post({ type: "cancel-requested", by, now: this.#options.now() });
  }

  /** Resolves when nothing runs any more; the run stays open in the journal. */
  async drain(): Promise<void> {
    if (this.#isOver) return;
    if (!this.#isBegun) {
      // It begins with the next agent.
      this.#isHeldBack = true;
      return;
    }
    this.#post({ type: "drain-requested", now: this.#options.now() });
    await this.#drained.promise;
  }

  /**
   * Ends every attempt at once, without an outcome: they are settled as lost after a restart.
   * `isLeft`: but those that may outlive this agent, which the next one goes on with.
   */
  abandon(why?: string, { isLeft = false } = {}): void {
    if (why !== undefined) this.#options.log.agent("fatal", `a bug of edgedag ended it: ${why}`);
    this.#isOver = true;
    this.#closing.isAbandoned = true;
    clearTimeout(this.#wake);
    this.#flush.stop();
    clearTimeout(this.#deadline);
    this.#onlyOnce.close();
    this.#flights.abandon({ isLeft });
    this.#options.log.close();
    this.#channel?.close().catch(() => {
      // Its thread is gone: so is the store.
    });
    this.#drained.resolve();
  }

  /** Something is to be written that no event tells of. */
  outputWaits(): void {
    this.#flushSoon();
  }

  /** A publication by a task on the run's store. */
  published(channel: string, message: string): void {
    if (this.#isOver) return;
    const { log, journal, report, observer, now, state, mask } = this.#options;
    if (state.isWanted(channel)) this.#post({ type: "event-published", channel, now: now() });
    const read = readTaskMessage(channel, message);
    if (read === undefined) return;
    if (typeof read === "string") {
      this.#saidWrong += 1;
      if (this.#saidWrong <= 10) this.#line("warn", read);
    } else if (read.type === "log") {
      const { type, ...line } = read;
      log.task(line);
    } else if (read.type === "progress") {
      if (mask !== undefined && read.text !== undefined) read.text = mask.text(read.text);
      report.progress(read.task, read.attempt, read);
      observer.progress?.(read.task, read.fraction, read.text);
    } else if (mask?.hasSecret(`${read.name ?? ""}\n${read.path}`) === true) {
      this.#line("warn", `${read.task}: an artifact was not kept: its name holds a secret`);
    } else {
      const { type, ...artifact } = read;
      journal.append(this.run, [{ type: "artifact-named", ...artifact }]);
      report.addArtifact(read.task, read.attempt, read);
    }
    this.#flushSoon();
  }

  /** An object is on record: noted in the same commit, so that it is not recorded again. */
  objectKept(key: string, object: KeptObject): void {
    this.#options.journal.append(this.run, [{ type: "object-kept", key, object }]);
    this.#flushSoon();
  }

  // ---- turns ----

  /** A large result lies in shared memory, which a loss of power empties: its copy comes first then. */
  #postKept(event: JournaledEvent): void {
    const { keepsFilesFirst, report, state } = this.#options;
    if (!keepsFilesFirst || event.type !== "attempt-finished" || event.file === undefined) {
      this.#post(event);
      return;
    }
    const { task, attempt, file } = event;
    void report.keepFirst(state.keyOf(task), attempt, file).then(() => this.#post(event));
  }

  #post(event: JournaledEvent): void {
    if (this.#isOver) return;
    this.#inbox.push(event);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isOver) return;
    this.#isScheduled = true;
    // A microtask: everything that one read from a socket brings is one turn.
    queueMicrotask(() => this.#turn());
  }

  #turn(): void {
    const { journal, commit } = this.#options;
    const events: JournaledEvent[] = [];
    const startedAt = performance.now();
    this.#cause = undefined;
    this.#feedsIdle = false;
    try {
      for (let event = this.#inbox.shift(); event !== undefined; event = this.#inbox.shift()) {
        events.push(event);
        this.#handle(event);
      }
      if (events.length > 0) journal.append(this.run, events);
      this.#flush.addSettled(this.#holding.takeSettled());
      this.#onlyOnce.begin();
      this.#sendOff();
      crashPoint("agent.turn-flushed");
      this.#flush.now();
      crashPoint("agent.log-written");
      commit();
    } catch (error) {
      this.#isOver = true;
      this.#options.broken(error);
    } finally {
      this.#isScheduled = false;
      // What began at the end of this one may have ended already.
      if (this.#inbox.length > 0) this.#schedule();
      this.#figures.addTurn(performance.now() - startedAt);
    }
  }

  #sendOff(): void {
    this.#flights.unsent = 0;
    this.#options.executor.flush();
  }

  #handle(event: JournaledEvent): void {
    if (!isForScheduler(event)) return;
    const { state } = this.#options;
    if (event.type === "attempt-finished") {
      this.#keepResult(event);
      this.#noteCause(event);
    }
    const commands = state.handle(event);
    if (event.type === "attempt-finished") this.#telling.attemptFinished(event, commands);
    for (const command of commands) this.#carryOut(command);
    if (event.type === "attempt-finished" || event.type === "attempt-returned") {
      this.#flights.release(event.task);
    }
  }

  #keepResult(event: JournaledEvent): void {
    if (event.type !== "attempt-finished") return;
    const { results } = this.#options;
    if (event.file !== undefined) results.set(event.task, { file: event.file });
    else if (event.result !== undefined) results.set(event.task, { value: event.result });
  }

  #noteCause(event: AttemptFinished): void {
    const { startedAt, wallMs } = event.facts ?? noFacts;
    const endedAt =
      startedAt === undefined || wallMs === undefined ? event.now : startedAt + wallMs;
    if (this.#cause === undefined || endedAt > this.#cause) this.#cause = endedAt;
  }

  #carryOut(command: Command): void {
    const { factory, now } = this.#options;
    switch (command.type) {
      case "start-attempt":
        if (this.state.taskOf(command.task).retries.lost === 0) {
          this.#onlyOnce.add(command, this.#cause);
          break;
        }
        this.#flights.start(command, this.#cause);
        // Many at once: a worker that was idle begins with the first while the others are prepared.
        if (command.behind === undefined) this.#feedsIdle = true;
        if (this.#feedsIdle && this.#flights.unsent >= sentAtOnce) this.#sendOff();
        break;
      case "stop-attempt":
        if (!this.#onlyOnce.stop(command)) this.#flights.stop(command);
        break;
      case "evaluate-when": {
        const { task } = command;
        const holds = factory.evaluateWhen(task);
        if (holds.ok) this.#post({ type: "when-evaluated", task, now: now(), holds: holds.value });
        else this.#evaluationFailed(task, `when: ${holds.detail}`);
        break;
      }
      case "evaluate-map": {
        const { task } = command;
        const items = factory.evaluateMap(task);
        if (items.ok) {
          this.#post({ type: "map-evaluated", task, now: now(), items: items.value.length });
        } else this.#evaluationFailed(task, `map: ${items.detail}`);
        break;
      }
      case "finish-task":
        this.#telling.taskFinished(command.task, command.outcome);
        break;
      case "announce-retry":
        break; // told with the attempt that failed
      case "wake-at":
        clearTimeout(this.#wake);
        this.#wake = setTimeout(
          () => this.#post({ type: "time-passed", now: now() }),
          Math.min(Math.max(0, command.at - now()) + 1, longestTimerMs),
        );
        break;
      case "finish-run":
        void this.#finish(command.outcome);
        break;
      case "report-drained":
        this.#drained.resolve();
        break;
    }
  }

  #evaluationFailed(task: Instance, detail: string): void {
    const failure: Failure = { reason: "bad-result", detail };
    this.#post({ type: "evaluation-failed", task, now: this.#options.now(), failure });
  }

  // ---- telling ----

  #publish(key: string, what: string): void {
    const isHeard = this.#channel?.isHeard() ?? false;
    // Mostly nobody listens: then not even the texts are made.
    if (!isHeard && !this.state.waitsForEvents) return;
    const channel = `task.${key}.${what}`;
    if (isHeard) {
      this.#channel?.publish(channel, `{"task":${JSON.stringify(key)},"state":"${what}"}`);
    }
    if (this.state.isWanted(channel)) {
      this.#post({ type: "event-published", channel, now: this.#options.now() });
    }
  }

  #line(level: LogLevel, text: string): void {
    this.#options.log.agent(level, text);
    this.#flushSoon();
  }

  #flushSoon(): void {
    if (!this.#isScheduled && !this.#isOver) this.#flush.soon();
  }

  #armDeadline(): void {
    const { timeoutMs } = this.#options.state.document.attributes;
    if (timeoutMs === undefined) return;
    const leftMs = Math.max(0, this.#startedAt + timeoutMs - this.#options.now());
    const isFar = leftMs > longestTimerMs;
    this.#deadline = setTimeout(
      () => (isFar ? this.#armDeadline() : this.cancel("policy")),
      isFar ? longestTimerMs : leftMs,
    );
  }

  // ---- end ----

  async #finish(outcome: RunOutcome): Promise<void> {
    try {
      clearTimeout(this.#deadline);
      clearTimeout(this.#wake);
      this.#channel?.publish("run.finished", JSON.stringify({ outcome: outcome.kind }));
      // Publications that tasks made last are still on their way from the store's thread.
      await this.#channel?.close();
      await nextTurn();
      await this.#options.report.settled();
      this.#isOver = true;
      const { log, journal, report, commit, whenKept, finished, now } = this.#options;
      const summary = this.#figures.summary(this.state, now() - this.#startedAt);
      log.agent("info", `run ${this.run} ${describeRun(outcome)} in ${summary.wallMs} ms`);
      await this.#closing.writeLastLines();
      if (this.#closing.isAbandoned) return;
      log.close();
      const end = { startedAt: this.#startedAt, outcome, summary };
      const recordReceipt = await this.#closing.writeReceipt(end, now);
      if (this.#closing.isAbandoned) return;
      crashPoint("agent.run-finish");
      recordReceipt?.();
      report.runFinished(outcome, summary);
      journal.finishRun(this.run, outcome);
      whenKept(() => {
        crashPoint("agent.run-finished");
        this.#drained.resolve();
        finished(outcome, summary);
      });
      commit();
    } catch (error) {
      this.#options.broken(error);
    }
  }
}
