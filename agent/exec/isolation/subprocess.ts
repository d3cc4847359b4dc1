// Boxes of level subprocess: no world of their own, but each process in a cgroup of its own, as a
// user of its own, with a clean environment and folders that go with it. The agent's launcher starts
// them directly; there is nothing that waits but what the pool starts.
import { constants, statSync } from "node:fs";
import { chown, mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
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
  type BoxMaker,
} from "./box.ts";
import {
  mergeRlimits,
  processRlimits,
  resourceLimits,
  sumUsage,
  usageOfEnd,
} from "./box-figures.ts";
import { boxEnvironment, hostPrograms, type Installation, workerOf } from "./box-programs.ts";

export interface SubprocessMakerOptions {
  launcher: Pick<ProcessStarter, "spawn">;
  installation: Installation;
  /** Asked for each box: where the Python is may be found out late. An absolute path. */
  python(): string;
  baseEnv: Readonly<Record<string, string>>;
}

export class SubprocessMaker implements BoxMaker {
  readonly level = "subprocess";
  readonly #options: SubprocessMakerOptions;
  /** Programs that users of boxes were seen to reach. */
  readonly #reachable = new Set<string>();

  constructor(options: SubprocessMakerOptions) {
    this.#options = options;
  }

  async make(kind: BoxKind, folder: BoxFolder, limits: BoxLimits): Promise<Box> {
    const { launcher, installation, python, baseEnv } = this.#options;
    const programs = hostPrograms(installation, python());
    if (folder.uid !== undefined) {
      if (kind.language === "python") this.#checkReach(programs.python, "EDGEDAG_PYTHON");
      if (kind.language === "node")
        this.#checkReach(programs.nodeJs, "the installation of edgedag");
      this.#checkReach(installation.root, "the installation of edgedag");
    }
    const tmp = join(folder.io, "tmp");
    await mkdir(tmp, { mode: 0o700 });
    if (folder.uid !== undefined) await chown(tmp, folder.uid, folder.uid);
    const env = boxEnvironment({
      baseEnv,
      path: baseEnv.PATH ?? "/usr/local/bin:/usr/bin:/bin",
      home: folder.work,
      tmp,
      programs,
    });
    return new SubprocessBox({
      launcher,
      kind,
      folder,
      limits,
      env,
      worker: workerOf(programs, env),
    });
  }

  /** The launcher removes cgroups of an earlier one when it starts; folders are not ours. */
  async cleanUp(): Promise<void> {}

  async close(): Promise<void> {}

  #checkReach(path: string, what: string): void {
    if (this.#reachable.has(path)) return;
    const closed = closedFolder(path);
    if (closed !== undefined) {
      throw new BoxError(
        `users of sandboxes cannot reach ${path}: ${closed} is closed to them`,
        `Run: chmod o+x ${closed}, or put ${what} where every user can reach it.`,
      );
    }
    this.#reachable.add(path);
  }
}

/** The first part of `path` that other users cannot pass through. */
function closedFolder(path: string): string | undefined {
  for (let part = path; part !== dirname(part); part = dirname(part)) {
    const mode = statSync(part, { throwIfNoEntry: false })?.mode;
    if (mode === undefined || (mode & constants.S_IXOTH) === 0) return part;
  }
  return undefined;
}

interface SubprocessBoxOptions {
  launcher: Pick<ProcessStarter, "spawn">;
  kind: BoxKind;
  folder: BoxFolder;
  limits: BoxLimits;
  env: Record<string, string>;
  worker: Box["worker"];
}

interface Live {
  process: LauncherProcess;
  over: Promise<void>;
}

class SubprocessBox implements Box {
  readonly kind: BoxKind;
  readonly folder: BoxFolder;
  readonly inside: { work: string; io: string };
  readonly env: Readonly<Record<string, string>>;
  readonly worker: Box["worker"];
  onSample: ((usage: Usage) => void) | undefined;
  /** Never called: its processes tell their ends themselves, and there is nothing around them. */
  onEnd: ((end: BoxEnd) => void) | undefined;
  readonly #launcher: Pick<ProcessStarter, "spawn">;
  readonly #confine: Confinement;
  readonly #live = new Set<Live>();
  /** Of processes that have ended since `arm`. */
  #ended: Usage[] = [];
  #limits: BoxLimits;

  constructor(options: SubprocessBoxOptions) {
    const { folder } = options;
    this.kind = options.kind;
    this.folder = folder;
    this.inside = { work: folder.work, io: folder.io };
    this.env = options.env;
    this.worker = options.worker;
    this.#launcher = options.launcher;
    this.#limits = options.limits;
    this.#confine = folder.uid === undefined ? {} : { uid: folder.uid, gid: folder.uid };
  }

  spawn(spec: ProcessSpec, listener: ProcessListener): LauncherProcess {
    const { promise, resolve } = Promise.withResolvers<void>();
    const process = this.#launcher.spawn(
      {
        ...spec,
        cgroup: true,
        sampled: true,
        limits: resourceLimits(this.#limits),
        rlimits: mergeRlimits(processRlimits(this.#limits, this.folder), spec.rlimits),
        confine: this.#confine,
      },
      {
        started: (info) => listener.started(info),
        output: (stream, bytes) => listener.output(stream, bytes),
        mark: (stream, id) => listener.mark(stream, id),
        channel: (bytes) => listener.channel?.(bytes),
        sample: (usage) => {
          listener.sample?.(usage);
          this.onSample?.(usage);
        },
        ended: (end) => {
          this.#live.delete(live);
          const usage = usageOfEnd(end);
          if (usage !== undefined) this.#ended.push(usage);
          resolve();
          listener.ended(end);
        },
      },
    );
    const live: Live = { process, over: promise };
    this.#live.add(live);
    // The task's own timer and output limit come with the limits of the box: one arming has all.
    return {
      kill: (graceMs) => process.kill(graceMs),
      send: (bytes) => process.send?.(bytes),
      usage: async () => await process.usage?.(),
      arm: async (arming) => await process.arm?.(this.#arming(arming)),
    };
  }

  /** A runner that waits is armed with its call, in order, and with all limits of the box. */
  async arm(limits: BoxLimits): Promise<void> {
    this.#limits = limits;
    this.#ended = [];
    await this.folder.setLimit(limits.diskBytes);
  }

  async usage(): Promise<Usage | undefined> {
    const asked = await Promise.all([...this.#live].map(({ process }) => process.usage?.()));
    return sumUsage([...this.#ended, ...asked.filter((usage) => usage !== undefined)]);
  }

  async destroy(): Promise<void> {
    const overs: Promise<void>[] = [];
    for (const { process, over } of this.#live) {
      process.kill(0);
      overs.push(over);
    }
    await Promise.all(overs);
  }

  #arming(arming: Arming): Arming {
    return {
      ...arming,
      limits: resourceLimits(this.#limits),
      rlimits: mergeRlimits(processRlimits(this.#limits, this.folder), arming.rlimits),
    };
  }
}
