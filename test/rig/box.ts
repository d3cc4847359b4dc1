// A place of its own for one end-to-end test: folders for state, sockets, data and documents, the
// real command line started in it, and the end of everything by process id. Nothing is faked here,
// and nothing outlives the box.
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Cli, type CliEnd } from "./cli.ts";
import { processesMarked, removeBoxes, shmFoldersOf } from "./leftovers.ts";
import { until } from "./until.ts";

export interface CliOptions {
  /** Over the box's own variables; `undefined` takes one away. */
  env?: { [name: string]: string | undefined };
  cwd?: string;
  /** A shell script in a private mount namespace, run as root before the command. */
  mounts?: string;
}

export class Box implements AsyncDisposable {
  readonly dir: string;
  readonly #started: Cli[] = [];
  readonly #mark: string;

  private constructor(dir: string) {
    this.dir = dir;
    this.#mark = dir;
  }

  static async create(): Promise<Box> {
    // Sockets are named below it, so it must be short.
    const box = new Box(await mkdtemp("/tmp/box-"));
    await mkdir(box.runtime);
    return box;
  }

  get state(): string {
    return join(this.dir, "state");
  }

  get runtime(): string {
    return join(this.dir, "run");
  }

  path(name: string): string {
    return join(this.dir, name);
  }

  /** Gives the path. */
  async write(name: string, content: string | Uint8Array): Promise<string> {
    const path = this.path(name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, content);
    return path;
  }

  start(args: readonly string[], { env = {}, cwd = this.dir, mounts }: CliOptions = {}): Cli {
    const all: { [name: string]: string } = {};
    for (const [name, value] of Object.entries({ ...this.#environment(), ...env })) {
      if (value !== undefined) all[name] = value;
    }
    const cli = Cli.start(args, { env: all, cwd, ...(mounts === undefined ? {} : { mounts }) });
    this.#started.push(cli);
    return cli;
  }

  /** Runs a command to its end. */
  run(args: readonly string[], options: CliOptions = {}): Promise<CliEnd> {
    return this.start(args, options).ended;
  }

  /** Command lines of processes that this box started, the tasks among them, and that still live. */
  processes(): Promise<string[]> {
    return processesMarked(`BOX=${this.#mark}`);
  }

  /** Resolves when no process is left; fails with their command lines. */
  async empty(): Promise<void> {
    await until(
      "no process is left",
      () => this.processes(),
      (left) => left.length === 0,
    );
  }

  shmFolders(): Promise<string[]> {
    return shmFoldersOf(this.state);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const cli of this.#started) cli.kill("SIGKILL");
    await Promise.all(this.#started.map((cli) => cli.ended));
    await this.empty();
    for (const folder of await this.shmFolders()) await rm(folder, { recursive: true });
    await removeBoxes(this.state, this.runtime);
    await rm(this.dir, { recursive: true, force: true });
  }

  #environment(): { [name: string]: string } {
    const kept = ["PATH", "HOME", "LANG"];
    return {
      ...Object.fromEntries(kept.map((name) => [name, process.env[name] ?? ""])),
      EDGEDAG_FROM_SOURCE: "1",
      EDGEDAG_STATE: this.state,
      EDGEDAG_RUNTIME: this.runtime,
      EDGEDAG_NODE: "box",
      EDGEDAG_HEARTBEAT: "200ms",
      EDGEDAG_SLOTS: "2",
      // The check of all levels takes a second of both cores, which most tests need not pay.
      EDGEDAG_LEVELS: "none",
      // The mark by which every process of this box is found, whoever its parent is by now.
      EDGEDAG_PASS_ENV: "BOX",
      BOX: this.#mark,
      XDG_STATE_HOME: this.path("xdg"),
    };
  }
}
