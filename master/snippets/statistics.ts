// What came in, how it ended, how long it took and what it used, since the start and minute by
// minute for the last hour. Book-keeping for callers; Prometheus has its own figures.
import type { Snippet, SnippetEnd } from "./snippet.ts";

const recentCount = 2000;
const minuteMs = 60_000;
const mostMinutes = 60;

interface Used {
  finished: number;
  failed: number;
  wall_ms: number;
  cpu_ms: number;
  output_bytes: number;
  peak_memory_bytes: number;
}

/** Of the last 2,000. */
class Recent {
  readonly #values: number[] = [];
  #next = 0;

  add(value: number): void {
    this.#values[this.#next] = value;
    this.#next = (this.#next + 1) % recentCount;
  }

  view(): { p50: number; p95: number; p99: number; count: number } | undefined {
    if (this.#values.length === 0) return undefined;
    const sorted = this.#values.toSorted((a, b) => a - b);
    const at = (share: number) =>
      Math.round((sorted[Math.floor((sorted.length - 1) * share)] ?? 0) * 1000) / 1000;
    return { p50: at(0.5), p95: at(0.95), p99: at(0.99), count: sorted.length };
  }
}

export class Statistics {
  readonly #clock: () => number;
  readonly #states: { [state: string]: number } = {
    accepted: 0,
    succeeded: 0,
    failed: 0,
    cancelled: 0,
    busy: 0,
  };
  readonly #reasons: { [reason: string]: number } = {};
  readonly #latency = new Recent();
  readonly #queueTime = new Recent();
  readonly #total: Used = noUse();
  readonly #minutes = new Map<number, Used>();

  constructor(clock: () => number) {
    this.#clock = clock;
  }

  accepted(): void {
    this.#count("accepted");
  }

  busy(): void {
    this.#count("busy");
  }

  finished(snippet: Snippet, end: SnippetEnd): void {
    const { outcome, facts, finishedAt } = end;
    this.#count(outcome.kind);
    if (outcome.kind === "failed") {
      const { reason } = outcome.failure;
      this.#reasons[reason] = (this.#reasons[reason] ?? 0) + 1;
    }
    this.#latency.add(Math.max(0, finishedAt - snippet.createdAt));
    if (facts.startedAt !== undefined) {
      this.#queueTime.add(Math.max(0, facts.startedAt - snippet.createdAt));
    }
    const used: Used = {
      finished: 1,
      failed: outcome.kind === "failed" ? 1 : 0,
      wall_ms: facts.wallMs ?? 0,
      cpu_ms: (facts.cpuUserMs ?? 0) + (facts.cpuSystemMs ?? 0),
      output_bytes: (facts.stdoutBytes ?? 0) + (facts.stderrBytes ?? 0),
      peak_memory_bytes: facts.peakMemoryBytes ?? facts.maxRssBytes ?? 0,
    };
    add(this.#total, used);
    add(this.#minute(), used);
  }

  view() {
    return {
      tasks: { ...this.#states },
      failures: { ...this.#reasons },
      latency_ms: this.#latency.view(),
      queue_ms: this.#queueTime.view(),
      used: { ...this.#total },
    };
  }

  /** Oldest first; minutes in which nothing ended are left out. */
  history(): (Used & { time: number })[] {
    this.#forget();
    return [...this.#minutes].map(([minute, used]) => ({ time: minute * minuteMs, ...used }));
  }

  #count(state: string): void {
    this.#states[state] = (this.#states[state] ?? 0) + 1;
  }

  #minute(): Used {
    const minute = Math.floor(this.#clock() / minuteMs);
    const known = this.#minutes.get(minute);
    if (known !== undefined) return known;
    this.#forget();
    const used = noUse();
    this.#minutes.set(minute, used);
    return used;
  }

  #forget(): void {
    const oldest = Math.floor(this.#clock() / minuteMs) - mostMinutes;
    for (const minute of this.#minutes.keys()) {
      if (minute <= oldest) this.#minutes.delete(minute);
    }
  }
}

function noUse(): Used {
  return { finished: 0, failed: 0, wall_ms: 0, cpu_ms: 0, output_bytes: 0, peak_memory_bytes: 0 };
}

function add(to: Used, used: Used): void {
  to.finished += used.finished;
  to.failed += used.failed;
  to.wall_ms += used.wall_ms;
  to.cpu_ms += used.cpu_ms;
  to.output_bytes += used.output_bytes;
  to.peak_memory_bytes = Math.max(to.peak_memory_bytes, used.peak_memory_bytes);
}
