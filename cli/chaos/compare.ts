// Judges one run that was disturbed by what an undisturbed one left, and by the evidence. Pure:
// what is wrong comes back as sentences.
import type { TaskView } from "../../master/runs/runs.ts";
import type { EvidenceLine } from "./evidence.ts";
import type { RunSeen } from "./observe.ts";

/** What all undisturbed runs have in common. */
export interface Expected {
  tasks: Map<string, { outcome: string; result: string | undefined }>;
  /** `TASK STREAM` to the bytes of the final attempt. */
  streams: Map<string, string>;
  /** `TASK NAME` to the digest. */
  artifacts: Map<string, string>;
  /** Tasks that two undisturbed runs do not agree on: not compared. */
  unsteady: Set<string>;
  /** Tasks of which an undisturbed run had more than one attempt. */
  failing: Set<string>;
}

/** `second`: of the same DAG, to find what is never twice the same. */
export function expectedOf(first: RunSeen, second: RunSeen): Expected {
  const [one, two] = [summed(first), summed(second)];
  const unsteady = new Set<string>();
  for (const kind of ["tasks", "streams", "artifacts"] as const) {
    for (const key of new Set([...one[kind].keys(), ...two[kind].keys()])) {
      const isSame = JSON.stringify(one[kind].get(key)) === JSON.stringify(two[kind].get(key));
      if (!isSame) unsteady.add(key.split(" ")[0] ?? key);
    }
  }
  const failing = new Set(first.tasks.filter((t) => t.attempts.length > 1).map((t) => t.task));
  return { ...one, unsteady, failing };
}

export function problemsOfRun(run: RunSeen, expected: Expected): string[] {
  const problems: string[] = [];
  const seen = summed(run);
  if (run.outcome === undefined) problems.push("it has no outcome");
  for (const task of run.tasks) problems.push(...problemsOfTask(task));
  for (const kind of ["tasks", "streams", "artifacts"] as const) {
    for (const key of new Set([...expected[kind].keys(), ...seen[kind].keys()])) {
      if (expected.unsteady.has(key.split(" ")[0] ?? key)) continue;
      const [have, want] = [seen[kind].get(key), expected[kind].get(key)];
      if (JSON.stringify(have) !== JSON.stringify(want)) {
        problems.push(`${kind.slice(0, -1)} ${key}: ${differ(have, want)}`);
      }
    }
  }
  // Whatever was killed has written the beginning of what it would have.
  for (const [key, text] of run.streams) {
    const [attempt = "", stream = ""] = key.split(" ");
    const task = attempt.slice(0, attempt.lastIndexOf("#"));
    if (expected.unsteady.has(task) || stream === "log") continue;
    const whole = expected.streams.get(`${task} ${stream}`) ?? "";
    // A traceback of a call whose store or channel was killed is the attempt's own.
    if (stream === "stdout" && !whole.startsWith(text)) {
      problems.push(
        `output of ${key} is no beginning of the undisturbed one: ${differ(text, whole)}`,
      );
    }
  }
  for (const { task, name, attempt, state } of run.artifacts) {
    if (state !== "verified") problems.push(`artifact ${task}#${attempt} ${name} is ${state}`);
  }
  for (const [index, line] of run.lines.entries()) {
    if (line.seq === index + 1) continue;
    problems.push(`line ${index + 1} of the log has the number ${line.seq}`);
    break;
  }
  return problems;
}

function problemsOfTask({ task, state, outcome, attempts }: TaskView): string[] {
  const problems: string[] = [];
  if (state !== "finished" || outcome === undefined) problems.push(`${task} has not ended`);
  const succeeded = attempts.filter((attempt) => attempt.outcome?.kind === "succeeded");
  if (succeeded.length > 1) problems.push(`${task} succeeded ${succeeded.length} times`);
  const last = Math.max(0, ...attempts.map(({ attempt }) => attempt));
  if (succeeded[0] !== undefined && succeeded[0].attempt !== last) {
    problems.push(`${task}#${succeeded[0].attempt} succeeded, and ${task}#${last} came after it`);
  }
  const numbers = new Set(attempts.map(({ attempt }) => attempt));
  if (numbers.size !== attempts.length) problems.push(`${task} has an attempt twice`);
  return problems;
}

/**
 * `finals`: for each moment at which the agent was dead, what its journal and the master then held as
 * ended. Every task that marks itself is judged: an end that was on record is never followed by
 * another beginning, and nothing begins twice without a kill between (or a failure of its own).
 */
export function problemsOfEvidence(
  run: RunSeen,
  lines: readonly EvidenceLine[],
  finals: readonly { at: number; ended: ReadonlySet<string> }[],
  expected: Expected,
): string[] {
  const problems: string[] = [];
  const own = lines.filter((line) => "run" in line && line.run === run.id);
  const kills = lines.filter((line) => !("run" in line)).map(({ at }) => at);
  const views = new Map(run.tasks.map((view) => [view.task, view]));
  const marked = new Set(own.flatMap((line) => ("task" in line ? [line.task] : [])));
  for (const task of marked) {
    const marks = own.filter((line) => "task" in line && line.task === task);
    const begins = marks.filter(({ kind }) => kind === "begin");
    const ends = marks.filter(({ kind }) => kind === "end");
    const attempts = views.get(task)?.attempts ?? [];
    const good = attempts.find(({ outcome }) => outcome?.kind === "succeeded");
    if (good !== undefined) {
      const isDone = (line: EvidenceLine) => "attempt" in line && line.attempt === good.attempt;
      if (!ends.some(isDone)) problems.push(`${task}#${good.attempt} succeeded without its end`);
      for (const begin of begins) {
        if ("attempt" in begin && begin.attempt > good.attempt) {
          problems.push(`${task}#${begin.attempt} began, though ${task}#${good.attempt} succeeded`);
        }
      }
    }
    for (const { at, ended } of finals) {
      if (!ended.has(`${run.id} ${task}`)) continue;
      const late = begins.find((begin) => begin.at >= at);
      if (late !== undefined) problems.push(`${task} began again after its end was on record`);
    }
    for (const [index, begin] of begins.entries()) {
      const next = begins[index + 1];
      if (next === undefined || expected.failing.has(task)) continue;
      if (!kills.some((at) => at > begin.at && at < next.at)) {
        problems.push(`${task} began twice and nothing was killed between`);
      }
    }
  }
  return problems;
}

function summed(run: RunSeen): Pick<Expected, "tasks" | "streams" | "artifacts"> {
  const last = new Map<string, number>();
  const tasks: Expected["tasks"] = new Map();
  for (const { task, outcome, attempts } of run.tasks) {
    last.set(task, Math.max(0, ...attempts.map(({ attempt }) => attempt)));
    const result = run.results.get(task);
    tasks.set(task, { outcome: outcome?.kind ?? "none", result });
  }
  const streams: Expected["streams"] = new Map();
  for (const [key, text] of run.streams) {
    const [attempt = "", stream = ""] = key.split(" ");
    const at = attempt.lastIndexOf("#");
    const task = attempt.slice(0, at);
    if (last.get(task) === Number(attempt.slice(at + 1))) streams.set(`${task} ${stream}`, text);
  }
  const artifacts: Expected["artifacts"] = new Map();
  for (const { task, name, attempt, sha256 } of run.artifacts) {
    if (last.get(task) === attempt) artifacts.set(`${task} ${name}`, sha256);
  }
  return { tasks, streams, artifacts };
}

function differ(have: unknown, want: unknown): string {
  if (typeof have === "string" && typeof want === "string") {
    let at = 0;
    while (at < have.length && have[at] === want[at]) at += 1;
    const near = (text: string) => JSON.stringify(text.slice(Math.max(0, at - 10), at + 40));
    return `${have.length} bytes, ${want.length} expected; at ${at} ${near(have)}, not ${near(want)}`;
  }
  const text = (value: unknown) => (JSON.stringify(value) ?? "nothing").slice(0, 160);
  return `${text(have)}, expected ${text(want)}`;
}
