// Counts what a box has used since its task came, from readings of its control group, and sees
// when a limit was hit. No I/O: readings are handed in.
import type { LimitName, Usage } from "../../launcher/process.ts";
import type { BoxLimits } from "../box.ts";
import type { CgroupReading } from "./container-cgroup.ts";
import { ownPids } from "./docker-container.ts";

export interface BoxMeterOptions {
  limits: BoxLimits;
  /** The kernel's peak of memory counts from now on; else the largest reading is taken. */
  isPeakReset: boolean;
  /** False: the processes of the group are not those of the task. */
  countsGuests: boolean;
}

export class BoxMeter {
  readonly #options: BoxMeterOptions;
  #first: CgroupReading | undefined;
  #last: Usage | undefined;

  constructor(options: BoxMeterOptions) {
    this.#options = options;
  }

  /** Undefined before the first reading. A limit that was hit stays hit. */
  get last(): Usage | undefined {
    return this.#last;
  }

  /** Undefined: the group is gone, and the figures of before stay. */
  take(now: CgroupReading | undefined): void {
    if (now === undefined) return;
    this.#first ??= now;
    const first = this.#first;
    const before = this.#last;
    const usage: Usage = { at: Date.now() };
    const since = (name: keyof CgroupReading) => {
      const value = now[name];
      return value === undefined ? undefined : Math.max(0, value - (first[name] ?? 0));
    };
    put(usage, "cpuUserMs", since("cpuUserMs"));
    put(usage, "cpuSystemMs", since("cpuSystemMs"));
    put(usage, "readBytes", since("readBytes"));
    put(usage, "writtenBytes", since("writtenBytes"));
    put(usage, "memoryBytes", now.memoryBytes);
    const peak = peakSince("peakMemoryBytes", "memoryBytes", this.#options.isPeakReset);
    put(usage, "peakMemoryBytes", largest(peak, before?.peakMemoryBytes));
    if (this.#options.countsGuests) {
      const own = (count: number | undefined) =>
        count === undefined ? undefined : Math.max(0, count - ownPids);
      put(usage, "pids", own(now.pids));
      put(usage, "peakPids", largest(own(peakSince("peakPids", "pids", false)), before?.peakPids));
    }
    const exceeded =
      before?.exceeded ?? this.#exceeded(usage, since("oomKills"), since("pidsHits"));
    if (exceeded !== undefined) usage.exceeded = exceeded;
    this.#last = usage;

    /** A peak that has grown since the first reading was reached since. */
    function peakSince(
      name: "peakMemoryBytes" | "peakPids",
      current: "memoryBytes" | "pids",
      isReset: boolean,
    ): number | undefined {
      const peak = now?.[name];
      const isNew = isReset || (peak ?? 0) > (first[name] ?? 0);
      return isNew ? (peak ?? now?.[current]) : now?.[current];
    }
  }

  #exceeded(
    usage: Usage,
    oomKills: number | undefined,
    pidsHits: number | undefined,
  ): LimitName | undefined {
    const { cpuTimeMs } = this.#options.limits;
    if ((oomKills ?? 0) > 0) return "memory";
    if ((pidsHits ?? 0) > 0) return "pids";
    const usedMs = (usage.cpuUserMs ?? 0) + (usage.cpuSystemMs ?? 0);
    return cpuTimeMs !== undefined && usedMs > cpuTimeMs ? "cpu-time" : undefined;
  }
}

type Figure = Exclude<keyof Usage, "exceeded">;

function put(usage: Usage, name: Figure, value: number | undefined): void {
  if (value !== undefined) usage[name] = value;
}

function largest(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? (a ?? b) : Math.max(a, b);
}
