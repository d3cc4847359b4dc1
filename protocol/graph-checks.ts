// Checks of the edges of a whole document: unknown tasks, duplicates, self-loops, cycles, and
// where exit handlers and ordinary tasks meet. Linear in tasks and edges, with flat arrays,
// because documents of 100,000 tasks are normal.
import type { Draft } from "./draft.ts";
import { type Findings, pathText } from "./findings.ts";
import { didYouMean } from "./nearest.ts";

/** More cycles than this are one mistake made often. */
const maxCycles = 20;
/** Longest cycle that is printed in full. */
const maxCyclePrinted = 30;

/** Edges by one of their ends: those of task `i` are `starts[i]` to `starts[i + 1]`. */
interface Adjacency {
  starts: Int32Array;
  /** The task at the other end. */
  others: Int32Array;
  /** Index of the edge in the document. */
  edges: Int32Array;
}

/** The edges whose ends exist, by index. */
export interface Wiring {
  indexes: ReadonlyMap<string, number>;
  /** For each task those that it needs. */
  needs: Adjacency;
}

export function checkGraph(draft: Draft, findings: Findings): Wiring {
  const { document, places } = draft;
  const size = document.nodes.length;
  const indexes = checkNodes(draft, findings);
  const { from, to } = checkEnds(draft, indexes, findings);
  const needs = adjacency(size, to, from);
  checkDuplicates(draft, needs, findings);
  const successors = adjacency(size, from, to);
  for (const cycle of findCycles(size, successors)) {
    const path = pathText(places.edge(cycle.edge));
    const names = cycle.tasks.map((task) => document.nodes[task]?.key ?? "");
    findings.add(
      "E_DAG_CYCLE",
      path,
      `These tasks wait for each other: ${printCycle(names)}.`,
      "Remove one of the edges between them.",
    );
  }
  return { indexes, needs };
}

/** Index of each task by its id; ids that are there twice are found. */
function checkNodes({ document, places }: Draft, findings: Findings): Map<string, number> {
  const indexes = new Map<string, number>();
  for (let i = 0; i < document.nodes.length; i++) {
    const key = document.nodes[i]?.key ?? "";
    const first = indexes.get(key);
    if (first === undefined) indexes.set(key, i);
    else if (key !== "") {
      findings.add(
        "E_DAG_DUPLICATE",
        pathText(places.node(i)),
        `There are two tasks \`${key}\`; the other is at ${pathText(places.node(first))}.`,
        "Rename one of them.",
      );
    }
  }
  if (document.nodes.every(({ attributes }) => attributes.exit !== undefined)) {
    const path = pathText(places.tasks());
    findings.add("E_DAG_REQUIRED", path, "The document has no tasks.", "Add a task.");
  }
  return indexes;
}

/** Both ends of each edge by index; -1 twice where an end is not known or not allowed. */
function checkEnds(
  draft: Draft,
  indexes: ReadonlyMap<string, number>,
  findings: Findings,
): { from: Int32Array; to: Int32Array } {
  const { nodes, edges } = draft.document;
  const from = new Int32Array(edges.length).fill(-1);
  const to = new Int32Array(edges.length).fill(-1);
  for (let i = 0; i < edges.length; i++) {
    const { source = "", target = "" } = edges[i] ?? {};
    const sourceIndex = indexes.get(source);
    const targetIndex = indexes.get(target);
    if (sourceIndex === undefined || targetIndex === undefined) {
      // The empty id stands for one that could not be read and was reported.
      if (findings.isFull) continue;
      if (sourceIndex === undefined && source !== "") addUnknown(draft, i, source, findings);
      if (targetIndex === undefined && target !== "") addUnknown(draft, i, target, findings);
      continue;
    }
    const isFromExit = nodes[sourceIndex]?.attributes.exit !== undefined;
    const isToExit = nodes[targetIndex]?.attributes.exit !== undefined;
    if (sourceIndex === targetIndex) {
      const path = pathText(draft.places.edge(i));
      const message = `Task \`${source}\` needs itself.`;
      findings.add("E_DAG_SELF_LOOP", path, message, "Remove this edge.");
    } else if (isFromExit !== isToExit) addExit(draft, i, isToExit, findings);
    else {
      from[i] = sourceIndex;
      to[i] = targetIndex;
    }
  }
  return { from, to };
}

function addUnknown(
  { document, places }: Draft,
  edge: number,
  id: string,
  findings: Findings,
): void {
  const known = isWorthComparing(findings, document.nodes.length)
    ? document.nodes.map(({ key }) => key)
    : [];
  const remedy = didYouMean(id, known, "Add the task, or remove the edge.");
  const message = `There is no task ${JSON.stringify(id.slice(0, 80))}.`;
  findings.add("E_DAG_UNKNOWN_TASK", pathText(places.edge(edge)), message, remedy);
}

function addExit(draft: Draft, index: number, isToExit: boolean, findings: Findings): void {
  const path = pathText(draft.places.edge(index));
  const { source = "", target = "" } = draft.document.edges[index] ?? {};
  if (isToExit) {
    findings.add(
      "E_DAG_EXIT",
      path,
      `Exit handler \`${target}\` needs the ordinary task \`${source}\`.`,
      "Remove this edge: exit handlers start when all ordinary tasks have ended, and may read each of them in templates.",
    );
  } else {
    findings.add(
      "E_DAG_EXIT",
      path,
      `Task \`${target}\` needs \`${source}\`, which is an exit handler and starts after it.`,
      "Make both exit handlers, or both ordinary tasks.",
    );
  }
}

function checkDuplicates({ document, places }: Draft, needs: Adjacency, findings: Findings): void {
  const size = document.nodes.length;
  /** Per source the last target that was seen to need it, counted from 1. */
  const seen = new Int32Array(size);
  for (let target = 0; target < size; target++) {
    const end = needs.starts[target + 1] ?? 0;
    for (let at = needs.starts[target] ?? 0; at < end; at++) {
      const source = needs.others[at] ?? 0;
      if (seen[source] === target + 1) {
        const names = `\`${document.nodes[source]?.key}\` to \`${document.nodes[target]?.key}\``;
        const path = pathText(places.edge(needs.edges[at] ?? 0));
        const message = `The edge from ${names} is there twice.`;
        findings.add("E_DAG_DUPLICATE", path, message, "Remove one of them.");
      }
      seen[source] = target + 1;
    }
  }
}

function adjacency(size: number, ends: Int32Array, others: Int32Array): Adjacency {
  const starts = new Int32Array(size + 1);
  for (const end of ends) if (end >= 0) starts[end + 1] = (starts[end + 1] ?? 0) + 1;
  for (let i = 0; i < size; i++) starts[i + 1] = (starts[i + 1] ?? 0) + (starts[i] ?? 0);
  const next = starts.slice();
  const sorted = {
    others: new Int32Array(starts[size] ?? 0),
    edges: new Int32Array(starts[size] ?? 0),
  };
  for (let i = 0; i < ends.length; i++) {
    const end = ends[i] ?? -1;
    if (end < 0) continue;
    const at = next[end] ?? 0;
    sorted.others[at] = others[i] ?? 0;
    sorted.edges[at] = i;
    next[end] = at + 1;
  }
  return { starts, ...sorted };
}

/** Whether the task at index `target` needs the task at index `source` directly. */
export function isNeeded({ needs }: Wiring, target: number, source: number): boolean {
  const end = needs.starts[target + 1] ?? 0;
  for (let at = needs.starts[target] ?? 0; at < end; at++) {
    if (needs.others[at] === source) return true;
  }
  return false;
}

interface Cycle {
  /** In the order of execution, the first also last. */
  tasks: number[];
  /** The edge that closes it. */
  edge: number;
}

/** Every edge that closes a cycle in a walk of what Kahn's algorithm leaves over, once each. */
function findCycles(size: number, successors: Adjacency): Cycle[] {
  const left = leftOver(size, successors);
  if (left === undefined) return [];
  const { starts, others: targets, edges } = successors;
  const cycles: Cycle[] = [];
  /** 1 while on the path, 2 when done. */
  const state = new Uint8Array(size);
  const next = starts.slice(0, size);
  const path: number[] = [];
  for (let root = 0; root < size && cycles.length < maxCycles; root++) {
    if (left[root] === 0 || state[root] !== 0) continue;
    path.push(root);
    state[root] = 1;
    for (let task = path.at(-1); task !== undefined; task = path.at(-1)) {
      const at = next[task] ?? 0;
      if (at === starts[task + 1]) {
        state[task] = 2;
        path.pop();
        continue;
      }
      next[task] = at + 1;
      const target = targets[at] ?? 0;
      if (left[target] === 0 || state[target] === 2) continue;
      if (state[target] === 0) {
        state[target] = 1;
        path.push(target);
      } else if (cycles.length < maxCycles) {
        const tasks = [...path.slice(path.lastIndexOf(target)), target];
        cycles.push({ tasks, edge: edges[at] ?? 0 });
      }
    }
  }
  return cycles;
}

/** Kahn's algorithm: 1 for every task that never becomes ready; undefined when there is none. */
function leftOver(size: number, { starts, others: targets }: Adjacency): Uint8Array | undefined {
  const unmet = new Int32Array(size);
  for (const target of targets) unmet[target] = (unmet[target] ?? 0) + 1;
  const ready = new Int32Array(size);
  let readyCount = 0;
  for (let task = 0; task < size; task++) if (unmet[task] === 0) ready[readyCount++] = task;
  for (let done = 0; done < readyCount; done++) {
    const task = ready[done] ?? 0;
    const end = starts[task + 1] ?? 0;
    for (let at = starts[task] ?? 0; at < end; at++) {
      const target = targets[at] ?? 0;
      const count = (unmet[target] ?? 0) - 1;
      unmet[target] = count;
      if (count === 0) ready[readyCount++] = target;
    }
  }
  return readyCount === size ? undefined : Uint8Array.from(unmet, (count) => (count > 0 ? 1 : 0));
}

function printCycle(names: readonly string[]): string {
  if (names.length <= maxCyclePrinted) return names.join(" -> ");
  const head = names.slice(0, maxCyclePrinted / 2);
  const tail = names.slice(-maxCyclePrinted / 2);
  const between = names.length - head.length - tail.length;
  return [...head, `(${between} more)`, ...tail].join(" -> ");
}

/** The nearest of many names costs milliseconds each time: only the first findings get one. */
export function isWorthComparing(findings: Findings, candidates: number): boolean {
  return findings.size < 20 || candidates < 2000;
}
