// The running form of a DAG: vertices as dense indices, edges as compressed rows, and what never
// changes while it runs (order, remaining path, lanes). Built once from the document; no I/O.

import type { DagDocument, EdgeCondition, TaskAttributes } from "../../protocol/dag.ts";
import { secretSet } from "../../protocol/secret-set.ts";
import { at } from "./at.ts";

const conditionCodes = { success: 0, failure: 1, any: 2 } as const satisfies Record<
  EdgeCondition,
  number
>;

/** Where the task could run back to back with another one: a warm worker, the launcher; 0: nowhere. */
export type Lane = number;

export interface RunGraph {
  readonly size: number;
  readonly ids: readonly string[];
  readonly tasks: readonly TaskAttributes[];
  readonly indexOf: ReadonlyMap<string, number>;
  /** Successors of task i are `targets[rows[i] .. rows[i + 1]]`, with `conditions` beside. */
  readonly rows: Int32Array;
  readonly targets: Int32Array;
  /** 0 success, 1 failure, 2 any: see `isSatisfied`. */
  readonly conditions: Uint8Array;
  readonly unmet: Int32Array;
  /** Number of tasks on the longest path from this one to an end, itself included. */
  readonly remaining: Int32Array;
  readonly lanes: Int32Array;
  /** As `lanes`, for calls that may wait behind others: the items of a fan-out are among them. */
  readonly queueLanes: Int32Array;
  /** Tasks of one function have one number; 0: in no lane. */
  readonly functions: Int32Array;
  readonly functionCount: number;
  /** The number that all processes of a lane share; 0: there are none. */
  readonly processes: number;
  /** 1 for exit handlers. */
  readonly isExit: Uint8Array;
  readonly exitCount: number;
  /** Places of each declared pool. */
  readonly pools: Readonly<Record<string, number>>;
}

/**
 * Builds the running form. The document must be valid (acyclic, edges between known tasks, pools
 * declared, no ordinary task after an exit handler): one that could not end throws, for that is a
 * bug of the caller.
 */
export function buildGraph(document: DagDocument): RunGraph {
  const size = document.nodes.length;
  const ids: string[] = new Array(size);
  const tasks: TaskAttributes[] = new Array(size);
  const indexOf = new Map<string, number>();
  const lanes = new Int32Array(size);
  const queueLanes = new Int32Array(size);
  const functions = new Int32Array(size);
  const functionNumbers = new Map<string, number>();
  const secretLanes = new Map<string, Lane>();
  const isExit = new Uint8Array(size);
  const pools = { ...document.attributes.pools };
  let exitCount = 0;
  document.nodes.forEach((node, i) => {
    ids[i] = node.key;
    tasks[i] = node.attributes;
    indexOf.set(node.key, i);
    const lane = queueLaneOf(node.attributes, secretLanes);
    queueLanes[i] = lane;
    lanes[i] = node.attributes.map === undefined ? lane : 0;
    if (lane !== 0) {
      const name = lane === processLane ? "" : JSON.stringify(node.attributes.run);
      const number = functionNumbers.get(name) ?? functionNumbers.size + 1;
      functionNumbers.set(name, number);
      functions[i] = number;
    }
    const { pool, exit } = node.attributes;
    if (pool !== undefined && (pools[pool] ?? 0) <= 0) {
      throw new Error(`task ${node.key} needs the pool ${pool}, which has no places`);
    }
    if (exit !== undefined) {
      isExit[i] = 1;
      exitCount += 1;
    }
  });
  const count = document.edges.length;
  const sources = new Int32Array(count);
  const ends = new Int32Array(count);
  const rows = new Int32Array(size + 1);
  const unmet = new Int32Array(size);
  document.edges.forEach((edge, e) => {
    const source = indexOf.get(edge.source);
    const target = indexOf.get(edge.target);
    if (source === undefined || target === undefined) {
      throw new Error(`edge ${edge.source} -> ${edge.target} names an unknown task`);
    }
    if (isExit[source] === 1 && isExit[target] === 0) {
      throw new Error(`${edge.target} waits for the exit handler ${edge.source}`);
    }
    sources[e] = source;
    ends[e] = target;
    rows[source + 1] = at(rows, source + 1) + 1;
    unmet[target] = at(unmet, target) + 1;
  });
  for (let i = 0; i < size; i += 1) rows[i + 1] = at(rows, i + 1) + at(rows, i);
  const next = rows.slice();
  const targets = new Int32Array(count);
  const conditions = new Uint8Array(count);
  for (let e = 0; e < count; e += 1) {
    const source = at(sources, e);
    const place = at(next, source);
    next[source] = place + 1;
    targets[place] = at(ends, e);
    conditions[place] = conditionCodes[at(document.edges, e).attributes.on];
  }
  const remaining = longestPaths({ size, rows, targets, unmet });
  return {
    size,
    ids,
    tasks,
    indexOf,
    rows,
    targets,
    conditions,
    unmet,
    remaining,
    lanes,
    queueLanes,
    functions,
    functionCount: functionNumbers.size,
    processes: functionNumbers.get("") ?? 0,
    isExit,
    exitCount,
    pools,
  };
}

/** Whether an edge's condition holds for the outcome kind of its source. */
export function isSatisfied(
  condition: number,
  kind: "succeeded" | "failed" | "skipped" | "cancelled",
): boolean {
  if (condition === conditionCodes.any) return true;
  return condition === conditionCodes.success ? kind === "succeeded" : kind === "failed";
}

const processLane: Lane = 3;

// Tasks of one lane may be handed to one worker without asking in between. What waits for
// something other than its predecessor (a pool, an event, an evaluation) stays out of every lane.
function queueLaneOf(task: TaskAttributes, secretLanes: Map<string, Lane>): Lane {
  const { run } = task;
  if (run.kind === "code") return 0;
  if (task.isolation !== "none" || task.exit !== undefined) return 0;
  // What must not begin twice begins when its turn is on record, and not behind what is not.
  if (task.retries.lost === 0) return 0;
  if (task.when !== undefined || task.waitFor !== undefined) return 0;
  if (task.mapConcurrency !== undefined) return 0;
  if (task.pool !== undefined || task.resources !== undefined) return 0;
  if (run.kind === "command" || run.kind === "shell") {
    // Files are collected, and secrets taken away, before the next task begins.
    return task.outputs === undefined && task.secrets === undefined ? processLane : 0;
  }
  if (task.limits !== undefined) return 0;
  // A timeout is counted from the start of the attempt, which only a round trip makes known.
  if (task.timeoutMs !== undefined) return 0;
  const plain = run.kind === "python" ? 1 : 2;
  const secrets = secretSet(task);
  if (secrets === undefined) return plain;
  // Workers that have been given secrets are for tasks with the same ones.
  const name = `${plain}\n${secrets}`;
  const lane = secretLanes.get(name) ?? secretLanes.size + processLane + 1;
  secretLanes.set(name, lane);
  return lane;
}

interface Rows {
  size: number;
  rows: Int32Array;
  targets: Int32Array;
  unmet: Int32Array;
}

function longestPaths({ size, rows, targets, unmet }: Rows): Int32Array {
  const left = unmet.slice();
  const order = new Int32Array(size);
  let tail = 0;
  for (let i = 0; i < size; i += 1) if (left[i] === 0) order[tail++] = i;
  for (let head = 0; head < tail; head += 1) {
    const i = at(order, head);
    const end = at(rows, i + 1);
    for (let e = at(rows, i); e < end; e += 1) {
      const target = at(targets, e);
      left[target] = at(left, target) - 1;
      if (left[target] === 0) order[tail++] = target;
    }
  }
  if (tail !== size) throw new Error("the graph has a cycle");
  const remaining = new Int32Array(size);
  for (let tail = size - 1; tail >= 0; tail -= 1) {
    const i = at(order, tail);
    let longest = 0;
    const end = at(rows, i + 1);
    for (let e = at(rows, i); e < end; e += 1) {
      const path = at(remaining, at(targets, e));
      if (path > longest) longest = path;
    }
    remaining[i] = longest + 1;
  }
  return remaining;
}
