// The calls that were handed to one worker, in order: first the answered ones, then the one that
// runs, then those that wait. Keeps the positions in it together and finishes the first; it never
// decides that a call has ended.
import type { Call } from "./call.ts";
import type { Done } from "./messages.ts";

export class CallQueue {
  readonly calls: Call[] = [];
  /** How many of `calls` have been answered, and from where on marks of each stream are missing. */
  answered = 0;
  readonly marked = { stdout: 0, stderr: 0 };

  /** The call that runs. */
  get head(): Call | undefined {
    return this.calls[this.answered];
  }

  isLast(call: Call): boolean {
    return this.calls.at(-1) === call;
  }

  /** Only for the head. */
  accept(call: Call, done: Done): void {
    this.answered += 1;
    call.end = done;
    call.isUnmarked = done.unmarked === true || done.kind === "returned";
  }

  skipUnmarked(stream: "stdout" | "stderr"): void {
    while (this.calls[this.marked[stream]]?.isUnmarked === true) this.marked[stream] += 1;
  }

  /** Of what has been answered no marks are waited for any longer. */
  forgoMarks(): void {
    this.marked.stdout = this.answered;
    this.marked.stderr = this.answered;
  }

  /** How many calls have their answer and their marks. */
  countComplete(): number {
    const { stdout, stderr } = this.marked;
    return Math.min(this.answered, stdout, stderr);
  }

  /** Takes the answered calls away, unfinished. */
  takeAnswered(): Call[] {
    const taken = this.calls.splice(0, this.answered);
    this.answered = 0;
    this.marked.stdout = 0;
    this.marked.stderr = 0;
    return taken;
  }

  /** `pid`: of the worker, where it is known. */
  finishFirst(pid: number | undefined): void {
    const call = this.calls.shift();
    if (call?.end === undefined) return;
    this.answered -= 1;
    this.marked.stdout = Math.max(0, this.marked.stdout - 1);
    this.marked.stderr = Math.max(0, this.marked.stderr - 1);
    const { end } = call;
    if (end.kind === "succeeded" || end.kind === "failed") {
      startCall(call, end.facts.startedAt ?? Date.now(), true);
      end.facts.stdoutBytes = call.stdoutBytes;
      end.facts.stderrBytes = call.stderrBytes;
      if (pid !== undefined) end.facts.pid = pid;
    }
    call.listener.finished(end);
  }
}

/** Tells the start, once. */
export function startCall(call: Call, at: number, isOver = false): void {
  if (call.startedAt !== undefined) return;
  call.startedAt = at;
  call.listener.started(at, isOver);
}
