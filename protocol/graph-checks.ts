// Checks of the edges of a whole document: unknown tasks, duplicates, self-loops, cycles, and
// where exit handlers and ordinary tasks meet. Linear in tasks and edges, with flat arrays,
// because documents of 100,000 tasks are normal.
import type { DagDocument } from "./dag.ts";
import type { Draft } from "./draft.ts";
import { type Findings, pathText } from "./findings.ts";
import { didYouMean } from "./nearest.ts";

/** More cycles than this are one mistake made often. */
const maxCycles = 20;
/** Longest cycle that is printed in full. */
const maxCyclePrinted = 30;

/** Edges by the index of their source; `targets[starts[i]..starts[i + 1]]` start after task `i`. */
interface Successors {
  starts: Int32Array;
  targets: Int32Array;
  /** Index of the edge in the document. */
  edges: Int32Array;
}

export function checkGraph(draft: Draft, findings: Findings): void {
  const { document, places } = draft;
  const indexes = checkNodes(draft, findings);
  const known = checkEdges(draft, indexes, findings);
  const successors = toSuccessors(document.nodes.length, known);
  for (const cycle of findCycles(document.nodes.length, successors)) {
    const path = pathText(places.edge(cycle.edge));
    const names = cycle.tasks.map((task) => document.nodes[task]?.key ?? "");
    findings.add(
      "E_DAG_CYCLE",
      path,
      `These tasks wait for each other: ${printCycle(names)}.`,
      "Remove one of the edges between them.",
    );
  }
}

/** Index of each task by its id; ids that are there twice are found. */
function checkNodes({ document, places }: Draft, findings: Findings): Map<string, number> {
  const indexes = new Map<string, number>();
  for (const [i, { key }] of document.nodes.entries()) {
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

/** Source, target and edge index of each edge that can be followed, flat. */
function checkEdges(
  { document, places }: Draft,
  indexes: ReadonlyMap<string, number>,
  findings: Findings,
): number[] {
  const { nodes, edges } = document;
  const known: number[] = [];
  const seen = new Set<number>();
  const isExit = (task: number) => nodes[task]?.attributes.exit !== undefined;
  for (const [i, { source, target }] of edges.entries()) {
    const from = findTask(source);
    const to = findTask(target);
    if (from === undefined || to === undefined) continue;
    const path = () => pathText(places.edge(i));
    if (from === to) {
      const message = `Task \`${source}\` needs itself.`;
      findings.add("E_DAG_SELF_LOOP", path(), message, "Remove this edge.");
      continue;
    }
    // Exact in a double: both factors are below 2^26.
    const pair = from * nodes.length + to;
    if (seen.has(pair)) {
      const message = `The edge from \`${source}\` to \`${target}\` is there twice.`;
      findings.add("E_DAG_DUPLICATE", path(), message, "Remove one of them.");
      continue;
    }
    seen.add(pair);
    if (isExit(to) && !isExit(from)) {
      findings.add(
        "E_DAG_EXIT",
        path(),
        `Exit handler \`${target}\` needs the ordinary task \`${source}\`.`,
        "Remove this edge: exit handlers start when all ordinary tasks have ended, and may read each of them in templates.",
      );
    } else if (isExit(from) && !isExit(to)) {
      findings.add(
        "E_DAG_EXIT",
        path(),
        `Task \`${target}\` needs \`${source}\`, which is an exit handler and starts after it.`,
        "Make both exit handlers, or both ordinary tasks.",
      );
    } else known.push(from, to, i);

    function findTask(id: string): number | undefined {
      const found = indexes.get(id);
      // The empty id stands for one that could not be read and was reported.
      if (found !== undefined || id === "" || findings.isFull) return found;
      const remedy = didYouMean(id, indexes.keys(), "Add the task, or remove the edge.");
      const message = `There is no task ${JSON.stringify(id.slice(0, 80))}.`;
      findings.add("E_DAG_UNKNOWN_TASK", pathText(places.edge(i)), message, remedy);
      return undefined;
    }
  }
  return known;
}

function toSuccessors(size: number, known: readonly number[]): Successors {
  const starts = new Int32Array(size + 1);
  for (let i = 0; i < known.length; i += 3) {
    const from = known[i] ?? 0;
    starts[from + 1] = (starts[from + 1] ?? 0) + 1;
  }
  for (let i = 0; i < size; i++) starts[i + 1] = (starts[i + 1] ?? 0) + (starts[i] ?? 0);
  const next = starts.slice();
  const targets = new Int32Array(known.length / 3);
  const edges = new Int32Array(known.length / 3);
  for (let i = 0; i < known.length; i += 3) {
    const from = known[i] ?? 0;
    const at = next[from] ?? 0;
    targets[at] = known[i + 1] ?? 0;
    edges[at] = known[i + 2] ?? 0;
    next[from] = at + 1;
  }
  return { starts, targets, edges };
}

interface Cycle {
  /** In the order of execution, the first also last. */
  tasks: number[];
  /** The edge that closes it. */
  edge: number;
}

/** Every edge that closes a cycle in a walk of what Kahn's algorithm leaves over, once each. */
function findCycles(size: number, successors: Successors): Cycle[] {
  const left = leftOver(size, successors);
  if (left === undefined) return [];
  const { starts, targets, edges } = successors;
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
function leftOver(size: number, { starts, targets }: Successors): Uint8Array | undefined {
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

/** Ids of the tasks that each task needs directly; only for those that ask. */
export function directNeeds(document: DagDocument): (target: string) => ReadonlySet<string> {
  let byTarget: Map<string, Set<string>> | undefined;
  const none = new Set<string>();
  return (target) => {
    if (byTarget === undefined) {
      byTarget = new Map();
      for (const edge of document.edges) {
        const sources = byTarget.get(edge.target);
        if (sources === undefined) byTarget.set(edge.target, new Set([edge.source]));
        else sources.add(edge.source);
      }
    }
    return byTarget.get(target) ?? none;
  };
}
