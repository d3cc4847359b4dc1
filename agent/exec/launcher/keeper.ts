// Keeps a launcher at hand: when it dies, its processes have been told `lost`, and the next ones
// go to a new launcher. Spawns that come in between wait; after three that die at once they fail,
// and every later one is one more try: the cause may have gone away.
import { Launcher } from "./launcher.ts";
import type {
  LauncherProcess,
  ProcessListener,
  ProcessSpec,
  ProcessStarter,
  TmpfsMounter,
  TmpfsSize,
} from "./process.ts";

export interface KeeperOptions {
  path: string;
  /** Of each launcher: see `LauncherOptions`. */
  args?: readonly string[];
  /** They are holders, each with arguments of its own. */
  holderArgs?(): readonly string[];
  /** The launcher died; `attempt` counts deaths since one last worked. */
  onDeath(detail: string, attempt: number): void;
}

const maxDeaths = 3;

interface Waiting {
  spec: ProcessSpec;
  listener: ProcessListener;
  process: LauncherProcess | undefined;
  /** Set with `process`; absent when none comes to be. */
  settled: PromiseWithResolvers<LauncherProcess | undefined>;
  isKilled: boolean;
}

export class LauncherKeeper implements ProcessStarter, TmpfsMounter {
  readonly #options: KeeperOptions;
  #launcher: Launcher | undefined;
  #waiting: Waiting[] = [];
  #next = Promise.withResolvers<Launcher | undefined>();
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
    const settled = Promise.withResolvers<LauncherProcess | undefined>();
    const waiting: Waiting = { spec, listener, process: undefined, settled, isKilled: false };
    this.#waiting.push(waiting);
    if (this.#isClosed) queueMicrotask(() => this.#failWaiting("the launcher is closed"));
    else if (!this.#isStarting) this.#startAgain();
    return {
      kill: (graceMs) => {
        waiting.isKilled = true;
        waiting.process?.kill(graceMs);
      },
      send: (bytes) => {
        if (waiting.process !== undefined) return waiting.process.send?.(bytes);
        const copy = Uint8Array.from(bytes);
        void settled.promise.then((process) => process?.send?.(copy));
      },
      arm: async (arming) => {
        const process = waiting.process ?? (await settled.promise);
        return process?.arm === undefined ? "ESRCH" : await process.arm(arming);
      },
      usage: async () => await (waiting.process ?? (await settled.promise))?.usage?.(),
      ...(spec.held === undefined
        ? {}
        : {
            held: {
              logged: (upTo, note) => waiting.process?.held?.logged(upTo, note),
              forget: () => waiting.process?.held?.forget(),
              letGo: () => void settled.promise.then((process) => process?.held?.letGo()),
            },
          }),
    };
  }

  /** Of the launcher that is at hand: which cgroups it uses, or why none. */
  get cgroups(): { readonly version: number; readonly why: string } {
    return this.#launcher?.cgroups ?? { version: 0, why: "there is no launcher at the moment" };
  }

  async mountTmpfs(path: string, size: TmpfsSize): Promise<string | undefined> {
    const launcher = await this.#atHand();
    return launcher === undefined ? "ECHILD" : await launcher.mountTmpfs(path, size);
  }

  async resizeTmpfs(path: string, size: Pick<TmpfsSize, "bytes" | "inodes">) {
    const launcher = await this.#atHand();
    return launcher === undefined ? "ECHILD" : await launcher.resizeTmpfs(path, size);
  }

  async unmountTmpfs(path: string): Promise<string | undefined> {
    const launcher = await this.#atHand();
    return launcher === undefined ? "ECHILD" : await launcher.unmountTmpfs(path);
  }

  flush(): void {
    this.#launcher?.flush();
  }

  /** Of a holder: what it holds is left to it. */
  async leave(): Promise<void> {
    this.#isClosed = true;
    await this.#launcher?.leave();
    this.#launcher = undefined;
    this.#failWaiting("the launcher is closed");
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#launcher?.close();
    this.#launcher = undefined;
    this.#failWaiting("the launcher is closed");
  }

  #atHand(): Promise<Launcher | undefined> {
    if (this.#launcher !== undefined || this.#isClosed) return Promise.resolve(this.#launcher);
    const { promise } = this.#next;
    if (!this.#isStarting) this.#startAgain();
    return promise;
  }

  #startAgain(): void {
    this.#startLauncher().catch((error: unknown) => this.#died(String(error)));
  }

  async #startLauncher(): Promise<void> {
    this.#isStarting = true;
    const { args = [], holderArgs } = this.#options;
    const launcher = await Launcher.start({
      path: this.#options.path,
      args: holderArgs?.() ?? args,
      isHolder: holderArgs !== undefined,
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
      waiting.settled.resolve(waiting.process);
    }
    this.#settleNext(launcher);
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
    for (const { listener, settled } of this.#waiting.splice(0)) {
      settled.resolve(undefined);
      listener.ended({ kind: "spawn-failed", errno: "ECHILD", detail });
    }
    this.#settleNext(undefined);
  }

  #settleNext(launcher: Launcher | undefined): void {
    this.#next.resolve(launcher);
    this.#next = Promise.withResolvers();
  }
}
