// The control groups of a container, read where the kernel shows them (version 1 and 2): exact
// usage, which limit was hit, and limits that are changed without asking the engine. Only of
// containers on this host: elsewhere `find` finds nothing. Small synchronous reads, no processes.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Counters since the group was made. Unknown is absent. */
export interface CgroupReading {
  cpuUserMs?: number;
  cpuSystemMs?: number;
  memoryBytes?: number;
  peakMemoryBytes?: number;
  pids?: number;
  peakPids?: number;
  readBytes?: number;
  writtenBytes?: number;
  oomKills?: number;
  pidsHits?: number;
}

export interface CgroupLimits {
  memoryBytes: number;
  cpus: number;
  pids: number;
}

type Controller = "memory" | "pids" | "cpuacct" | "cpu" | "blkio";

const controllers: readonly Controller[] = ["memory", "pids", "cpuacct", "cpu", "blkio"];
const quotaPeriodUs = 100_000;

export class ContainerCgroup {
  readonly #isVersion2: boolean;
  readonly #folders: Partial<Record<Controller, string>>;

  /** `pid`: as the engine tells it. Undefined when that is not this container's process here. */
  static find(pid: number, containerId: string): ContainerCgroup | undefined {
    const groups = tryRead(`/proc/${pid}/cgroup`);
    const mounts = tryRead("/proc/self/mountinfo");
    if (groups === undefined || mounts === undefined) return undefined;
    return ContainerCgroup.parse(groups, mounts, containerId);
  }

  /** The texts of /proc/<pid>/cgroup and /proc/self/mountinfo. */
  static parse(groups: string, mounts: string, containerId: string): ContainerCgroup | undefined {
    const folders: Partial<Record<Controller, string>> = {};
    let unified: string | undefined;
    for (const line of groups.trim().split("\n")) {
      const [, names = "", path = ""] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
      // On another host, or in a container, the same number is another process.
      if (!path.includes(containerId)) continue;
      if (names === "") unified = folderOf(mounts, undefined, path);
      for (const name of controllers) {
        if (!names.split(",").includes(name)) continue;
        const folder = folderOf(mounts, name, path);
        if (folder !== undefined) folders[name] = folder;
      }
    }
    if (folders.memory !== undefined) return new ContainerCgroup(false, folders);
    if (unified === undefined) return undefined;
    const all = Object.fromEntries(controllers.map((name) => [name, unified]));
    return new ContainerCgroup(true, all);
  }

  private constructor(isVersion2: boolean, folders: Partial<Record<Controller, string>>) {
    this.#isVersion2 = isVersion2;
    this.#folders = folders;
  }

  /** Peaks count from now on, where the kernel can do that; returns whether memory's does. */
  resetPeak(): boolean {
    // Version 2 resets for one open descriptor only, and few kernels can.
    if (this.#isVersion2) return false;
    return this.#write("memory", "memory.max_usage_in_bytes", "0");
  }

  /** Undefined when the group is gone. */
  read(): CgroupReading | undefined {
    const reading = this.#isVersion2 ? this.#read2() : this.#read1();
    return reading.memoryBytes === undefined && reading.cpuUserMs === undefined
      ? undefined
      : reading;
  }

  /** False when some limit could not be written here. */
  setLimits(from: CgroupLimits, to: CgroupLimits): boolean {
    const quota = String(Math.max(1000, Math.round(to.cpus * quotaPeriodUs)));
    const memory = String(to.memoryBytes);
    const pids = () => this.#write("pids", "pids.max", String(to.pids));
    if (this.#isVersion2) {
      return (
        this.#write("memory", "memory.max", memory) &&
        this.#write("cpu", "cpu.max", `${quota} ${quotaPeriodUs}`) &&
        pids()
      );
    }
    // Memory with swap must never be less than memory.
    const names = ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"];
    if (to.memoryBytes > from.memoryBytes) names.reverse();
    const hasSwap = tryRead(join(this.#folders.memory ?? "", names[1] ?? "")) !== undefined;
    return (
      names
        .filter((name) => hasSwap || !name.includes("memsw"))
        .every((name) => this.#write("memory", name, memory)) &&
      this.#write("cpu", "cpu.cfs_quota_us", quota) &&
      pids()
    );
  }

  /** Kills what is in it, without the engine. True when nothing was left to kill. */
  kill(): boolean {
    const pids = this.#text("pids", "cgroup.procs")?.trim().split("\n") ?? [];
    let isEmpty = true;
    for (const pid of pids) {
      if (!/^[1-9]\d*$/.test(pid)) continue;
      isEmpty = false;
      try {
        process.kill(Number(pid), "SIGKILL");
      } catch (error) {
        // ESRCH: it has gone by itself. EPERM: then the engine must do it.
        if (!(error instanceof Error && "code" in error)) throw error;
      }
    }
    return isEmpty;
  }

  #read1(): CgroupReading {
    const reading: CgroupReading = this.#readPids();
    set(reading, "cpuUserMs", this.#number("cpuacct", "cpuacct.usage_user", 1e-6));
    set(reading, "cpuSystemMs", this.#number("cpuacct", "cpuacct.usage_sys", 1e-6));
    set(reading, "memoryBytes", this.#number("memory", "memory.usage_in_bytes"));
    set(reading, "peakMemoryBytes", this.#number("memory", "memory.max_usage_in_bytes"));
    set(reading, "oomKills", field(this.#text("memory", "memory.oom_control"), "oom_kill"));
    const bytes = this.#text("blkio", "blkio.throttle.io_service_bytes");
    set(reading, "readBytes", sum(bytes, /^\d+:\d+ Read (\d+)$/gm));
    set(reading, "writtenBytes", sum(bytes, /^\d+:\d+ Write (\d+)$/gm));
    return reading;
  }

  #read2(): CgroupReading {
    const reading: CgroupReading = this.#readPids();
    const cpu = this.#text("cpu", "cpu.stat");
    set(reading, "cpuUserMs", field(cpu, "user_usec", 1e-3));
    set(reading, "cpuSystemMs", field(cpu, "system_usec", 1e-3));
    set(reading, "memoryBytes", this.#number("memory", "memory.current"));
    set(reading, "peakMemoryBytes", this.#number("memory", "memory.peak"));
    set(reading, "oomKills", field(this.#text("memory", "memory.events"), "oom_kill"));
    const bytes = this.#text("blkio", "io.stat");
    set(reading, "readBytes", sum(bytes, /\brbytes=(\d+)/g));
    set(reading, "writtenBytes", sum(bytes, /\bwbytes=(\d+)/g));
    return reading;
  }

  #readPids(): CgroupReading {
    const reading: CgroupReading = {};
    set(reading, "pids", this.#number("pids", "pids.current"));
    set(reading, "peakPids", this.#number("pids", "pids.peak"));
    set(reading, "pidsHits", field(this.#text("pids", "pids.events"), "max"));
    return reading;
  }

  #number(controller: Controller, file: string, factor = 1): number | undefined {
    const text = this.#text(controller, file)?.trim();
    return text === undefined || !/^\d+$/.test(text) ? undefined : Number(text) * factor;
  }

  #text(controller: Controller, file: string): string | undefined {
    const folder = this.#folders[controller];
    return folder === undefined ? undefined : tryRead(join(folder, file));
  }

  #write(controller: Controller, file: string, text: string): boolean {
    const folder = this.#folders[controller];
    if (folder === undefined) return false;
    try {
      writeFileSync(join(folder, file), text, { flag: "r+" });
      return true;
    } catch {
      // Not root, a group that is gone, a kernel without it: the caller has another way.
      return false;
    }
  }
}

/** Where the group `path` of a controller (undefined: version 2) is seen; undefined: nowhere. */
function folderOf(
  mounts: string,
  controller: Controller | undefined,
  path: string,
): string | undefined {
  for (const line of mounts.split("\n")) {
    const [front = "", back = ""] = line.split(" - ");
    const [type, , options = ""] = back.split(" ");
    const isIt =
      controller === undefined
        ? type === "cgroup2"
        : type === "cgroup" && options.split(",").includes(controller);
    if (!isIt) continue;
    const [, , , root = "/", mount = ""] = front.split(" ");
    if (root === "/") return join(mount, path);
    if (path.startsWith(`${root}/`)) return join(mount, path.slice(root.length));
  }
  return undefined;
}

function set(reading: CgroupReading, name: keyof CgroupReading, value: number | undefined): void {
  if (value !== undefined) reading[name] = value;
}

function field(text: string | undefined, name: string, factor = 1): number | undefined {
  const digits = new RegExp(`^${name} (\\d+)$`, "m").exec(text ?? "")?.[1];
  return digits === undefined ? undefined : Number(digits) * factor;
}

function sum(text: string | undefined, pattern: RegExp): number | undefined {
  if (text === undefined) return undefined;
  let total = 0;
  for (const match of text.matchAll(pattern)) total += Number(match[1]);
  return total;
}

function tryRead(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
