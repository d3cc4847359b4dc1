// Boxes of level gvisor: runsc run directly on OCI bundles, by the agent's launcher, with a launcher
// of ours as the first process inside. No engine and no image: the root is a skeleton on which the
// host's system folders are mounted read-only, or a folder that the operator names.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, readdir, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import type { ProcessStarter } from "../../launcher/process.ts";
import {
  type Box,
  BoxError,
  type BoxFolder,
  type BoxKind,
  type BoxLimits,
  type BoxMaker,
  type Mount,
} from "../box.ts";
import { BoxChannels } from "../box-channel.ts";
import {
  boxEnvironment,
  type Installation,
  insidePaths,
  insidePrograms,
  installationMounts,
  workerOf,
} from "../box-programs.ts";
import { openInsideBox } from "../inside-box.ts";
import { ForkLog, forkLogFlags } from "./fork-log.ts";
import { GvisorBox } from "./gvisor-box.ts";
import { GvisorHolder } from "./gvisor-holder.ts";
import { type BundleOptions, makeSkeleton, systemMounts, writeBundle } from "./oci-bundle.ts";
import { complaintOf, type RunscPlatform, runRunsc, runscPlatforms, runscRemedy } from "./runsc.ts";

export interface GvisorMakerOptions {
  /** The agent's own. */
  launcher: Pick<ProcessStarter, "spawn">;
  installation: Installation;
  /** The interpreter itself, not a shim, and its `sys.base_prefix`; asked for each box. */
  python(): { path: string; prefix: string };
  /** Further folders of the host that a language needs, like a toolchain below /opt. */
  toolchains(language: string): readonly string[];
  /** See `findRunsc`. */
  runsc: string;
  platform: RunscPlatform | "auto";
  /** Of ours alone, and made: state, bundles and sockets of all boxes. A short path. */
  folder: string;
  /** Tells boxes of this agent's state from those of others, also after a crash. */
  tag: string;
  baseEnv: Readonly<Record<string, string>>;
  /** A root file system instead of the host's system folders; `python` must be in it. */
  rootfs?: string | undefined;
}

const systemPath = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";
/** Short: paths of sockets have 107 bytes. */
const channelFolder = "c";
const goneTimeoutMs = 5_000;
/** Nothing of the host is shown below these. */
const ownPlaces = [insidePaths.work, insidePaths.io, "/edgedag", "/proc", "/sys", "/dev"];

export class GvisorMaker implements BoxMaker {
  readonly level = "gvisor";
  readonly #options: GvisorMakerOptions;
  readonly #channels: BoxChannels;
  /** By what is mounted: folders that no box writes. */
  readonly #skeletons = new Map<string, Promise<string>>();
  readonly #prefix: string;
  #platform: Promise<RunscPlatform> | undefined;
  #lastNumber = 0;
  #lastSkeleton = 0;

  constructor(options: GvisorMakerOptions) {
    this.#options = options;
    this.#prefix = `edgedag-${options.tag}-`;
    this.#channels = new BoxChannels(join(options.folder, channelFolder));
  }

  /** The platform that works here; found out once. Throws BoxError when none does. */
  platform(): Promise<RunscPlatform> {
    this.#platform ??= this.#choosePlatform().catch((error: unknown) => {
      this.#platform = undefined; // an operator may mend it while the agent runs
      throw error;
    });
    return this.#platform;
  }

  async make(kind: BoxKind, folder: BoxFolder, limits: BoxLimits): Promise<Box> {
    const platform = await this.platform();
    const { launcher, installation, python, baseEnv } = this.#options;
    const { path, prefix } = python();
    const programs = insidePrograms(installation, path);
    const env = boxEnvironment({
      baseEnv,
      path: path.startsWith("/usr/bin/") ? systemPath : `${join(prefix, "bin")}:${systemPath}`,
      home: insidePaths.work,
      tmp: "/tmp",
      programs,
    });
    const bundle = await this.#bundle({
      kind,
      folder,
      limits,
      env,
      args: [insidePaths.launcher, "--serve"],
    });
    const channel = await this.#channels.take().catch(async (error: unknown) => {
      await rm(bundle, { recursive: true, force: true });
      throw error;
    });
    const holder = new GvisorHolder({
      launcher,
      argv: this.#argv(platform, kind, bundle),
      channel: channel.path,
      limits,
      forkLog: new ForkLog(bundle),
      cleanUp: async () => {
        channel.release();
        await rm(bundle, { recursive: true, force: true });
      },
    });
    const first = await Promise.race([channel.connected, holder.gone]);
    if ("detail" in first) {
      throw new BoxError(`the gvisor sandbox did not start: ${first.detail}`, runscRemedy);
    }
    const box = await openInsideBox({
      kind,
      folder,
      inside: { work: insidePaths.work, io: insidePaths.io },
      stream: first,
      holder,
      env,
      worker: workerOf(programs, env),
      // Of the kernel inside too, a task needs no more than of the host's at level seccomp.
      confine: { seccomp: { allow: kind.syscalls } },
      remedy: `${runscRemedy} With EDGEDAG_RUNSC_PLATFORM=ptrace the other platform is tried.`,
    });
    return new GvisorBox(box, limits);
  }

  async cleanUp(): Promise<void> {
    const { folder } = this.#options;
    await mkdir(folder, { recursive: true, mode: 0o711 });
    // Each process of runsc has the path of its box, and with it our tag, in its command line.
    const deadline = performance.now() + goneTimeoutMs;
    for (let left = this.#processes(); left.length > 0; left = this.#processes()) {
      if (performance.now() > deadline) {
        throw new BoxError(
          `processes of earlier gvisor sandboxes do not end: ${left.join(", ")}`,
          `Run: kill -9 ${left.join(" ")}`,
        );
      }
      for (const pid of left) killProcess(pid);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    for (const name of await readdir(folder)) {
      if (name !== channelFolder) await rm(join(folder, name), { recursive: true, force: true });
    }
    const sockets = join(folder, channelFolder);
    for (const name of await readdir(sockets)) await rm(join(sockets, name));
  }

  async close(): Promise<void> {
    this.#channels.close();
    await rm(this.#options.folder, { recursive: true, force: true });
  }

  async #choosePlatform(): Promise<RunscPlatform> {
    const { platform } = this.#options;
    const complaints: string[] = [];
    for (const tried of platform === "auto" ? runscPlatforms : [platform]) {
      const complaint = await this.#try(tried);
      if (complaint === undefined) return tried;
      complaints.push(`${tried}: ${complaint}`);
    }
    throw new BoxError(
      `runsc (${this.#options.runsc}) does not work here: ${complaints.join("; ")}`,
      runscRemedy,
    );
  }

  /** Runs our launcher inside, to its end. Gives what went wrong. */
  async #try(platform: RunscPlatform): Promise<string | undefined> {
    const { launcher, folder } = this.#options;
    const kind: BoxKind = {
      level: "gvisor",
      language: "shell",
      network: false,
      mounts: [],
      syscalls: [],
    };
    const places = { work: join(folder, "try/work"), io: join(folder, "try/io") };
    for (const path of Object.values(places)) await mkdir(path, { recursive: true });
    const bundle = await this.#bundle({
      kind,
      folder: {
        ...places,
        uid: undefined,
        setLimit: async () => {},
        isFull: async () => false,
        usedBytes: async () => 0,
        dispose: async () => {},
      },
      limits: { memoryBytes: 64 * 1024 * 1024, pids: 16, diskBytes: 1024 * 1024 },
      env: {},
      args: [insidePaths.launcher, "--version"],
    });
    const ran = await runRunsc(launcher, this.#argv(platform, kind, bundle));
    await rm(bundle, { recursive: true, force: true });
    await rm(join(folder, "try"), { recursive: true, force: true });
    const isWell = ran.end.kind === "exited" && ran.end.exitCode === 0;
    return isWell && ran.stdout.includes("edgedag-launcher") ? undefined : complaintOf(ran);
  }

  /** The folder of one box: its bundle, its log and runsc's state. */
  async #bundle(options: BundleOptions): Promise<string> {
    const { folder, rootfs } = this.#options;
    this.#lastNumber += 1;
    const bundle = join(folder, `${this.#prefix}${this.#lastNumber}`);
    await mkdir(bundle, { recursive: true, mode: 0o700 });
    try {
      const shared = this.#sharedMounts(options.kind);
      const path = rootfs ?? (await this.#skeleton([...shared, ...options.kind.mounts]));
      await writeBundle(bundle, { path, hasEtc: rootfs !== undefined }, shared, options);
    } catch (error) {
      await rm(bundle, { recursive: true, force: true });
      throw new BoxError(
        `the bundle of a gvisor sandbox cannot be written: ${String(error)}`,
        `All that is mounted must be there, and ${folder} must be a folder of the agent's.`,
      );
    }
    return bundle;
  }

  #sharedMounts({ network, language }: BoxKind): Mount[] {
    const { installation, rootfs, python, toolchains } = this.#options;
    const ours = installationMounts(installation);
    if (rootfs !== undefined) return ours;
    const mounts = systemMounts(network);
    for (const path of new Set([python().prefix, ...toolchains(language)])) {
      // What has gone since, or lies where the box has its own folders (runsc would not start), is
      // missed by the program that needs it, and by no other.
      if (isBelow(path, "/usr") || ownPlaces.some((own) => isBelow(path, own))) continue;
      if (!existsSync(path)) continue;
      mounts.push({ source: path, target: path, isWritable: false });
    }
    return [...mounts, ...ours];
  }

  #skeleton(mounts: readonly Mount[]): Promise<string> {
    const key = mounts.map((mount) => mount.target).join("\0");
    const known = this.#skeletons.get(key);
    if (known !== undefined) return known;
    this.#lastSkeleton += 1;
    const path = join(this.#options.folder, `root${this.#lastSkeleton}`);
    const made = makeSkeleton(path, mounts).then(() => path);
    this.#skeletons.set(key, made);
    made.catch(() => this.#skeletons.delete(key));
    return made;
  }

  #argv(platform: RunscPlatform, kind: BoxKind, bundle: string): string[] {
    return [
      this.#options.runsc,
      `--root=${bundle}`,
      `--platform=${platform}`,
      // The host's network without a bridge: runsc's own stack would need one.
      `--network=${kind.network ? "host" : "none"}`,
      "--ignore-cgroups",
      "--overlay2=none",
      "--host-uds=none",
      "--net-raw=false",
      ...forkLogFlags(bundle),
      "run",
      "--bundle",
      bundle,
      // Older versions of runsc use it for the name of a socket that all containers share.
      basename(bundle),
    ];
  }

  #processes(): number[] {
    const found: number[] = [];
    for (const name of readdirSync("/proc")) {
      const pid = Number(name);
      if (Number.isInteger(pid) && pid !== process.pid && isRunscOf(pid, this.#prefix)) {
        found.push(pid);
      }
    }
    return found;
  }
}

function isBelow(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

function isRunscOf(pid: number, prefix: string): boolean {
  try {
    const words = readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0");
    const isRunsc = words[0]?.split("/").at(-1)?.startsWith("runsc") === true;
    return (
      isRunsc && words.some((word) => word.startsWith("--root=") && word.includes(`/${prefix}`))
    );
  } catch {
    return false; // it has ended since
  }
}

function killProcess(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // it has ended since
  }
}
