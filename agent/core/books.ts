// Everything that a run remembers, in one place. The parts keep books and decide nothing; only
// RunState and its three hands (arming, attempts, ends) write them, all within `handle`.
import type { DagDocument } from "../../protocol/dag.ts";
import { Admission } from "./admission.ts";
import { EventWaits } from "./event-waits.ts";
import type { Command, Instance, Millis } from "./events.ts";
import { buildGraph, type RunGraph } from "./graph.ts";
import { Pace } from "./pace.ts";
import { Progress } from "./progress.ts";
import { Retries } from "./retry.ts";
import { Slots } from "./slots.ts";
import type { StateId, TaskState } from "./task-state.ts";
import { TaskTable } from "./task-table.ts";
import { Timers } from "./timers.ts";
import { Unmet } from "./unmet.ts";

export class Books {
  readonly graph: RunGraph;
  readonly table: TaskTable;
  readonly unmet: Unmet;
  readonly admission: Admission;
  readonly slots = new Slots();
  readonly pace: Pace;
  readonly timers: Timers;
  readonly waits: EventWaits;
  readonly retries = new Retries();
  readonly progress: Progress;
  isDraining = false;
  isDrainReported = false;
  /** Of the event that is being handled. */
  now: Millis = 0;
  /** The answer to the event that is being handled. */
  commands: Command[] = [];

  constructor(document: DagDocument) {
    this.graph = buildGraph(document);
    this.table = new TaskTable(this.graph);
    this.unmet = new Unmet(this.graph);
    this.admission = new Admission(this.table, document.attributes);
    this.timers = new Timers((instance) => this.table.stateOf(instance));
    this.waits = new EventWaits(this.graph.tasks);
    this.progress = new Progress(this.graph);
    this.pace = new Pace(this.graph.functionCount, this.graph.processes);
  }

  idOf(instance: Instance): StateId {
    return this.table.stateOf(instance).id;
  }

  move(instance: Instance, to: TaskState): void {
    this.table.move(instance, to, this.now);
  }
}
