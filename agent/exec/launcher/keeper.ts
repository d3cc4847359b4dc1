// Keeps a launcher at hand: when it dies, its processes have been told `lost`, and the next ones
// go to a new launcher. Spawns that come in between wait; after three that die at once they fail,
// and every later one is one more try: the cause may have gone away.
import { Launcher } from "./launcher.ts";
import type { LauncherProcess, ProcessListener, ProcessSpec, ProcessStarter } from "./process.ts";

export interface KeeperOptions {
  path: string;
  /** The launcher died; `attempt` counts deaths since one last worked. */
  onDeath(detail: string, attempt: number): void;
}

const maxDeaths = 3;

interface Waiting {
  spec: ProcessSpec;
  listener: ProcessListener;
  process: LauncherProcess | undefined;
  isKilled: boolean;
}

export class LauncherKeeper implements ProcessStarter {
  readonly #options: KeeperOptions;
  #launcher: Launcher | undefined;
  #waiting: Waiting[] = [];
  #deaths = 0;
  #isStarting = false;
  #isClosed = false;

  /** Rejects when the first launcher does not start: then there is none to be had. */
  static async start(options: KeeperOptions): Promise<LauncherKeeper> {
    const keeper = new LauncherKeeper(options);
    await keeper.#startLauncher();
    return keeper;
  }

  private constructor(options: KeeperOptions) {
    this.#options = options;
  }

  spawn(spec: ProcessSpec, listener: ProcessListener): LauncherProcess {
    if (this.#launcher !== undefined) {
      this.#deaths = 0;
      return this.#launcher.spawn(spec, listener);
    }
    const waiting: Waiting = { spec, listener, process: undefined, isKilled: false };
    this.#waiting.push(waiting);
    if (this.#isClosed) queueMicrotask(() => this.#failWaiting("the launcher is closed"));
    else if (!this.#isStarting) this.#startAgain();
    return {
      kill: (graceMs) => {
        waiting.isKilled = true;
        waiting.process?.kill(graceMs);
      },
    };
  }

  flush(): void {
    this.#launcher?.flush();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#launcher?.close();
    this.#launcher = undefined;
    this.#failWaiting("the launcher is closed");
  }

  #startAgain(): void {
    this.#startLauncher().catch((error: unknown) => this.#died(String(error)));
  }

  async #startLauncher(): Promise<void> {
    this.#isStarting = true;
    const launcher = await Launcher.start({
      path: this.#options.path,
      onExit: (detail) => this.#died(detail),
    }).finally(() => {
      this.#isStarting = false;
    });
    if (this.#isClosed) {
      await launcher.close();
      return;
    }
    this.#launcher = launcher;
    for (const waiting of this.#waiting.splice(0)) {
      if (waiting.isKilled) waiting.listener.ended({ kind: "lost" });
      else waiting.process = launcher.spawn(waiting.spec, waiting.listener);
    }
  }

  #died(detail: string): void {
    this.#launcher = undefined;
    this.#deaths += 1;
    this.#options.onDeath(detail, this.#deaths);
    if (this.#isClosed) return;
    if (this.#deaths > maxDeaths) {
      this.#failWaiting(detail);
      return;
    }
    this.#startAgain();
  }

  #failWaiting(detail: string): void {
    for (const { listener } of this.#waiting.splice(0)) {
      listener.ended({ kind: "spawn-failed", errno: "ECHILD", detail });
    }
  }
}
