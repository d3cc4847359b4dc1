// One process of the real command line: its output as it grows, its end, its signals.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { patienceMs, until } from "./until.ts";

export const root = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");
const edgedag = `${root}/bin/edgedag`;

const hasSetpriv = spawnSync("setpriv", ["--pdeathsig", "KILL", "true"]).status === 0;

/** A net, not a measure: what hangs longer is killed, and the test sees the signal. */
const lifeLimitMs = 110_000;

export interface CliEnd {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface StartOptions {
  env: { [name: string]: string };
  cwd: string;
  mounts?: string;
}

export class Cli {
  readonly pid: number;
  readonly ended: Promise<CliEnd>;
  readonly #child: ChildProcess;
  readonly #chunks: { stdout: Buffer[]; stderr: Buffer[] } = { stdout: [], stderr: [] };
  #end: CliEnd | undefined;

  private constructor(child: ChildProcess) {
    this.#child = child;
    if (child.pid === undefined) throw new Error("the command cannot be started");
    this.pid = child.pid;
    child.stdout?.on("data", (chunk: Buffer) => this.#chunks.stdout.push(chunk));
    child.stderr?.on("data", (chunk: Buffer) => this.#chunks.stderr.push(chunk));
    const net = setTimeout(() => child.kill("SIGKILL"), lifeLimitMs);
    this.ended = once(child, "close").then(([code, signal]) => {
      clearTimeout(net);
      this.#end = { code, signal, stdout: this.stdout, stderr: this.stderr };
      return this.#end;
    });
  }

  /** With `mounts` every program on the way execs the next, so the pid is the command's own. */
  static start(args: readonly string[], { env, cwd, mounts }: StartOptions): Cli {
    const command = [edgedag, ...args];
    const mounted =
      mounts === undefined
        ? command
        : ["unshare", "-m", "sh", "-euc", `${mounts}\nexec "$@"`, "sh", ...command];
    // A test that is killed itself cannot dispose of its box.
    const [program = "", ...argv] = hasSetpriv
      ? ["setpriv", "--pdeathsig", "KILL", "--", ...mounted]
      : mounted;
    return new Cli(spawn(program, argv, { env, cwd, stdio: ["ignore", "pipe", "pipe"] }));
  }

  get stdout(): string {
    return Buffer.concat(this.#chunks.stdout).toString("utf8");
  }

  get stderr(): string {
    return Buffer.concat(this.#chunks.stderr).toString("utf8");
  }

  get hasEnded(): boolean {
    return this.#end !== undefined;
  }

  kill(signal: NodeJS.Signals): void {
    if (this.#end === undefined) this.#child.kill(signal);
  }

  /** Sends the signal and waits for the end. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<CliEnd> {
    this.kill(signal);
    return this.ended;
  }

  /** Waits until stdout and stderr together have it; fails with both when the process ends first. */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    const found = await until(
      `${pattern} is said`,
      () => ({ match: pattern.exec(`${this.stdout}\n${this.stderr}`), cli: this }),
      ({ match, cli }) => match !== null || cli.hasEnded,
      { describe: () => this.#story(), withinMs: 2 * patienceMs },
    );
    if (found.match === null) throw new Error(`it ended without ${pattern}: ${this.#story()}`);
    return found.match;
  }

  #story(): string {
    return JSON.stringify({ ...this.#end, stdout: this.stdout, stderr: this.stderr });
  }
}
