// Boxes of level seccomp: `launcher --box`, started by the agent's launcher in a cgroup and a PID
// namespace of its own, with a root that holds only what is listed here. Processes inside are
// started by that inner launcher, each behind the filter of system calls and Landlock.
import { lstatSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import type {
  LauncherProcess,
  LimitName,
  ProcessEnd,
  ProcessStarter,
  ResourceLimits,
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
  type Mount,
} from "./box.ts";
import { BoxChannels } from "./box-channel.ts";
import { checkArmed, resourceLimits } from "./box-figures.ts";
import {
  boxEnvironment,
  type Installation,
  insidePaths,
  insidePrograms,
  installationMounts,
  workerOf,
} from "./box-programs.ts";
import { type BoxHolder, openInsideBox } from "./inside-box.ts";

export interface SeccompMakerOptions {
  launcher: Pick<ProcessStarter, "spawn">;
  installation: Installation;
  /** The interpreter itself, not a shim, and its `sys.base_prefix`; asked for each box. */
  python(): { path: string; prefix: string };
  /** Further folders of the host that a language needs, like a toolchain below /opt. */
  toolchains(language: string): readonly string[];
  baseEnv: Readonly<Record<string, string>>;
  /** For the sockets of boxes: a folder of its own, made and removed here. */
  channelFolder: string;
}

const systemPath = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";
const remedy =
  "Run edgedag doctor: it says what this machine lacks for seccomp sandboxes, and what helps.";
const maxComplaintBytes = 4096;
const tmpBytes = 64 * 2 ** 20;

export class SeccompMaker implements BoxMaker {
  readonly level = "seccomp";
  readonly #options: SeccompMakerOptions;
  readonly #channels: BoxChannels;
  readonly #system = systemArguments();

  constructor(options: SeccompMakerOptions) {
    this.#options = options;
    this.#channels = new BoxChannels(options.channelFolder);
  }

  async make(kind: BoxKind, folder: BoxFolder, limits: BoxLimits): Promise<Box> {
    const { installation, python, baseEnv } = this.#options;
    const { path, prefix } = python();
    const programs = insidePrograms(installation, path);
    const channel = await this.#channels.take();
    const holder = new ProcessHolder(this.#options.launcher, {
      argv: [installation.launcherPath, "--box", ...this.#arguments(kind, folder, prefix)],
      channel: channel.path,
      limits,
    });
    void holder.gone.then(() => channel.release());
    const stream = await Promise.race([channel.connected, holder.gone]);
    if ("detail" in stream) {
      throw new BoxError(`the seccomp sandbox did not start: ${stream.detail}`, remedy);
    }
    const isSystem = path.startsWith("/usr/bin/");
    const env = boxEnvironment({
      baseEnv,
      path: isSystem ? systemPath : `${join(prefix, "bin")}:${systemPath}`,
      home: insidePaths.work,
      tmp: "/tmp",
      programs,
    });
    return await openInsideBox({
      kind,
      folder,
      inside: { work: insidePaths.work, io: insidePaths.io },
      stream,
      holder,
      env,
      worker: workerOf(programs, env),
      confine: {
        seccomp: { allow: kind.syscalls },
        writable: [
          insidePaths.work,
          insidePaths.io,
          "/tmp",
          "/dev/shm",
          ...kind.mounts.filter((mount) => mount.isWritable).map((mount) => mount.target),
        ],
      },
      remedy,
    });
  }

  /** The launcher removes cgroups of an earlier one; namespaces and mounts end with the processes. */
  async cleanUp(): Promise<void> {}

  async close(): Promise<void> {
    this.#channels.close();
  }

  #arguments(kind: BoxKind, folder: BoxFolder, prefix: string): string[] {
    const { installation, toolchains } = this.#options;
    const words = ["--net", kind.network ? "host" : "none", ...this.#system];
    if (folder.uid !== undefined) {
      words.push("--uid", String(folder.uid), "--gid", String(folder.uid));
    }
    for (const path of new Set([prefix, ...toolchains(kind.language)])) {
      // What has gone since is missed by the program that needs it, and by no other.
      if (!isBelow(path, "/usr")) words.push("--try-bind-ro", path, path);
    }
    for (const mount of installationMounts(installation)) words.push(...mountWords(mount));
    words.push("--bind", folder.work, insidePaths.work, "--bind", folder.io, insidePaths.io);
    words.push("--tmpfs", "/tmp", String(tmpBytes), "--tmpfs", "/dev/shm", String(tmpBytes));
    for (const mount of kind.mounts) words.push(...mountWords(mount));
    return words;
  }
}

function mountWords({ source, target, isWritable }: Mount): string[] {
  return [isWritable ? "--bind" : "--bind-ro", source, target];
}

function isBelow(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

/** The folders of programs and libraries: links where the host has links. */
function systemArguments(): string[] {
  const words = ["--bind-ro", "/usr", "/usr"];
  for (const path of ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"]) {
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (stat?.isSymbolicLink()) words.push("--symlink", readlinkSync(path), path);
    else if (stat?.isDirectory()) words.push("--bind-ro", path, path);
  }
  return words;
}

interface HeldSpec {
  argv: string[];
  channel: string;
  limits: BoxLimits;
}

/** A box that is a process of the agent's launcher. Also of use to other levels that are. */
export class ProcessHolder implements BoxHolder {
  readonly gone: Promise<BoxEnd>;
  onSample: ((usage: Usage) => void) | undefined;
  readonly #process: LauncherProcess;
  #complaint = "";

  constructor(launcher: Pick<ProcessStarter, "spawn">, spec: HeldSpec) {
    const { promise, resolve } = Promise.withResolvers<BoxEnd>();
    this.gone = promise;
    const complain = (bytes: Buffer) => {
      this.#complaint = (this.#complaint + bytes.toString()).slice(-maxComplaintBytes);
    };
    this.#process = launcher.spawn(
      {
        argv: spec.argv,
        env: emptyEnv,
        cwd: "/",
        graceMs: 0,
        channel: spec.channel,
        cgroup: true,
        newPidNamespace: true,
        sampled: true,
        limits: boxResources(spec.limits),
      },
      {
        started: () => {},
        output: (_stream, bytes) => complain(bytes),
        mark: () => {},
        sample: (usage) => this.onSample?.(usage),
        ended: (end) => resolve(this.#endOf(end)),
      },
    );
  }

  async arm(limits: BoxLimits, { graceMs }: { graceMs: number }): Promise<void> {
    checkArmed(await this.#process.arm?.({ graceMs, limits: boxResources(limits) }));
  }

  async usage(): Promise<Usage | undefined> {
    return await this.#process.usage?.();
  }

  kill(): void {
    this.#process.kill(0);
  }

  #endOf(end: ProcessEnd): BoxEnd {
    const said = this.#complaint.trim();
    const words = said === "" ? "" : `: ${said}`;
    if (end.kind === "lost") {
      return { isLauncherLost: true, detail: `the agent's launcher died${words}` };
    }
    if (end.kind === "spawn-failed") return { detail: `${end.detail}${words}` };
    const how =
      end.signal === undefined ? `ended with code ${end.exitCode}` : `died of ${end.signal}`;
    if (isLimit(end.stopped)) {
      return { exceeded: end.stopped, detail: `it was over its limit of ${end.stopped}${words}` };
    }
    return { detail: `it ${how}${words}` };
  }
}

/** The launcher inside is one process more. */
function boxResources(limits: BoxLimits): ResourceLimits {
  return resourceLimits({ ...limits, pids: limits.pids + 1 });
}

const emptyEnv: Readonly<Record<string, string>> = {};

function isLimit(stopped: string | undefined): stopped is LimitName {
  return stopped === "memory" || stopped === "pids" || stopped === "cpu-time";
}
