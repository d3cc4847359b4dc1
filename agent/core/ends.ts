// The end of an instance: its outcome, and what follows for the fan-out that it belongs to and for
// the tasks after it, which are skipped or armed. What arming means is the caller's affair.
import type { Outcome } from "../../protocol/outcome.ts";
import type { Books } from "./books.ts";
import type { Instance } from "./events.ts";
import { SUCCEEDED } from "./task-state.ts";
import type { Successors } from "./unmet.ts";

export class Ends {
  readonly #books: Books;
  /** Takes a waiting task whose needs are all met. */
  readonly #arm: (instance: Instance) => void;
  // Skipping one task skips its successors and may arm others. Work lists instead of recursion: a
  // chain of 100,000 tasks must not overflow the stack.
  readonly #unreachable: { instance: Instance; because: Instance }[] = [];
  readonly #met: Instance[] = [];
  #isSettling = false;
  /** The instance whose successors are looked at. */
  #source: Instance = 0;
  readonly #successors: Successors;

  constructor(books: Books, arm: (instance: Instance) => void) {
    this.#books = books;
    this.#arm = arm;
    this.#successors = {
      isWaiting: (instance) => books.idOf(instance) === "waiting",
      unreachable: (instance) => this.#unreachable.push({ instance, because: this.#source }),
      met: (instance) => this.#met.push(instance),
    };
  }

  finish(instance: Instance, outcome: Outcome): void {
    const { table, progress, admission, commands } = this.#books;
    this.#books.move(
      instance,
      outcome.kind === "succeeded" ? SUCCEEDED : { id: "finished", outcome },
    );
    commands.push({ type: "finish-task", task: instance, outcome });
    const item = table.fanOuts.itemOf(instance);
    if (item === undefined) {
      const isFault = outcome.kind === "failed" && !table.taskOf(instance).allowFailure;
      progress.finishTask(instance, outcome, isFault ? table.keyOf(instance) : undefined);
      this.#settleSuccessors(instance, outcome);
      return;
    }
    progress.finishItem(outcome);
    const outcomeOfAll = table.fanOuts.finish(item, outcome);
    if (outcomeOfAll === undefined) return;
    admission.closeFanOut(item.parent);
    this.finish(item.parent, outcomeOfAll);
  }

  /** Finishes or arms several tasks before what follows from any of them. */
  together(work: () => void): void {
    this.#isSettling = true;
    work();
    this.#settle();
  }

  #settleSuccessors(instance: Instance, outcome: Outcome): void {
    this.#source = instance;
    this.#books.unmet.settle(instance, outcome.kind, this.#successors);
    if (!this.#isSettling) this.#settle();
  }

  #settle(): void {
    const { table, progress } = this.#books;
    this.#isSettling = true;
    for (;;) {
      const lost = this.#unreachable.pop();
      if (lost !== undefined) {
        if (!this.#successors.isWaiting(lost.instance)) continue;
        this.finish(lost.instance, { kind: "skipped", because: table.keyOf(lost.because) });
        continue;
      }
      const met = this.#met.pop();
      if (met === undefined) break;
      if (!this.#successors.isWaiting(met)) continue;
      // Exit handlers start together, when every other task has finished.
      if (progress.phase === "exit" || !table.isExit(met)) this.#arm(met);
    }
    this.#isSettling = false;
  }
}
