// A box of gVisor as its users see it: the one with a launcher inside, plus what only the inside
// knows here, the limit of processes (each inner process gets it as an rlimit) and their number.
// Made by gvisor.ts.
import type {
  Arming,
  LauncherProcess,
  ProcessListener,
  ProcessSpec,
  Usage,
} from "../../launcher/process.ts";
import type { Box, BoxEnd, BoxFolder, BoxKind, BoxLimits } from "../box.ts";
import { mergeRlimits, processRlimits } from "../box-figures.ts";

export class GvisorBox implements Box {
  readonly kind: BoxKind;
  readonly folder: BoxFolder;
  readonly inside: { work: string; io: string };
  readonly env: Readonly<Record<string, string>>;
  readonly worker: Box["worker"];
  onSample: ((usage: Usage) => void) | undefined;
  onEnd: ((end: BoxEnd) => void) | undefined;
  readonly #box: Box;
  /** What runs, and the number of processes in its tree when it was last looked at. */
  readonly #live = new Map<LauncherProcess, number>();
  #limits: BoxLimits;
  #peakPids = 0;

  constructor(box: Box, limits: BoxLimits) {
    this.kind = box.kind;
    this.folder = box.folder;
    this.inside = box.inside;
    this.env = box.env;
    this.worker = box.worker;
    this.#box = box;
    this.#limits = limits;
    box.onSample = (usage) => this.onSample?.(this.#counted(usage));
    box.onEnd = (end) => this.onEnd?.(end);
  }

  spawn(spec: ProcessSpec, listener: ProcessListener): LauncherProcess {
    const process = this.#box.spawn(
      { ...spec, sampled: true, rlimits: this.#rlimits(spec.rlimits) },
      {
        started: (info) => listener.started(info),
        output: (stream, bytes) => listener.output(stream, bytes),
        mark: (stream, id) => listener.mark(stream, id),
        channel: (bytes) => listener.channel?.(bytes),
        sample: (usage) => {
          if (this.#live.has(process)) this.#live.set(process, usage.pids ?? 1);
          this.#count();
          listener.sample?.(usage);
        },
        ended: (end) => {
          this.#live.delete(process);
          if (end.kind === "exited") this.#saw(end.facts.peakPids ?? 1);
          listener.ended(end);
        },
      },
    );
    this.#live.set(process, 1);
    this.#count();
    return {
      kill: (graceMs) => process.kill(graceMs),
      send: (bytes) => process.send?.(bytes),
      usage: async () => await process.usage?.(),
      arm: async (arming) =>
        await process.arm?.({ ...arming, rlimits: this.#rlimits(arming.rlimits) }),
    };
  }

  async arm(limits: BoxLimits, arming: Pick<Arming, "graceMs">): Promise<void> {
    this.#limits = limits;
    this.#peakPids = 0;
    this.#count();
    await this.#box.arm(limits, arming);
  }

  async usage(): Promise<Usage | undefined> {
    const usage = await this.#box.usage();
    return usage === undefined ? undefined : this.#counted(usage);
  }

  destroy(): Promise<void> {
    return this.#box.destroy();
  }

  #rlimits(own: ProcessSpec["rlimits"]): NonNullable<Arming["rlimits"]> {
    // The launcher inside has the same user, so it counts too.
    const most = this.#limits.pids + 1;
    const nproc = { name: "nproc" as const, soft: most, hard: most };
    return mergeRlimits([...processRlimits(this.#limits, this.folder), nproc], own);
  }

  #counted(usage: Usage): Usage {
    this.#count();
    return { ...usage, pids: this.#pids(), peakPids: this.#peakPids };
  }

  #pids(): number {
    let sum = 0;
    for (const pids of this.#live.values()) sum += pids;
    return sum;
  }

  #count(): void {
    this.#saw(this.#pids());
  }

  #saw(pids: number): void {
    this.#peakPids = Math.max(this.#peakPids, pids);
  }
}
