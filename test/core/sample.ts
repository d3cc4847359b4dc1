// DAG documents in a few words, and a RunState that is checked after every event.

import type { Capacity, Command, RunEvent } from "../../agent/core/events.ts";
import { RunState } from "../../agent/core/run-state.ts";
import type {
  DagAttributes,
  DagDocument,
  EdgeCondition,
  TaskAttributes,
} from "../../protocol/dag.ts";
import type { Failure, Outcome } from "../../protocol/outcome.ts";

/** `needs`: `"a"`, or `"a?failure"` for another condition than success. */
export type TaskSketch = Partial<TaskAttributes> & { needs?: string[] };

export const noRetries = {
  limit: 0,
  lost: 0,
  backoffMs: 0,
  factor: 2,
  maxBackoffMs: 60_000,
  jitter: 0,
};

/** Commands by default, which are never handed over in chains. */
export function dagOf(
  tasks: Record<string, TaskSketch>,
  attributes: Partial<DagAttributes> = {},
): DagDocument {
  return {
    options: { type: "directed", multi: false, allowSelfLoops: false },
    attributes: { edgedag: 1, dag: "sample", ...attributes },
    nodes: Object.entries(tasks).map(([key, { needs: _, ...task }]) => ({
      key,
      attributes: {
        run: { kind: "command", argv: ["true"] },
        graceMs: 5000,
        retries: noRetries,
        priority: 0,
        isolation: "none",
        ...task,
      },
    })),
    edges: Object.entries(tasks).flatMap(([target, { needs = [] }]) =>
      needs.map((need) => {
        const [source = "", on = "success"] = need.split("?");
        return { source, target, attributes: { on: on as EdgeCondition } };
      }),
    ),
  };
}

/** With `lost: 0` it may begin only once, and is never handed over ahead of its turn. */
export const python = {
  run: { kind: "python", file: "tasks.py", function: "f" },
  retries: { ...noRetries, lost: 1 },
} as const;

/** `c0 -> c1 -> ... `, Python functions. */
export function chain(length: number): Record<string, TaskSketch> {
  return Object.fromEntries(
    Array.from({ length }, (_, i) => [
      `c${i}`,
      i === 0 ? python : { ...python, needs: [`c${i - 1}`] },
    ]),
  );
}

export const capacityOf = (slots: number): Capacity => ({
  slots,
  cpu: 4,
  memoryBytes: 1000,
  gpu: 0,
});

export const exitCode: Failure = { reason: "exit-code", code: 1 };
export const lost: Failure = { reason: "lost" };
export const succeeded: Outcome = { kind: "succeeded" };

/** Feeds a RunState in terms of task keys, and tells its commands as short lines. */
export class Run {
  readonly state: RunState;
  readonly events: RunEvent[] = [];
  now = 0;
  random = 0;

  constructor(tasks: Record<string, TaskSketch>, attributes: Partial<DagAttributes> = {}) {
    this.state = new RunState(dagOf(tasks, attributes));
  }

  event(event: RunEvent): string[] {
    this.events.push(structuredClone(event));
    const commands = this.state.handle(event);
    this.state.check();
    return commands.map((command) => this.say(command));
  }

  start(slots = 2, capacity: Partial<Capacity> = {}): string[] {
    return this.event({
      type: "run-started",
      now: this.now,
      capacity: { ...capacityOf(slots), ...capacity },
    });
  }

  resume(slots = 2, capacity: Partial<Capacity> = {}): string[] {
    return this.event({
      type: "run-resumed",
      now: this.now,
      capacity: { ...capacityOf(slots), ...capacity },
    });
  }

  /** Ends the attempt in flight. */
  end(key: string, outcome: Outcome = succeeded, attempt?: number): string[] {
    const task = this.instance(key);
    return this.event({
      type: "attempt-finished",
      task,
      attempt: attempt ?? this.state.attemptOf(task),
      outcome,
      now: this.now,
      random: this.random,
    });
  }

  /** As `end` with success, after so many milliseconds. */
  endAfter(key: string, wallMs: number): string[] {
    const task = this.instance(key);
    const attempt = this.state.attemptOf(task);
    const { now, random } = this;
    return this.event({
      type: "attempt-finished",
      task,
      attempt,
      outcome: succeeded,
      now,
      random,
      wallMs,
    });
  }

  restarted(): string[] {
    return this.event({ type: "agent-restarted", now: this.now });
  }

  fail(key: string, failure: Failure = exitCode): string[] {
    return this.end(key, { kind: "failed", failure });
  }

  giveBack(key: string, attempt?: number): string[] {
    const task = this.instance(key);
    return this.event({
      type: "attempt-returned",
      task,
      attempt: attempt ?? this.state.attemptOf(task),
      now: this.now,
    });
  }

  when(key: string, holds: boolean): string[] {
    return this.event({ type: "when-evaluated", task: this.instance(key), now: this.now, holds });
  }

  map(key: string, items: number): string[] {
    return this.event({ type: "map-evaluated", task: this.instance(key), now: this.now, items });
  }

  publish(channel: string): string[] {
    return this.event({ type: "event-published", channel, now: this.now });
  }

  /** To this time. */
  pass(now: number): string[] {
    this.now = now;
    return this.event({ type: "time-passed", now });
  }

  cancel(): string[] {
    return this.event({ type: "cancel-requested", by: "user", now: this.now });
  }

  drain(): string[] {
    return this.event({ type: "drain-requested", now: this.now });
  }

  stateIds(): Record<string, string> {
    const { tasks } = this.state.dump();
    return Object.fromEntries(Object.entries(tasks).map(([key, { state }]) => [key, state.id]));
  }

  instance(key: string): number {
    for (let i = 0; i < this.state.instanceCount; i += 1) if (this.state.keyOf(i) === key) return i;
    throw new Error(`no task ${key}`);
  }

  say(command: Command): string {
    const key = "task" in command ? this.state.keyOf(command.task) : "";
    switch (command.type) {
      case "start-attempt": {
        const after =
          command.behind === undefined ? "" : ` behind ${this.state.keyOf(command.behind)}`;
        const how = command.isFree === true ? `, free` : "";
        return `start ${key}#${command.attempt}${after}${how}`;
      }
      case "stop-attempt":
        return `stop ${key}#${command.attempt} by ${command.by}`;
      case "evaluate-when":
        return `when ${key}`;
      case "evaluate-map":
        return `map ${key}`;
      case "finish-task":
        return `${key} ${describe(command.outcome)}`;
      case "announce-retry":
        return `retry ${key}#${command.attempt} at ${command.at}`;
      case "wake-at":
        return `wake ${command.at}`;
      case "finish-run": {
        const { outcome } = command;
        if (outcome.kind === "failed") return `run failed: ${outcome.failed.join()}`;
        return outcome.kind === "cancelled" ? `run cancelled by ${outcome.by}` : "run succeeded";
      }
      case "report-drained":
        return "drained";
    }
  }
}

function describe(outcome: Outcome): string {
  switch (outcome.kind) {
    case "succeeded":
      return "succeeded";
    case "failed":
      return `failed: ${outcome.failure.reason}`;
    case "skipped":
      return `skipped: ${outcome.because}`;
    case "cancelled":
      return `cancelled by ${outcome.by}`;
  }
}
