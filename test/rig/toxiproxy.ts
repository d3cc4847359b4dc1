// Toxiproxy, a real proxy that breaks connections, driven by its HTTP API.
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";

const binary = join(import.meta.dirname, "../../build/toxiproxy");

/** The reason to skip, or false. */
export const noToxiproxy: string | false = existsSync(binary)
  ? false
  : "build/toxiproxy is not there: scripts/test-services toxiproxy";

export type Toxic =
  /** Nothing comes through, and nobody is told. */
  | { type: "timeout"; attributes: { timeout: number } }
  | { type: "reset_peer"; attributes: { timeout: number } }
  | { type: "latency"; attributes: { latency: number; jitter: number } }
  /** KiB a second. */
  | { type: "bandwidth"; attributes: { rate: number } }
  | { type: "slicer"; attributes: { average_size: number; size_variation: number; delay: number } };

export class Toxiproxy implements AsyncDisposable {
  readonly port: number;
  readonly #api: string;
  readonly #process: ChildProcess;

  private constructor(port: number, api: string, child: ChildProcess) {
    this.port = port;
    this.#api = api;
    this.#process = child;
  }

  /** One proxy in front of a port of this machine. */
  static async start(targetPort: number): Promise<Toxiproxy> {
    const [apiPort, port] = [await freePort(), await freePort()];
    const child = spawn(binary, ["-host", "127.0.0.1", "-port", String(apiPort)], {
      stdio: "ignore",
    });
    const api = `http://127.0.0.1:${apiPort}`;
    const proxy = new Toxiproxy(port, api, child);
    const until = Date.now() + 10_000;
    while (
      !(await fetch(`${api}/version`).then(
        (answer) => answer.ok,
        () => false,
      ))
    ) {
      if (Date.now() > until || child.exitCode !== null) throw new Error("toxiproxy did not start");
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await proxy.#ask("POST", "/proxies", {
      name: "link",
      listen: `127.0.0.1:${port}`,
      upstream: `127.0.0.1:${targetPort}`,
    });
    return proxy;
  }

  /** Both ways. */
  async poison(toxic: Toxic): Promise<void> {
    for (const stream of ["upstream", "downstream"]) {
      await this.#ask("POST", "/proxies/link/toxics", { ...toxic, stream });
    }
  }

  /** As if nothing had been. */
  async heal(): Promise<void> {
    const list = await (await fetch(`${this.#api}/proxies/link/toxics`)).json();
    for (const { name } of list as { name: string }[]) {
      await this.#ask("DELETE", `/proxies/link/toxics/${name}`);
    }
  }

  async enable(enabled: boolean): Promise<void> {
    await this.#ask("POST", "/proxies/link", { enabled });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode !== null) return;
    const ended = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.kill("SIGTERM");
    await ended;
  }

  async #ask(method: string, path: string, body?: object): Promise<void> {
    const answer = await fetch(`${this.#api}${path}`, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
