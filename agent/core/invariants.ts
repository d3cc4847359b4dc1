// What must hold between any two events: every collection is counted again from the states and
// compared. For tests and debug runs; reads only.

import { type Admission, mapPool } from "./admission.ts";
import { at } from "./at.ts";
import type { EventWaits } from "./event-waits.ts";
import type { Instance } from "./events.ts";
import type { Progress } from "./progress.ts";
import type { Retries } from "./retry.ts";
import type { Slots } from "./slots.ts";
import type { TaskTable } from "./task-table.ts";
import type { Timers } from "./timers.ts";
import type { Unmet } from "./unmet.ts";

/** The parts of a run, without what changes them. */
export interface RunView {
  table: Pick<
    TaskTable,
    "graph" | "fanOuts" | "length" | "stateOf" | "attemptOf" | "keyOf" | "isExit" | "story"
  >;
  unmet: Pick<Unmet, "of">;
  admission: Pick<Admission, "capacity" | "needsOf" | "order" | "free">;
  slots: Pick<Slots, "used" | "has" | "isFirst" | "before" | "queues">;
  timers: Pick<Timers, "live">;
  waits: Pick<EventWaits, "published">;
  retries: Pick<Retries, "all">;
  progress: Readonly<Progress>;
  isDraining: boolean;
}

/** One sentence for each thing that does not add up; none when all is well. */
export function problemsOf(view: RunView): string[] {
  const instances = Array.from({ length: view.table.length }, (_, i) => i);
  return [
    ...slotProblems(view, instances),
    ...readyProblems(view, instances),
    ...progressProblems(view, instances),
    ...instances.flatMap((i) => instanceProblems(view, i)),
    ...unmetProblems(view),
    ...stuckProblems(view, instances),
  ];
}

function differ(what: string, kept: number, counted: number): string[] {
  return kept === counted ? [] : [`${what} is ${kept}, counted ${counted}`];
}

function slotProblems({ table, slots, progress }: RunView, instances: Instance[]): string[] {
  const queues = slots.queues();
  return [
    ...differ("slots.used", slots.used, queues.length),
    ...differ("counts.running", progress.counts.running, queues.length),
    ...instances.flatMap((i) => {
      const { id } = table.stateOf(i);
      const isPlaced = ["running", "handed", "queued", "stopping"].includes(id);
      if (isPlaced !== slots.has(i)) return [`${table.keyOf(i)} is ${id}, its slot says otherwise`];
      if (id === "running" && !slots.isFirst(i)) return [`${table.keyOf(i)} runs and is not first`];
      if (id === "queued" && slots.isFirst(i))
        return [`${table.keyOf(i)} is first and only queued`];
      if (isPlaced && table.attemptOf(i) === 0) return [`${table.keyOf(i)} has no attempt number`];
      return [];
    }),
  ];
}

function readyProblems({ table, admission, slots }: RunView, instances: Instance[]): string[] {
  const kept = admission.order().join();
  const ready = instances.filter((i) => table.stateOf(i).id === "ready");
  const problems =
    kept.split(",").sort().join() === ready.map(String).sort().join()
      ? []
      : [`the ready queue holds ${kept}, ready are ${ready}`];
  const { capacity } = admission;
  const left = admission.free();
  const used = { cpu: 0, memoryBytes: 0, gpu: 0 };
  const held = new Map<string, number>();
  for (const queue of slots.queues()) {
    const needs = admission.needsOf(at(queue, 0));
    for (const pool of needs.pools) held.set(pool, (held.get(pool) ?? 0) + 1);
    for (const name of ["cpu", "memoryBytes", "gpu"] as const) used[name] += needs[name];
  }
  for (const name of ["cpu", "memoryBytes", "gpu"] as const) {
    if (Math.abs(left[name] + used[name] - capacity[name]) < 1e-6 * (1 + capacity[name])) continue;
    problems.push(`${name}: ${left[name]} free, ${used[name]} used of ${capacity[name]}`);
  }
  const placesOf = (pool: string) => (left.pools[pool] ?? 0) + (held.get(pool) ?? 0);
  for (const [pool, places] of Object.entries(table.graph.pools)) {
    problems.push(...differ(`free and held places of ${pool}`, placesOf(pool), places));
  }
  for (const parent of table.fanOuts.open()) {
    const places = at(table.graph.tasks, parent).mapConcurrency;
    if (places === undefined) continue;
    problems.push(...differ(`places of ${parent}`, placesOf(mapPool(parent)), places));
  }
  return problems;
}

function progressProblems({ table, progress }: RunView, instances: Instance[]): string[] {
  const { counts } = progress;
  const ended = { succeeded: 0, failed: 0, skipped: 0, cancelled: 0 };
  let left = 0;
  let exitLeft = 0;
  for (const i of instances) {
    const state = table.stateOf(i);
    if (state.id === "finished") ended[state.outcome.kind] += 1;
    else if (i < table.graph.size && table.isExit(i)) exitLeft += 1;
    else if (i < table.graph.size) left += 1;
  }
  return [
    ...differ("left", progress.left, left),
    ...differ("exitLeft", progress.exitLeft, exitLeft),
    ...differ("counts.total", counts.total, instances.length),
    ...(["succeeded", "failed", "skipped", "cancelled"] as const).flatMap((kind) =>
      differ(`counts.${kind}`, counts[kind], ended[kind]),
    ),
  ];
}

function instanceProblems({ table, slots, timers }: RunView, i: Instance): string[] {
  const state = table.stateOf(i);
  switch (state.id) {
    case "handed":
      return slots.before(i) === state.after ? [] : [`${table.keyOf(i)} is behind another`];
    case "expanded": {
      const open = table.fanOuts
        .itemsOf(i)
        ?.filter((item) => table.stateOf(item).id !== "finished").length;
      const left = table.fanOuts.expansionOf(i)?.left;
      return left === open ? [] : [`left of ${table.keyOf(i)} is ${left}, counted ${open}`];
    }
    case "delayed":
    case "awaiting": {
      const hasTimer = timers.live().some((timer) => timer.instance === i);
      return hasTimer === (state.until !== undefined) ? [] : [`${table.keyOf(i)}: timer differs`];
    }
    default:
      return [];
  }
}

/** A task that waits has as many unmet needs as it has unfinished predecessors. */
function unmetProblems({ table, unmet }: RunView): string[] {
  const { size, rows, targets } = table.graph;
  const open = new Array<number>(size).fill(0);
  for (let i = 0; i < size; i += 1) {
    if (table.stateOf(i).id === "finished") continue;
    for (let e = at(rows, i); e < at(rows, i + 1); e += 1) {
      const target = at(targets, e);
      open[target] = at(open, target) + 1;
    }
  }
  return open.flatMap((count, i) => {
    const { id } = table.stateOf(i);
    return id === "waiting" ? differ(`unmet of ${table.keyOf(i)}`, unmet.of(i), count) : [];
  });
}

const busy = new Set(["evaluating", "awaiting", "running", "stopping", "delayed"]);

function stuckProblems(view: RunView, instances: Instance[]): string[] {
  const { table, progress, admission, isDraining } = view;
  if (progress.phase === "new" || progress.phase === "finished") return [];
  if (isDraining || admission.capacity.slots === 0) return [];
  if (instances.some((i) => busy.has(table.stateOf(i).id))) return [];
  return ["nothing runs and nothing will"];
}
