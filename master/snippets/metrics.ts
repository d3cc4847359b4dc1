// The snippets' own figures for Prometheus: depth and age of the queues, slots, latencies by language
// and level, ends by reason. Names and labels are documented in docs/self-host.md.
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Snippet, SnippetEnd } from "./snippet.ts";
import type { Snippets } from "./snippets.ts";

/** Why a request was not taken in. */
export type Refused = "unsafe" | "full" | "rate" | "invalid";

const buckets = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300,
];

export class SnippetMetrics {
  readonly #registry = new Registry();
  readonly #accepted: Counter<"language">;
  readonly #finished: Counter<"language" | "level" | "outcome" | "reason">;
  readonly #busy: Counter<"language">;
  readonly #queueSeconds: Histogram<"language">;
  readonly #runSeconds: Histogram<"language" | "level">;
  readonly #totalSeconds: Histogram<"language" | "level">;
  readonly #refused: Counter<"why">;

  constructor() {
    const registers = [this.#registry];
    this.#accepted = new Counter({
      name: "edgedag_snippets_accepted_total",
      help: "Snippets that were taken in.",
      labelNames: ["language"],
      registers,
    });
    this.#finished = new Counter({
      name: "edgedag_snippets_finished_total",
      help: "Snippets that ended, by outcome and by the reason of a failure.",
      labelNames: ["language", "level", "outcome", "reason"],
      registers,
    });
    this.#busy = new Counter({
      name: "edgedag_snippets_busy_total",
      help: "Callers that were told that all sandboxes are busy.",
      labelNames: ["language"],
      registers,
    });
    this.#refused = new Counter({
      name: "edgedag_snippets_refused_total",
      help: "Requests that were not taken in: unsafe code, a full queue, too many of a caller.",
      labelNames: ["why"],
      registers,
    });
    this.#queueSeconds = new Histogram({
      name: "edgedag_snippet_queue_seconds",
      help: "From taking a snippet in to its start.",
      labelNames: ["language"],
      buckets,
      registers,
    });
    this.#runSeconds = new Histogram({
      name: "edgedag_snippet_run_seconds",
      help: "From a snippet's start to its end, as the node measured it.",
      labelNames: ["language", "level"],
      buckets,
      registers,
    });
    this.#totalSeconds = new Histogram({
      name: "edgedag_snippet_latency_seconds",
      help: "From taking a snippet in to its end.",
      labelNames: ["language", "level"],
      buckets,
      registers,
    });
  }

  /** Figures that are looked up when they are asked for. */
  watch(snippets: Snippets): void {
    const registers = [this.#registry];
    new Gauge({
      name: "edgedag_snippets_queued",
      help: "Snippets that are kept and wait, by queue.",
      labelNames: ["language"],
      registers,
      async collect() {
        this.reset();
        for (const [language, { count }] of Object.entries(await snippets.depths())) {
          this.set({ language }, count);
        }
      },
    });
    new Gauge({
      name: "edgedag_snippets_oldest_seconds",
      help: "How long the oldest snippet of a queue has waited.",
      labelNames: ["language"],
      registers,
      async collect() {
        this.reset();
        for (const [language, { oldestAt }] of Object.entries(await snippets.depths())) {
          this.set({ language }, Math.max(0, (Date.now() - oldestAt) / 1000));
        }
      },
    });
    const gauge = (name: string, help: string, value: () => number) =>
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(value());
        },
      });
    gauge("edgedag_snippets_running", "Snippets that run.", () => snippets.figures.running);
    gauge(
      "edgedag_snippet_calls_waiting",
      "Callers that wait for a free sandbox.",
      () => snippets.figures.waitingCalls,
    );
    gauge(
      "edgedag_snippet_slots",
      "Snippets that all nodes together run at once.",
      () => snippets.dispatcher.placing.slots.total,
    );
    gauge(
      "edgedag_snippet_nodes",
      "Nodes that run snippets.",
      () => snippets.dispatcher.placing.nodes.length,
    );
  }

  accepted({ language }: Snippet): void {
    this.#accepted.inc({ language });
  }

  busy({ language }: Snippet): void {
    this.#busy.inc({ language });
  }

  refused(why: Refused): void {
    this.#refused.inc({ why });
  }

  finished({ language, createdAt }: Snippet, { outcome, facts, finishedAt }: SnippetEnd): void {
    const level = facts.isolation ?? "none";
    const reason = outcome.kind === "failed" ? outcome.failure.reason : "";
    this.#finished.inc({ language, level, outcome: outcome.kind, reason });
    this.#totalSeconds.observe({ language, level }, Math.max(0, finishedAt - createdAt) / 1000);
    if (facts.startedAt !== undefined) {
      const queueMs = Math.max(0, facts.startedAt - createdAt);
      this.#queueSeconds.observe({ language }, queueMs / 1000);
    }
    if (facts.wallMs !== undefined)
      this.#runSeconds.observe({ language, level }, facts.wallMs / 1000);
  }

  /** In Prometheus' text format. */
  async text(): Promise<string> {
    return await this.#registry.metrics();
  }
}
