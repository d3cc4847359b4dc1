// How much time and memory the scheduler itself takes per task, with a shell that does nothing.
// Prints JSON. Run it with `node --expose-gc test/bench/scheduler.ts`; `gc` makes the memory exact.
import { performance } from "node:perf_hooks";
import type { Command } from "../../agent/core/events.ts";
import { RunState } from "../../agent/core/run-state.ts";
import type { DagDocument } from "../../protocol/dag.ts";
import { capacityOf, chain, dagOf, python, succeeded, type TaskSketch } from "../core/sample.ts";

const size = 100_000;
const repetitions = 5;

interface Shape {
  tasks: Record<string, TaskSketch>;
  items?: number;
}

const shapes: Record<string, () => Shape> = {
  chain: () => ({ tasks: chain(size) }),
  "chains of 100": () => ({ tasks: chains(size / 100, 100) }),
  "fan-out and join": () => ({ tasks: fanOut(size - 2) }),
  "map over a result": () => ({ tasks: { m: { map: "{{ x }}" } }, items: size }),
  "random, functions": () => ({ tasks: randomDag(python) }),
  "random, commands": () => ({ tasks: randomDag({}) }),
};

function chains(count: number, length: number): Record<string, TaskSketch> {
  const tasks: Record<string, TaskSketch> = {};
  for (let c = 0; c < count; c += 1) {
    for (let i = 0; i < length; i += 1) {
      tasks[`c${c}-${i}`] = i === 0 ? python : { ...python, needs: [`c${c}-${i - 1}`] };
    }
  }
  return tasks;
}

function fanOut(width: number): Record<string, TaskSketch> {
  const middle = Array.from({ length: width }, (_, i) => `m${i}`);
  return {
    first: python,
    ...Object.fromEntries(middle.map((key) => [key, { ...python, needs: ["first"] }])),
    last: { ...python, needs: middle },
  };
}

/** Three needs a task among the thousand before it, by a fixed generator. */
function randomDag(task: TaskSketch): Record<string, TaskSketch> {
  let seed = 1;
  const random = (below: number) => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return seed % below;
  };
  const tasks: Record<string, TaskSketch> = {};
  for (let i = 0; i < size; i += 1) {
    const needs = new Set<string>();
    for (let n = 0; n < 3 && i > 0; n += 1) needs.add(`t${i - 1 - random(Math.min(i, 1000))}`);
    tasks[`t${i}`] = { ...task, needs: [...needs] };
  }
  return tasks;
}

function play(state: RunState, items: number): number {
  let now = 1;
  let tasks = 0;
  const running: Command[] = [];
  const follow = (commands: readonly Command[]) => {
    for (const command of commands) {
      if (command.type === "finish-task") tasks += 1;
      if (command.type === "start-attempt" || command.type === "evaluate-map") {
        running.push(command);
      }
    }
  };
  follow(state.handle({ type: "run-started", now, capacity: capacityOf(2) }));
  // What was handed out behind an attempt comes after it in this list, as on a worker.
  for (let at = 0; at < running.length; at += 1) {
    const command = running[at];
    now += 1;
    if (command?.type === "start-attempt") {
      const { task, attempt } = command;
      const outcome = succeeded;
      follow(state.handle({ type: "attempt-finished", task, attempt, outcome, now, random: 0 }));
    } else if (command?.type === "evaluate-map") {
      follow(state.handle({ type: "map-evaluated", task: command.task, now, items }));
    }
  }
  if (state.phase !== "finished") throw new Error("the run did not end");
  return tasks;
}

function heapBytes(): number {
  globalThis.gc?.();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** Building and playing are calls of their own, so that nothing of an earlier one stays alive. */
function playOnce(document: DagDocument, items: number) {
  const start = performance.now();
  const state = new RunState(document);
  const built = performance.now();
  const count = play(state, items);
  const figures = { count, buildMs: built - start, runMs: performance.now() - built };
  return { state, figures };
}

function measure(name: string, { tasks, items = 0 }: Shape): void {
  const document = dagOf(tasks);
  const before = heapBytes();
  const { state, figures } = playOnce(document, items);
  const bytes = heapBytes() - before;
  if (state.counts.succeeded !== figures.count) throw new Error("tasks were lost");
  const { count, buildMs } = figures;
  const times = Array.from(
    { length: repetitions },
    () => (playOnce(document, items).figures.runMs * 1000) / count,
  ).sort((a, b) => a - b);
  const round = (value = 0) => Math.round(value * 100) / 100;
  const line = {
    shape: name,
    tasks: count,
    buildMs: round(buildMs),
    usPerTask: round(times[repetitions >> 1]),
    usPerTaskRange: [round(times[0]), round(times.at(-1))],
    bytesPerTask: globalThis.gc === undefined ? undefined : Math.round(bytes / count),
  };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

for (const [name, make] of Object.entries(shapes)) measure(name, make());
