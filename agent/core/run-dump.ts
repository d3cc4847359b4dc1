// A run as plain data: what a person reads when a run hangs, and what a test compares after a
// replay. Reads only.
import type { RunOutcome } from "../../protocol/outcome.ts";
import type { Capacity, Millis } from "./events.ts";
import type { RunView } from "./invariants.ts";
import type { Counts, Phase } from "./progress.ts";
import type { TaskState } from "./task-state.ts";

export interface RunDump {
  phase: Phase;
  isDraining: boolean;
  outcomeSoFar: RunOutcome;
  counts: Counts;
  left: number;
  exitLeft: number;
  /** By task key, in the order of instances. `unmet` and `attempt` are absent when 0. */
  tasks: { [key: string]: { state: TaskState; unmet?: number; attempt?: number } };
  /** Failures so far, by task key. */
  retries: { [key: string]: { own: number; lost: number } };
  /** Keys, slot by slot: what runs, then what was handed out behind it. */
  slots: string[][];
  /** Keys in the order in which they would start. */
  ready: string[];
  capacity: Capacity;
  free: { pools: { [name: string]: number }; cpu: number; memoryBytes: number; gpu: number };
  timers: { at: Millis; task: string; state: string }[];
  published: string[];
  /** The last moves, oldest first. */
  story: string[];
}

export function dumpOf(view: RunView): RunDump {
  const { table, unmet, admission, slots, timers, waits, retries, progress, isDraining } = view;
  const key = (instance: number) => table.keyOf(instance);
  const tasks: RunDump["tasks"] = {};
  for (let i = 0; i < table.length; i += 1) {
    const open = unmet.of(i);
    const attempt = table.attemptOf(i);
    tasks[key(i)] = {
      state: structuredClone(table.stateOf(i)),
      ...(open === 0 ? {} : { unmet: open }),
      ...(attempt === 0 ? {} : { attempt }),
    };
  }
  return {
    phase: progress.phase,
    isDraining,
    outcomeSoFar: progress.outcomeSoFar,
    counts: { ...progress.counts },
    left: progress.left,
    exitLeft: progress.exitLeft,
    tasks,
    retries: Object.fromEntries([...retries.all()].map(([i, tries]) => [key(i), { ...tries }])),
    slots: slots.queues().map((queue) => queue.map(key)),
    ready: admission.order().map(key),
    capacity: { ...admission.capacity },
    free: admission.free(),
    timers: timers.live().map(({ at, instance, state }) => ({
      at,
      task: key(instance),
      state: state.id,
    })),
    published: waits.published(),
    story: table.story(),
  };
}
