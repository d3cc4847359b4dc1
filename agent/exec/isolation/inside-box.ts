// The part that seccomp, docker and gvisor share: a box with a launcher of ours inside, which starts
// the processes of the task, and something outside that holds the box and measures it. Made by the
// BoxMaker of each of these levels; it knows nothing of how the box came to be.
import type { Duplex } from "node:stream";
import { Launcher } from "../launcher/launcher.ts";
import type {
  Arming,
  Confinement,
  LauncherProcess,
  ProcessListener,
  ProcessSpec,
  ProcessStarter,
  Usage,
} from "../launcher/process.ts";
import {
  type Box,
  type BoxEnd,
  BoxError,
  type BoxFolder,
  type BoxKind,
  type BoxLimits,
} from "./box.ts";
import { mergeRlimits, processRlimits } from "./box-figures.ts";

/** What the outside knows and does of a box: a process of the agent's launcher, or an engine. */
export interface BoxHolder {
  /**
   * Resolves, never rejects, when the box is over and nothing of it is left, for whatever reason.
   * `detail` holds what the sandbox itself had to say (the end of its stderr).
   */
  readonly gone: Promise<BoxEnd>;
  /** Limits of the whole box hold from now on, and usage is counted from now on. */
  arm(limits: BoxLimits, arming: Pick<Arming, "graceMs">): Promise<void>;
  /** Of everything in the box, since `arm`. */
  usage(): Promise<Usage | undefined>;
  /** Kills everything inside. `gone` tells when that is done. */
  kill(): void;
  /** Told by the holder every 100 ms from `arm` on, once `InsideBox` has set it. */
  onSample?: ((usage: Usage) => void) | undefined;
}

export interface InsideBoxOptions {
  kind: BoxKind;
  folder: BoxFolder;
  /** The folders as processes inside see them. */
  inside: { work: string; io: string };
  /** Both ways to the launcher inside: its hello is the first that is read. Destroyed at the end. */
  stream: Duplex;
  holder: BoxHolder;
  env: Readonly<Record<string, string>>;
  worker: Box["worker"];
  /** What the inner launcher takes from each process, unless the spec has its own. */
  confine?: Confinement;
  /** From now to the hello; default 20 s. */
  helloTimeoutMs?: number;
  /** For the BoxError when there is no hello: what an operator can do. */
  remedy: string;
}

const helloTimeoutMs = 20_000;

/**
 * Resolves after the inner launcher's hello. Rejects with a BoxError that holds the sandbox's own
 * words when the box ends before; everything is killed and gone then.
 */
export async function openInsideBox(options: InsideBoxOptions): Promise<Box> {
  const { holder, stream } = options;
  const hello = openLauncher(stream);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<"late">((resolve) => {
    timer = setTimeout(resolve, options.helloTimeoutMs ?? helloTimeoutMs, "late");
  });
  const first = await Promise.race([hello.opened, late, holder.gone.then(() => "gone" as const)]);
  clearTimeout(timer);
  if (typeof first === "object" && "launcher" in first) {
    return new InsideBox(options, first.launcher, hello.lost);
  }
  stream.destroy();
  holder.kill();
  const { detail } = await holder.gone;
  const { level } = options.kind;
  const what =
    first === "late"
      ? `did not say hello in time: ${detail}`
      : first === "gone"
        ? detail
        : `${detail} (${first.problem})`;
  throw new BoxError(`the ${level} sandbox did not start: ${what}`, options.remedy);
}

type Opened = { launcher: ProcessStarter } | { problem: string };

function openLauncher(stream: Duplex): { opened: Promise<Opened>; lost: Promise<string> } {
  const { promise: lost, resolve } = Promise.withResolvers<string>();
  const opened = Launcher.over(stream, { onExit: resolve }).then(
    (launcher): Opened => ({ launcher }),
    (error: unknown): Opened => ({ problem: String(error) }),
  );
  return { opened, lost };
}

class InsideBox implements Box {
  readonly kind: BoxKind;
  readonly folder: BoxFolder;
  readonly inside: { work: string; io: string };
  readonly env: Readonly<Record<string, string>>;
  readonly worker: Box["worker"];
  onSample: ((usage: Usage) => void) | undefined;
  onEnd: ((end: BoxEnd) => void) | undefined;
  readonly #holder: BoxHolder;
  readonly #stream: Duplex;
  readonly #launcher: ProcessStarter;
  readonly #confine: Confinement | undefined;
  /** Of each process inside; known when the task is. */
  #rlimits: NonNullable<Arming["rlimits"]> = [];
  #isDestroyed = false;

  constructor(options: InsideBoxOptions, launcher: ProcessStarter, lost: Promise<string>) {
    this.kind = options.kind;
    this.folder = options.folder;
    this.inside = options.inside;
    this.env = options.env;
    this.worker = options.worker;
    this.#holder = options.holder;
    this.#stream = options.stream;
    this.#launcher = launcher;
    this.#confine = options.confine;
    this.#holder.onSample = (usage) => this.onSample?.(usage);
    void this.#holder.gone.then((end) => {
      this.#stream.destroy();
      if (!this.#isDestroyed) this.onEnd?.(end);
    });
    // A box whose launcher is dead takes no process; what is left in it must not live on unseen.
    void lost.then(() => this.#holder.kill());
  }

  spawn(spec: ProcessSpec, listener: ProcessListener): LauncherProcess {
    const full = { ...spec, rlimits: mergeRlimits(this.#rlimits, spec.rlimits) };
    const confine = spec.confine ?? this.#confine;
    if (confine !== undefined) full.confine = confine;
    const process = this.#launcher.spawn(full, listener);
    return {
      kill: (graceMs) => process.kill(graceMs),
      send: (bytes) => process.send?.(bytes),
      usage: async () => await process.usage?.(),
      // A process that has waited gets the limits of each process with those that are its own.
      arm: async (arming) =>
        await process.arm?.({ ...arming, rlimits: mergeRlimits(this.#rlimits, arming.rlimits) }),
    };
  }

  async arm(limits: BoxLimits, arming: Pick<Arming, "graceMs">): Promise<void> {
    this.#rlimits = processRlimits(limits, this.folder);
    await Promise.all([this.folder.setLimit(limits.diskBytes), this.#holder.arm(limits, arming)]);
  }

  usage(): Promise<Usage | undefined> {
    return this.#holder.usage();
  }

  async destroy(): Promise<void> {
    this.#isDestroyed = true;
    this.#holder.kill();
    await this.#holder.gone;
    this.#stream.destroy();
  }
}
