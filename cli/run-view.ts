// What a person sees of a run in a terminal: lines as things happen, and, where the terminal can
// redraw, a few status lines below them.

import type { RunHost } from "../agent/run-host.ts";
import type { RunObserver } from "../agent/run-observer.ts";
import { describeFailure } from "../protocol/describe.ts";
import type { RunSummary } from "../protocol/link.ts";
import type { Outcome, RunOutcome } from "../protocol/outcome.ts";

export interface ViewStream {
  write(text: string): unknown;
  isTTY?: boolean;
  columns?: number;
}

const redrawEveryMs = 100;
const maxShownTasks = 8;

const marks: Record<Outcome["kind"], { mark: string; colour: number }> = {
  succeeded: { mark: "✓", colour: 32 },
  failed: { mark: "✗", colour: 31 },
  skipped: { mark: "-", colour: 90 },
  cancelled: { mark: "!", colour: 33 },
};

/** `1.2 s`, `340 ms`, `2 m 5 s`. */
export function formatMs(ms: number): string {
  if (ms < 999.5) return `${ms < 10 ? Math.round(ms * 10) / 10 : Math.round(ms)} ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)} m ${seconds % 60} s`;
}

export class RunView {
  readonly #out: ViewStream;
  readonly #isLive: boolean;
  readonly #startedAt = new Map<string, number>();
  readonly #progress = new Map<string, { fraction: number; text?: string }>();
  #host: RunHost | undefined;
  #timer: NodeJS.Timeout | undefined;
  #drawn = 0;
  #quietItems = 0;
  /** The task of the attempt that ended last: its task's end comes right behind it. */
  #lastEnded = "";

  constructor(out: ViewStream) {
    this.#out = out;
    this.#isLive = out.isTTY === true;
  }

  readonly observer: RunObserver = {
    attemptStarted: (task) => {
      this.#startedAt.set(task, performance.now());
    },
    attemptFinished: (task, attempt, { outcome, facts, retryAt }) => {
      this.#startedAt.delete(task);
      this.#progress.delete(task);
      this.#lastEnded = task;
      if (retryAt !== undefined && outcome.kind === "failed") {
        const why = printable(describeFailure(outcome.failure));
        this.#line(`${this.#colour(33, "↻")} ${task}#${attempt} ${why}; it is tried again`);
      } else this.#ended(task, outcome, facts.wallMs);
    },
    taskFinished: (task, outcome) => {
      const isUntold = outcome.kind === "failed" && this.#lastEnded !== task;
      if (outcome.kind === "skipped" || isUntold) this.#ended(task, outcome);
    },
    progress: (task, fraction, text) => {
      // Drawn with the next redraw, ten times a second.
      const shown = text === undefined ? {} : { text: printable(text.slice(0, 200)) };
      this.#progress.set(task, { fraction, ...shown });
    },
  };

  attach(host: RunHost, title: string): void {
    this.#host = host;
    this.#line(this.#colour(1, title));
    if (!this.#isLive) return;
    this.#timer = setInterval(() => this.#redraw(), redrawEveryMs);
  }

  finish(outcome: RunOutcome, summary: RunSummary): void {
    clearInterval(this.#timer);
    this.#clear();
    this.#host = undefined;
    this.#sayQuietItems();
    const { tasks, succeeded, failed, skipped, cancelled, attempts, wallMs } = summary;
    const counts = [
      `${succeeded} of ${tasks} tasks succeeded`,
      ...(failed > 0 ? [`${failed} failed`] : []),
      ...(skipped > 0 ? [`${skipped} skipped`] : []),
      ...(cancelled > 0 ? [`${cancelled} cancelled`] : []),
      `${attempts} attempts`,
      formatMs(wallMs),
    ];
    const { mark, colour } = marks[outcome.kind];
    this.#line(`${this.#colour(colour, `${mark} run ${outcome.kind}`)}: ${counts.join(", ")}`);
    const { interTaskP50Ms: p50, interTaskP99Ms: p99 } = summary;
    if (p50 !== undefined && p99 !== undefined) {
      this.#line(`  from a task's end to the next one's start: median ${p50} ms, p99 ${p99} ms`);
    }
    const { schedulerMs, overheadShare } = summary;
    if (schedulerMs !== undefined && overheadShare !== undefined) {
      const share = Number((overheadShare * 100).toPrecision(2));
      this.#line(`  scheduler: ${formatMs(schedulerMs)}, ${share} % of all time`);
    }
    if (summary.uplinkBytes !== undefined) {
      this.#line(`  sent to the master meanwhile: ${summary.uplinkBytes} bytes`);
    }
  }

  #ended(task: string, outcome: Outcome, wallMs?: number): void {
    // Items of a wide fan-out are counted, not listed: failures are always told.
    if (outcome.kind === "succeeded" && /\[\d+\]$/.test(task)) {
      this.#quietItems += 1;
      return;
    }
    this.#sayQuietItems();
    const { mark, colour } = marks[outcome.kind];
    const time = wallMs === undefined ? "" : ` ${this.#colour(90, formatMs(wallMs))}`;
    const why =
      outcome.kind === "failed"
        ? `: ${printable(describeFailure(outcome.failure))}`
        : outcome.kind === "skipped"
          ? this.#colour(90, ` skipped (${outcome.because})`)
          : "";
    this.#line(`${this.#colour(colour, mark)} ${task}${time}${why}`);
  }

  #sayQuietItems(): void {
    if (this.#quietItems === 0) return;
    const count = this.#quietItems;
    this.#quietItems = 0;
    this.#line(`${this.#colour(32, "✓")} ${count} items of fan-outs`);
  }

  #line(text: string): void {
    this.#clear();
    this.#out.write(`${text}\n`);
    if (this.#isLive && this.#host !== undefined) this.#redraw();
  }

  #redraw(): void {
    const host = this.#host;
    if (host === undefined) return;
    this.#clear();
    const { total, succeeded, failed, skipped, cancelled } = host.state.counts;
    const done = succeeded + failed + skipped + cancelled;
    const width = Math.max(20, (this.#out.columns ?? 80) - 1);
    const lines = [`${bar(done / Math.max(1, total))} ${done}/${total}`];
    const running = host.running();
    for (const { task } of running.slice(0, maxShownTasks)) {
      const since = this.#startedAt.get(task);
      const time = since === undefined ? "" : ` ${formatMs(performance.now() - since)}`;
      const progress = this.#progress.get(task);
      const share = progress === undefined ? "" : ` ${Math.round(progress.fraction * 100)} %`;
      lines.push(`  ▸ ${task}${time}${share} ${progress?.text ?? ""}`.trimEnd());
    }
    if (running.length > maxShownTasks) lines.push(`  ... ${running.length - maxShownTasks} more`);
    this.#out.write(lines.map((line) => `${line.slice(0, width)}\n`).join(""));
    this.#drawn = lines.length;
  }

  #clear(): void {
    if (this.#drawn === 0) return;
    this.#out.write(`\x1b[${this.#drawn}A\x1b[J`);
    this.#drawn = 0;
  }

  #colour(code: number, text: string): string {
    return this.#isLive ? `\x1b[${code}m${text}\x1b[0m` : text;
  }
}

/** Texts of tasks must not move the cursor or colour the terminal: what is drawn is counted. */
function printable(text: string): string {
  return text.replace(/\p{Cc}+/gu, " ");
}

function bar(share: number): string {
  const cells = 24;
  const full = Math.round(share * cells);
  return `[${"█".repeat(full)}${" ".repeat(cells - full)}]`;
}
