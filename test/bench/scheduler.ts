// How much time and memory does the scheduler itself take a task, with a shell that does nothing?
// usage: node --expose-gc test/bench/scheduler.ts [--quick]; `gc` makes the memory exact.
import { performance } from "node:perf_hooks";
import type { Command } from "../../agent/core/events.ts";
import { RunState } from "../../agent/core/run-state.ts";
import type { DagDocument } from "../../protocol/dag.ts";
import { capacityOf, chain, dagOf, python, succeeded } from "../core/sample.ts";
import { type Answer, ask, sized, tell } from "./frame.ts";
import { chains, fanOut, randomDag, type Tasks } from "./shapes.ts";

const size = sized(100_000, 5000);
const shapes: { [name: string]: { tasks: () => Tasks; items?: number } } = {
  chain: { tasks: () => chain(size) },
  "chains of 100": { tasks: () => chains(size / 100, 100) },
  "fan-out and join": { tasks: () => fanOut(size - 2) },
  "map over a result": { tasks: () => ({ m: { map: "{{ x }}" } }), items: size },
  "random, functions": { tasks: () => randomDag(size, python) },
  "random, commands": { tasks: () => randomDag(size, {}) },
};

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
  const state = new RunState(document);
  const start = performance.now();
  const count = play(state, items);
  const us = ((performance.now() - start) * 1000) / count;
  if (state.counts.succeeded !== count) throw new Error("tasks were lost");
  return { state, count, us };
}

function bytesPerTask(document: DagDocument, items: number): string {
  if (globalThis.gc === undefined) return "memory: only with --expose-gc";
  const before = heapBytes();
  // Held while the heap is measured.
  const { state, count } = playOnce(document, items);
  const bytes = (heapBytes() - before) / count;
  return `${Math.round(bytes)} bytes a task after ${state.counts.succeeded} tasks`;
}

const answers: Answer[] = [];
for (const [shape, { tasks, items = 0 }] of Object.entries(shapes)) {
  const document = dagOf(tasks());
  const memory = bytesPerTask(document, items);
  const answer = await ask({
    question: `scheduler alone, ${size.toLocaleString("en-US")} tasks: ${shape}`,
    unit: "us a task",
    better: "less",
    rounds: sized(5, 2),
    contenders: [{ name: "edgedag", isOurs: true, round: () => playOnce(document, items).us }],
  });
  answer.notes.push(memory);
  answers.push(answer);
}
tell(...answers);
