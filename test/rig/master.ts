// A real `edgedag master` in a box, and what tests ask of it over its HTTP API.
import type { NodeView } from "../../master/nodes/nodes.ts";
import type { ResultView } from "../../master/results/results.ts";
import type { TaskView } from "../../master/runs/runs.ts";
import type { LogLine } from "../../protocol/log.ts";
import type { RunOutcome } from "../../protocol/outcome.ts";
import type { Box } from "./box.ts";
import type { Cli } from "./cli.ts";
import { until } from "./until.ts";

export const token = "secret-of-the-box";

export interface RunAtMaster {
  id: string;
  node?: string;
  state: string;
  outcome?: RunOutcome;
  tasks: TaskView[];
}

export interface ArtifactAtMaster {
  task: string;
  name: string;
  attempt: number;
  sizeBytes: number;
  sha256: string;
  state: string;
}

export class RealMaster {
  readonly #box: Box;
  #cli: Cli;
  url: string;

  private constructor(box: Box, cli: Cli, url: string) {
    this.#box = box;
    this.#cli = cli;
    this.url = url;
  }

  static async start(
    box: Box,
    address = "127.0.0.1:0",
    env: { [name: string]: string } = {},
  ): Promise<RealMaster> {
    const { cli, url } = await begin(box, address, env);
    return new RealMaster(box, cli, url);
  }

  /** Variables with which agents and clients find it. */
  get env(): { EDGEDAG_MASTER: string; EDGEDAG_TOKEN: string } {
    return { EDGEDAG_MASTER: this.url, EDGEDAG_TOKEN: token };
  }

  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    await this.#cli.stop(signal);
  }

  /** On the same address and folder, after `stop`. */
  async startAgain(): Promise<void> {
    const { cli } = await begin(this.#box, new URL(this.url).host);
    this.#cli = cli;
  }

  async get(path: string): Promise<Response> {
    return fetch(`${this.url}${path}`, { headers: { authorization: `Bearer ${token}` } });
  }

  async #json<T>(path: string): Promise<T> {
    const response = await this.get(path);
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as T; // the master's OpenAPI document says what it is
  }

  async runs(): Promise<RunAtMaster[]> {
    return (await this.#json<{ runs: RunAtMaster[] }>("/api/runs")).runs;
  }

  run(id: string): Promise<RunAtMaster> {
    return this.#json(`/api/runs/${id}`);
  }

  async results(id: string): Promise<ResultView[]> {
    return (await this.#json<{ results: ResultView[] }>(`/api/runs/${id}/results`)).results;
  }

  async artifacts(id: string): Promise<ArtifactAtMaster[]> {
    const path = `/api/runs/${id}/artifacts`;
    return (await this.#json<{ artifacts: ArtifactAtMaster[] }>(path)).artifacts;
  }

  async node(id = "box"): Promise<NodeView | undefined> {
    const { nodes } = await this.#json<{ nodes: NodeView[] }>("/api/nodes");
    return nodes.find((node) => node.id === id);
  }

  async log(id: string, query = ""): Promise<LogLine[]> {
    const text = await (await this.get(`/api/runs/${id}/log${query}`)).text();
    const lines = text.split("\n").filter((line) => line !== "");
    return lines.map((line) => JSON.parse(line) as LogLine);
  }

  /** The only run of the box, once it has its outcome. */
  async finishedRun(): Promise<RunAtMaster> {
    const [run] = await until(
      "the master knows the outcome of the run",
      () => this.runs(),
      (runs) => runs.length > 0 && runs.every((run) => run.outcome !== undefined),
    );
    if (run === undefined) throw new Error("no run");
    return this.run(run.id);
  }

  connected(id = "box"): Promise<NodeView | undefined> {
    return until(
      `node ${id} is connected`,
      () => this.node(id),
      (node) => node?.connected === true,
    );
  }
}

async function begin(
  box: Box,
  address: string,
  env: { [name: string]: string } = {},
): Promise<{ cli: Cli; url: string }> {
  const cli = box.start(["master"], {
    env: {
      EDGEDAG_LISTEN: address,
      EDGEDAG_DATA: box.path("master"),
      EDGEDAG_TOKEN: token,
      ...env,
    },
  });
  const [, url] = await cli.says(/master listens on (http:[^"]+)"/);
  if (url === undefined) throw new Error("no address");
  return { cli, url };
}
