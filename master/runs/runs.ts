// Views of runs and their tasks for people and programs: joins what is stored with what the nodes'
// last heartbeats said. Reads only.

import type { Gateway } from "../gateway/gateway.ts";
import { nearest } from "../nearest.ts";
import type { Nodes } from "../nodes/nodes.ts";
import type { AttemptRow, MasterStorage, RunRow } from "../storage/storage.ts";

export interface TaskView {
  task: string;
  state: "running" | "retrying" | "finished";
  outcome?: AttemptRow["outcome"];
  facts?: AttemptRow["facts"];
  progress?: { fraction: number; text?: string };
  hasResult: boolean;
  attempts: {
    attempt: number;
    state: AttemptRow["state"];
    time: number;
    outcome?: AttemptRow["outcome"];
    facts?: AttemptRow["facts"];
  }[];
}

export class Runs {
  readonly #storage: MasterStorage;
  readonly #nodes: Nodes;
  readonly #gateway: Gateway;

  constructor(storage: MasterStorage, nodes: Nodes, gateway: Gateway) {
    this.#storage = storage;
    this.#nodes = nodes;
    this.#gateway = gateway;
  }

  /** A run as the API shows it, without its tasks. */
  async view(run: RunRow): Promise<object> {
    const { tasks, finishedTasks, failedTasks, ...shown } = run;
    const node = run.node === undefined ? undefined : this.#nodes.get(run.node);
    const said = node?.heartbeat?.runs[run.id];
    const { summary } = run;
    const stored = { finished: finishedTasks, failed: failedTasks, total: tasks, running: 0 };
    // The summary counts exactly; a heartbeat is newer than the records behind it.
    const progress =
      summary !== undefined
        ? { finished: summary.tasks, failed: summary.failed, total: summary.tasks, running: 0 }
        : said !== undefined
          ? { ...stored, finished: said.done, total: said.total, running: said.running }
          : stored;
    return {
      ...shown,
      progress,
      ...(node === undefined ? {} : { nodeState: this.#nodes.livenessOf(node) }),
      ...(run.state === "queued" ? { waitsBecause: await this.#gateway.whyWaiting(run) } : {}),
    };
  }

  async tasks(run: string): Promise<TaskView[]> {
    const tasks = new Map<string, AttemptRow[]>();
    for (const attempt of await this.#storage.attempts(run)) {
      const attempts = tasks.get(attempt.task);
      if (attempts === undefined) tasks.set(attempt.task, [attempt]);
      else attempts.push(attempt);
    }
    return [...tasks].map(([task, attempts]) => taskView(task, attempts)).sort(byTaskKey);
  }

  /** The known run id that is nearest to one that is not known. */
  async nearestId(id: string): Promise<string | undefined> {
    const recent = await this.#storage.runs({ limit: 500 });
    return nearest(
      id,
      recent.map((run) => run.id),
    );
  }
}

/** The attempt that tells how the task stands: its own outcome if there is one, else the newest. */
export function decidingAttempt(attempts: readonly AttemptRow[]): AttemptRow | undefined {
  return attempts.find((attempt) => attempt.isFinal) ?? attempts.at(-1);
}

function taskView(task: string, attempts: readonly AttemptRow[]): TaskView {
  const deciding = decidingAttempt(attempts);
  const state =
    deciding?.isFinal === true
      ? "finished"
      : deciding?.state === "finished"
        ? "retrying"
        : "running";
  const view: TaskView = {
    task,
    state,
    hasResult: deciding?.hasResult ?? false,
    attempts: attempts
      .filter((attempt) => attempt.attempt > 0)
      .map(({ attempt, state, time, outcome, facts }) => ({
        attempt,
        state,
        time,
        ...(outcome === undefined ? {} : { outcome }),
        ...(facts === undefined ? {} : { facts }),
      })),
  };
  if (deciding?.outcome !== undefined) view.outcome = deciding.outcome;
  if (deciding?.facts !== undefined) view.facts = deciding.facts;
  if (deciding?.progress !== undefined) view.progress = deciding.progress;
  return view;
}

const collator = new Intl.Collator("en", { numeric: true });

/** `months[2]` before `months[10]`. */
function byTaskKey(a: { task: string }, b: { task: string }): number {
  return collator.compare(a.task, b.task);
}
