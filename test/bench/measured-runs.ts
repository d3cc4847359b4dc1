// One document run again and again by the agent: the figure of a round is what a task took to the
// end of the last one, which is when peers have their result too. What follows, to the outcome on
// record in the journal, is a figure of its own.
import type { DagArtifact } from "../../protocol/artifact.ts";
import type { BenchAgent } from "./bench-agent.ts";
import { type Answer, type Contender, median, short } from "./frame.ts";

export interface RunsOptions {
  agent: BenchAgent;
  artifact: DagArtifact;
  /** Tasks by which the time is divided. */
  count: number;
  name?: string;
}

export class MeasuredRuns {
  readonly contender: Contender;
  readonly #toOutcome: number[] = [];
  readonly #p50: number[] = [];
  readonly #p99: number[] = [];

  constructor({ agent, artifact, count, name = "edgedag" }: RunsOptions) {
    this.contender = {
      name,
      isOurs: true,
      round: async () => {
        const { tasksMs, wallMs, summary } = await agent.run(artifact);
        this.#toOutcome.push(wallMs / count);
        this.#p50.push(summary.interTaskP50Ms ?? Number.NaN);
        this.#p99.push(summary.interTaskP99Ms ?? Number.NaN);
        return tasksMs / count;
      },
    };
  }

  /** Adds what the rounds showed besides. */
  addTo(answer: Answer): Answer {
    const { name } = this.contender;
    const at = answer.figures.findIndex((figure) => figure.name === name);
    const rounds = answer.figures[at]?.samples.length ?? 0;
    const samples = this.#toOutcome.slice(-rounds);
    answer.figures.splice(at + 1, 0, { name: `${name}, outcome on record`, isOurs: true, samples });
    const gap = (values: readonly number[]) => short(median(values.slice(-rounds)));
    answer.notes.push(
      `${name}'s run report, from a task's end to the next start: p50 ${gap(this.#p50)} ms, p99 ${gap(this.#p99)} ms`,
    );
    return answer;
  }
}
