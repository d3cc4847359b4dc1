// Random DAGs with every feature, and what each task would do: the script that the simulated shell
// plays and that the reference model reads.
import fc from "fast-check";
import type { EdgeCondition } from "../../protocol/dag.ts";
import { dagOf, noRetries, type TaskSketch } from "./sample.ts";

export interface Script {
  /** How many attempts fail by the task's fault before one succeeds. Items: plus the index, mod 4. */
  fails: number;
  when: "true" | "false" | "fails";
  items: number | "fails";
}

export interface RandomDag {
  tasks: Record<string, TaskSketch>;
  scripts: Script[];
  concurrency: number | undefined;
}

export const lateEvent = "late";
export const neverEvent = "never";
export const backoffMs = 10;

const conditions: EdgeCondition[] = ["success", "success", "failure", "any", "any"];

const rarely = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined, freq: 5 });
const seldom = <T>(value: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 5, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: value });

const taskArbitrary = fc.record({
  kind: fc.constantFrom("python", "python", "python", "node", "command"),
  needs: fc.array(fc.record({ back: fc.nat(5), on: fc.constantFrom(...conditions) }), {
    maxLength: 3,
  }),
  isChained: fc.boolean(),
  plain: fc.nat(9),
  when: seldom(fc.constantFrom("true", "false", "fails")),
  items: seldom(fc.oneof(fc.nat(4), fc.constant("fails" as const))),
  mapConcurrency: rarely(fc.integer({ min: 1, max: 2 })),
  event: seldom(fc.constantFrom(lateEvent, neverEvent)),
  pool: seldom(fc.constantFrom("one", "two")),
  cpu: seldom(fc.constantFrom(0.1, 1, 3, 99)),
  limit: fc.nat(2),
  isDelayed: fc.boolean(),
  fails: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(3) }),
  priority: seldom(fc.nat(2)),
  allowFailure: seldom(fc.constant(true)),
  exit: seldom(fc.constantFrom<EdgeCondition>("success", "failure", "any")),
});

type Drawn = typeof taskArbitrary extends fc.Arbitrary<infer T> ? T : never;
type Feature =
  | "when"
  | "items"
  | "mapConcurrency"
  | "event"
  | "pool"
  | "cpu"
  | "allowFailure"
  | "exit";
type RandomTask = Omit<Drawn, Feature> & { [F in Feature]?: Drawn[F] };

export const dagArbitrary: fc.Arbitrary<RandomDag> = fc
  .record({
    tasks: fc.array(taskArbitrary, { minLength: 1, maxLength: 24, size: "max" }),
    // Tenths of the tasks that are plain, which is what chains and lines are made of.
    plain: fc.constantFrom(3, 6, 9),
    plainKind: fc.constantFrom("python" as const, "python" as const, "command" as const),
    concurrency: seldom(fc.integer({ min: 1, max: 2 })),
  })
  .map(({ tasks: drawn, plain, plainKind, concurrency }) => {
    const tasks = drawn.map((task) => (task.plain < plain ? plainOf(task, plainKind) : task));
    // Exit handlers last, so that needs always point to earlier tasks.
    const ordered = [
      ...tasks.filter(({ exit }) => exit === undefined),
      ...tasks.filter(({ exit }) => exit !== undefined),
    ];
    return {
      tasks: Object.fromEntries(ordered.map((task, i) => [`t${i}`, sketchOf(task, i)])),
      scripts: ordered.map(({ fails, when = "true", items = 0 }) => ({ fails, when, items })),
      concurrency,
    };
  });

function plainOf(
  { needs, isChained, plain, limit, isDelayed, fails, priority }: RandomTask,
  kind: "python" | "command",
) {
  const task: RandomTask = { kind, needs, isChained, plain, limit, isDelayed, fails, priority };
  return task;
}

export function documentOf({ tasks, concurrency }: RandomDag) {
  const pools = { one: 1, two: 2 };
  return dagOf(tasks, { pools, ...(concurrency === undefined ? {} : { concurrency }) });
}

function sketchOf(task: RandomTask, at: number): TaskSketch {
  const { kind, when, items, mapConcurrency, event, pool, cpu, priority, exit } = task;
  const needs = new Map<number, EdgeCondition>();
  if (task.isChained) needs.set(1, "success");
  else for (const { back, on } of task.needs) needs.set(back + 1, on);
  return {
    needs: [...needs].flatMap(([back, on]) => (back > at ? [] : [`t${at - back}?${on}`])),
    run:
      kind === "command"
        ? { kind, argv: ["true"] }
        : { kind: kind === "node" ? "node" : "python", file: "f", function: "f" },
    retries: {
      ...noRetries,
      limit: task.limit,
      lost: 1000,
      backoffMs: task.isDelayed ? backoffMs : 0,
      jitter: 0.5,
    },
    ...(when === undefined ? {} : { when: ["{{ x }}"] }),
    ...(items === undefined ? {} : { map: "{{ x }}" }),
    ...(items === undefined || mapConcurrency === undefined ? {} : { mapConcurrency }),
    ...(event === undefined
      ? {}
      : { waitFor: event === neverEvent ? { event, timeoutMs: 30 } : { event } }),
    ...(pool === undefined ? {} : { pool }),
    ...(cpu === undefined ? {} : { resources: { cpu } }),
    ...(priority === undefined ? {} : { priority }),
    ...(task.allowFailure === undefined ? {} : { allowFailure: true }),
    ...(exit === undefined ? {} : { exit }),
  };
}
