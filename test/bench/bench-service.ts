// `edgedag serve` in a process of its own, and what the benchmarks ask of it.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { Agent, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BoxLevel } from "../../agent/exec/isolation/box.ts";
import { findRoot } from "../../cli/surroundings.ts";
import { image, startEngine, type TestEngine } from "../isolation/docker-rig.ts";
import { findTestRunsc } from "../isolation/gvisor-rig.ts";

export const snippets = {
  python: "def main(n=1):\n    return n + 1\n",
  nodejs: "function main({ n = 1 }) { return n + 1; }\nmodule.exports = { main };\n",
} as const;
export type SnippetLanguage = keyof typeof snippets;

export interface ServiceOptions {
  level: BoxLevel;
  pool: number;
  env?: { [name: string]: string };
}

export interface Answered {
  ms: number;
  status: number;
  body: string;
}

export function bodyOf(language: SnippetLanguage, code: string = snippets[language]): string {
  const code64 = Buffer.from(code).toString("base64");
  return JSON.stringify({ code_b64: code64, language, arguments: {} });
}

export class BenchService implements AsyncDisposable {
  readonly url: string;
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #engine: TestEngine | undefined;
  readonly #agent = new Agent({ keepAlive: true });

  private constructor(parts: {
    url: string;
    child: ChildProcess;
    folder: string;
    engine: TestEngine | undefined;
  }) {
    this.url = parts.url;
    this.#child = parts.child;
    this.#folder = parts.folder;
    this.#engine = parts.engine;
  }

  /** A text: why this machine cannot have the level. */
  static async start({ level, pool, env = {} }: ServiceOptions): Promise<BenchService | string> {
    const settings: { [name: string]: string } = { EDGEDAG_LEVELS: level };
    let engine: TestEngine | undefined;
    if (level === "docker") {
      const started = await startEngine();
      if (typeof started === "string") return started;
      engine = started;
      settings.EDGEDAG_DOCKER_SOCKET = engine.socketPath;
      settings.EDGEDAG_DOCKER_IMAGES = `*=${image}`;
    }
    if (level === "gvisor") {
      const runsc = findTestRunsc();
      if ("reason" in runsc) return runsc.reason;
      settings.EDGEDAG_RUNSC = runsc.path;
    }
    const folder = mkdtempSync(join(tmpdir(), "edgedag-bs-"));
    const child = spawn(join(findRoot(), "bin/edgedag"), ["serve", "--dir", folder], {
      env: {
        PATH: process.env.PATH ?? "",
        HOME: process.env.HOME ?? "/",
        ...(process.env.EDGEDAG_FROM_SOURCE === undefined ? {} : { EDGEDAG_FROM_SOURCE: "1" }),
        EDGEDAG_LISTEN: "127.0.0.1:0",
        EDGEDAG_NODE: "bench",
        EDGEDAG_SNIPPET_ISOLATION: level,
        EDGEDAG_POOL_SIZE: String(pool),
        EDGEDAG_SNIPPET_SLOTS: String(pool),
        EDGEDAG_RUN_WAITING: "1000",
        EDGEDAG_LOG_LEVEL: "warn",
        ...settings,
        ...env,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const url = await new Promise<string>((resolve, reject) => {
      let text = "";
      const read = (chunk: Buffer) => {
        // Read to the end of its life, or the pipe would fill.
        if (text.length > 65_536) return;
        text += chunk;
        const found = /the service is up: (\S+)/.exec(text)?.[1];
        if (found !== undefined) resolve(found);
      };
      child.stdout.on("data", read);
      child.stderr.on("data", read);
      child.once("error", reject);
      child.once("exit", () => reject(new Error(`the service ended: ${text}`)));
    });
    return new BenchService({ url, child, folder, engine });
  }

  /** MiB of the service's own process. */
  get rssMiB(): number {
    const status = readFileSync(`/proc/${this.pid}/status`, "utf8");
    return Number(/^VmRSS:\s*(\d+)/m.exec(status)?.[1]) / 1024;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** `POST /run`, from the request to the whole answer. */
  run(body: string): Promise<Answered> {
    return new Promise((resolve, reject) => {
      const from = performance.now();
      const headers = {
        "content-type": "application/json",
        "content-length": Buffer.byteLength(body),
      };
      const asked = request(
        `${this.url}/run`,
        { method: "POST", agent: this.#agent, headers },
        (response) => {
          const chunks: Buffer[] = [];
          response.on("data", (chunk: Buffer) => chunks.push(chunk));
          response.on("end", () =>
            resolve({
              ms: performance.now() - from,
              status: response.statusCode ?? 0,
              body: Buffer.concat(chunks).toString("utf8"),
            }),
          );
        },
      );
      asked.on("error", reject);
      asked.end(body);
    });
  }

  /** Sandboxes that wait for a task, as the node last said in a heartbeat. */
  async metrics(): Promise<string> {
    return await (await fetch(`${this.url}/metrics`)).text();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#agent.destroy();
    this.#child.kill("SIGTERM");
    const net = setTimeout(() => this.#child.kill("SIGKILL"), 30_000);
    await ended;
    clearTimeout(net);
    await this.#engine?.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
