// Boxes of level none, for what needs a folder of its own but no isolation: programs in a language
// of the registry. A folder, a clean environment, the launcher's limits on time and output; nothing
// more. Functions and commands of level none never come here.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type {
  Arming,
  LauncherProcess,
  ProcessListener,
  ProcessSpec,
  ProcessStarter,
  Usage,
} from "../launcher/process.ts";
import type { Box, BoxEnd, BoxFolder, BoxKind, BoxLimits, BoxMaker } from "./box.ts";
import { mergeRlimits, processRlimits } from "./box-figures.ts";
import { boxEnvironment, hostPrograms, type Installation, workerOf } from "./box-programs.ts";

export interface PlainMakerOptions {
  launcher: Pick<ProcessStarter, "spawn">;
  installation: Installation;
  python(): string;
  baseEnv: Readonly<Record<string, string>>;
}

export class PlainMaker implements BoxMaker {
  readonly level = "none";
  readonly #options: PlainMakerOptions;

  constructor(options: PlainMakerOptions) {
    this.#options = options;
  }

  async make(kind: BoxKind, folder: BoxFolder, limits: BoxLimits): Promise<Box> {
    const { launcher, installation, python, baseEnv } = this.#options;
    const programs = hostPrograms(installation, python());
    const tmp = join(folder.io, "tmp");
    await mkdir(tmp, { mode: 0o700 });
    const env = boxEnvironment({
      baseEnv,
      path: baseEnv.PATH ?? "/usr/local/bin:/usr/bin:/bin",
      home: baseEnv.HOME ?? folder.work,
      tmp,
      programs,
    });
    return new PlainBox(launcher, { kind, folder, limits, env, worker: workerOf(programs, env) });
  }

  async cleanUp(): Promise<void> {}

  async close(): Promise<void> {}
}

class PlainBox implements Box {
  readonly kind: BoxKind;
  readonly folder: BoxFolder;
  readonly inside: { work: string; io: string };
  readonly env: Readonly<Record<string, string>>;
  readonly worker: Box["worker"];
  onSample: ((usage: Usage) => void) | undefined;
  onEnd: ((end: BoxEnd) => void) | undefined;
  readonly #launcher: Pick<ProcessStarter, "spawn">;
  readonly #live = new Map<LauncherProcess, Promise<void>>();
  #limits: BoxLimits;

  constructor(
    launcher: Pick<ProcessStarter, "spawn">,
    parts: Pick<Box, "kind" | "folder" | "env" | "worker"> & { limits: BoxLimits },
  ) {
    this.#launcher = launcher;
    this.kind = parts.kind;
    this.folder = parts.folder;
    this.inside = { work: parts.folder.work, io: parts.folder.io };
    this.env = parts.env;
    this.worker = parts.worker;
    this.#limits = parts.limits;
  }

  spawn(spec: ProcessSpec, listener: ProcessListener): LauncherProcess {
    const over = Promise.withResolvers<void>();
    const process = this.#launcher.spawn(
      {
        ...spec,
        sampled: true,
        rlimits: mergeRlimits(processRlimits(this.#limits, this.folder), spec.rlimits),
      },
      {
        ...listener,
        sample: (usage) => this.onSample?.(usage),
        ended: (end) => {
          this.#live.delete(process);
          over.resolve();
          listener.ended(end);
        },
      },
    );
    this.#live.set(process, over.promise);
    return process;
  }

  async arm(limits: BoxLimits, _arming: Pick<Arming, "graceMs">): Promise<void> {
    this.#limits = limits;
    await this.folder.setLimit(limits.diskBytes);
  }

  /** What single processes tell of themselves is all there is. */
  async usage(): Promise<Usage | undefined> {
    return undefined;
  }

  async destroy(): Promise<void> {
    const overs = [...this.#live.values()];
    for (const process of this.#live.keys()) process.kill(0);
    await Promise.all(overs);
  }
}
