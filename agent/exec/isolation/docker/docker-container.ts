// What the engine is told of a box: the body of /containers/create, and of an update of its limits.
// Pure; used by docker.ts. Whatever takes rights away stands here.
import { availableParallelism } from "node:os";
import type { BoxFolder, BoxKind, BoxLimits, Mount } from "../box.ts";
import { insidePaths } from "../box-programs.ts";
import type { CgroupLimits } from "./container-cgroup.ts";

export interface ContainerOptions {
  image: string;
  kind: BoxKind;
  folder: BoxFolder;
  limits: BoxLimits;
  /** Launcher, runners and SDKs. */
  installation: readonly Mount[];
  tag: string;
  /** An OCI runtime of the engine; absent: its default. */
  runtime: string | undefined;
  /** For kinds with a network. */
  networkMode: string;
  /** "1.41". */
  apiVersion: string;
}

export const agentLabel = "edgedag.agent";
/** The launcher inside is no part of the task. */
export const ownPids = 1;
/** Threads of gVisor's kernel, which the host counts with those of the task. */
const gvisorPids = 512;
const sharedMemoryBytes = 64 * 2 ** 20;
/** Before the host's own programs, when its memory is short. */
const oomScore = 500;

export function containerBody(options: ContainerOptions): Record<string, unknown> {
  const { kind, folder, limits, runtime, tag } = options;
  const user = folder.uid ?? process.getuid?.() ?? 65_534;
  const group = folder.uid ?? process.getgid?.() ?? 65_534;
  return {
    Image: options.image,
    Entrypoint: [insidePaths.launcher],
    Cmd: ["--serve"],
    Env: [],
    WorkingDir: "/",
    Hostname: "box",
    User: `${user}:${group}`,
    Labels: { [agentLabel]: tag },
    // Closing our end of stdin ends the launcher, also when it is the kernel that closes it for us.
    OpenStdin: true,
    StdinOnce: true,
    AttachStdin: true,
    AttachStdout: true,
    AttachStderr: true,
    Tty: false,
    Healthcheck: { Test: ["NONE"] },
    HostConfig: {
      ...(runtime === undefined ? {} : { Runtime: runtime }),
      ...resourceBody(containerLimits(limits, kind)),
      ReadonlyRootfs: true,
      // Memory of the box, so its memory limit bounds it too. Programs are compiled there.
      Tmpfs: { "/tmp": `rw,exec,nosuid,nodev,mode=1777,size=${Math.ceil(limits.diskBytes)}` },
      Mounts: mounts(options).map(bind),
      NetworkMode: kind.network ? options.networkMode : "none",
      IpcMode: "private",
      ShmSize: Math.min(sharedMemoryBytes, limits.memoryBytes),
      // The hierarchy of the host is nobody's business inside.
      ...(Number(options.apiVersion.slice(2)) >= 41 ? { CgroupnsMode: "private" } : {}),
      CapDrop: ["ALL"],
      // The engine's own profiles of seccomp and AppArmor stay, as none are named.
      SecurityOpt: ["no-new-privileges"],
      Privileged: false,
      // The launcher does what an init does.
      Init: false,
      OomScoreAdj: oomScore,
      Ulimits: ulimits(limits, kind),
      RestartPolicy: { Name: "no" },
      // Frames are not for a log.
      LogConfig: { Type: "none" },
    },
  };
}

/** What the engine's group is to hold. */
export function containerLimits(limits: BoxLimits, kind: BoxKind): CgroupLimits {
  return {
    memoryBytes: Math.ceil(limits.memoryBytes),
    // The engine cannot take a limit away again: all cores are as good as none.
    cpus: Math.min(limits.cpus ?? Number.POSITIVE_INFINITY, availableParallelism()),
    pids: kind.level === "gvisor" ? limits.pids + gvisorPids : limits.pids + ownPids,
  };
}

/** For creation and for /containers/{id}/update. */
export function resourceBody({ memoryBytes, cpus, pids }: CgroupLimits): Record<string, unknown> {
  return {
    Memory: memoryBytes,
    // With swap included: no swap.
    MemorySwap: memoryBytes,
    NanoCpus: Math.round(cpus * 1e9),
    PidsLimit: pids,
  };
}

function mounts({ folder, installation, kind }: ContainerOptions): Mount[] {
  return [
    { source: folder.work, target: insidePaths.work, isWritable: true },
    { source: folder.io, target: insidePaths.io, isWritable: true },
    ...installation,
    ...kind.mounts,
  ];
}

function bind({ source, target, isWritable }: Mount): Record<string, unknown> {
  const propagation = { Propagation: "rprivate" };
  // Other than `Binds`, `Mounts` refuses a source that does not exist, instead of making it.
  const shared = { Type: "bind", Source: source, Target: target, BindOptions: propagation };
  return { ...shared, ReadOnly: !isWritable };
}

/** The launcher inside sets those of each task. None is above the engine's own: it could not be set. */
function ulimits(limits: BoxLimits, kind: BoxKind): Record<string, unknown>[] {
  const list = [{ Name: "core", Soft: 0, Hard: 0 }];
  // The host's count of processes says little of gVisor's guests; this one it counts itself.
  const guests = limits.pids + ownPids;
  if (kind.level === "gvisor") list.push({ Name: "nproc", Soft: guests, Hard: guests });
  return list;
}
