// Shapes of large DAGs, for the rows that ask about the document and the scheduler alone.
import { python, type TaskSketch } from "../core/sample.ts";

export type Tasks = Record<string, TaskSketch>;

export function chains(count: number, length: number): Tasks {
  const tasks: Tasks = {};
  for (let c = 0; c < count; c += 1) {
    for (let i = 0; i < length; i += 1) {
      tasks[`c${c}-${i}`] = i === 0 ? python : { ...python, needs: [`c${c}-${i - 1}`] };
    }
  }
  return tasks;
}

export function fanOut(width: number): Tasks {
  const middle = Array.from({ length: width }, (_, i) => `m${i}`);
  return {
    first: python,
    ...Object.fromEntries(middle.map((key) => [key, { ...python, needs: ["first"] }])),
    last: { ...python, needs: middle },
  };
}

/** Up to three needs a task among the thousand before it, by a fixed generator. */
export function randomDag(size: number, task: TaskSketch): Tasks {
  let seed = 1;
  const random = (below: number) => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return seed % below;
  };
  const tasks: Tasks = {};
  for (let i = 0; i < size; i += 1) {
    const needs = new Set<string>();
    for (let n = 0; n < 3 && i > 0; n += 1) needs.add(`t${i - 1 - random(Math.min(i, 1000))}`);
    tasks[`t${i}`] = { ...task, needs: [...needs] };
  }
  return tasks;
}
