// A real `edgedag serve` in a box of its own, and what tests ask of it over HTTP. Ends it by SIGTERM
// and wants a clean exit; nothing of it outlives the test. Knows nothing of how the service is built.
import { Box } from "../rig/box.ts";
import type { Cli } from "../rig/cli.ts";
import type { RunAnswer } from "./answers.ts";

export type Env = { readonly [name: string]: string | undefined };
export type Headers = { readonly [name: string]: string };

export interface Reply<T> {
  status: number;
  headers: globalThis.Headers;
  /** The body as text, and as the JSON that it is; undefined where it is none. */
  text: string;
  value: T;
}

export interface Asked {
  headers?: Headers;
  signal?: AbortSignal;
}

/** Small and quick, and the same on every machine. */
const quick: Env = {
  EDGEDAG_LISTEN: "127.0.0.1:0",
  EDGEDAG_LEVELS: "seccomp",
  EDGEDAG_SNIPPET_ISOLATION: "seccomp",
  EDGEDAG_CODE_POLICY: "off",
  EDGEDAG_POOL_SIZE: "2",
  EDGEDAG_SNIPPET_SLOTS: "4",
};

export class Service implements AsyncDisposable {
  readonly box: Box;
  readonly #env: Env;
  #cli: Cli;
  #url: string;
  #isKilled = false;

  private constructor(box: Box, env: Env, cli: Cli, url: string) {
    this.box = box;
    this.#env = env;
    this.#cli = cli;
    this.#url = url;
  }

  /** With the given variables over the usual ones; `undefined` takes one away. */
  static async start(env: Env = {}): Promise<Service> {
    const box = await Box.create();
    try {
      const all = { ...quick, EDGEDAG_STATE: box.state, EDGEDAG_DATA: box.path("data"), ...env };
      const { cli, url } = await begin(box, all);
      return new Service(box, all, cli, url);
    } catch (error) {
      await box[Symbol.asyncDispose]();
      throw error;
    }
  }

  get url(): string {
    return this.#url;
  }

  get pid(): number {
    return this.#cli.pid;
  }

  get cli(): Cli {
    return this.#cli;
  }

  async ask<T>(method: string, path: string, init: RequestInit = {}): Promise<Reply<T>> {
    const response = await fetch(`${this.#url}${path}`, { ...init, method });
    const { status, headers } = response;
    const text = await response.text();
    const isJson = headers.get("content-type")?.startsWith("application/json") ?? false;
    // What it is, the test says and compares.
    return { status, headers, text, value: (isJson ? JSON.parse(text) : undefined) as T };
  }

  get<T>(path: string, { headers = {}, signal }: Asked = {}): Promise<Reply<T>> {
    return this.ask("GET", path, { headers, ...(signal === undefined ? {} : { signal }) });
  }

  post<T>(path: string, body?: unknown, { headers = {}, signal }: Asked = {}): Promise<Reply<T>> {
    const stop = signal === undefined ? {} : { signal };
    if (body === undefined) return this.ask("POST", path, { headers, ...stop });
    return this.ask("POST", path, {
      body: JSON.stringify(body),
      headers: { "content-type": "application/json", ...headers },
      ...stop,
    });
  }

  /** `POST /run`, as its callers send it. */
  async run(
    language: "python" | "nodejs",
    code: string,
    args?: object,
    asked: Asked = {},
  ): Promise<RunAnswer> {
    const body = {
      code_b64: base64(code),
      language,
      ...(args === undefined ? {} : { arguments: args }),
    };
    const { status, value, text } = await this.post<RunAnswer>("/run", body, asked);
    if (status !== 200) throw new Error(`POST /run answered ${status}: ${text}`);
    return value;
  }

  /** Figures of `GET /metrics`: the sum over all lines of the name that have these labels. */
  async metric(name: string, labels: Headers = {}): Promise<number> {
    const { text } = await this.get("/metrics");
    let sum = 0;
    for (const line of text.split("\n")) {
      const [, found, inner = "", value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
      if (found !== name) continue;
      const isWanted = Object.entries(labels).every(([label, wanted]) =>
        `,${inner},`.includes(`,${label}="${wanted}",`),
      );
      if (isWanted) sum += Number(value);
    }
    return sum;
  }

  /** Lines of its own log that are JSON. */
  logLines(): { [field: string]: unknown }[] {
    return this.#cli.stderr
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line) as { [field: string]: unknown });
  }

  /** Resolves once it has drained and exited; fails where that was not clean. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    const { code, stderr } = await this.#cli.stop(signal);
    if (code !== 0) throw new Error(`the service ended with ${code}: ${stderr}`);
    const broken = stderr.split("\n").filter((line) => /^\{"level":[56]0|^\S+Z error /.test(line));
    if (broken.length > 0) throw new Error(`the service said: ${broken.join("\n")}`);
  }

  /** As a machine that loses its power ends it. */
  async kill(): Promise<void> {
    this.#isKilled = true;
    await this.#cli.stop("SIGKILL");
  }

  /** On the same folders, and the same port, after `stop` or `kill`. */
  async startAgain(env: Env = {}): Promise<void> {
    const address = { EDGEDAG_LISTEN: new URL(this.#url).host };
    const { cli, url } = await begin(this.box, { ...this.#env, ...address, ...env });
    this.#cli = cli;
    this.#url = url;
    this.#isKilled = false;
  }

  /** Ends it, and sees that nothing of it is left. */
  async end(): Promise<void> {
    try {
      if (!this.#isKilled && !this.#cli.hasEnded) await this.stop();
      await this.box.empty();
    } finally {
      await this.box[Symbol.asyncDispose]();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
  }
}

async function begin(box: Box, env: Env): Promise<{ cli: Cli; url: string }> {
  const cli = box.start(["serve"], { env });
  const [, url] = await cli.says(/the service is up: (http\S+)/);
  if (url === undefined) throw new Error("no address");
  return { cli, url };
}

export function base64(text: string | Uint8Array): string {
  return Buffer.from(text).toString("base64");
}
