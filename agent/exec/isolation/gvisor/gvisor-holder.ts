// The outside of a box of gVisor: the process of runsc that the agent's launcher started for it, in
// a control group with everything that belongs to it. Limits and figures of the whole box come from
// there, refused processes from the log of the kernel inside. Made and used by gvisor.ts.
import type {
  Arming,
  LauncherProcess,
  ProcessEnd,
  ProcessStarter,
  Usage,
} from "../../launcher/process.ts";
import { type BoxEnd, BoxError, type BoxLimits } from "../box.ts";
import { checkArmed, resourceLimits } from "../box-figures.ts";
import type { BoxHolder } from "../inside-box.ts";
import type { ForkLog } from "./fork-log.ts";
import { runscEnv } from "./runsc.ts";

export interface GvisorHolderOptions {
  launcher: Pick<ProcessStarter, "spawn">;
  argv: readonly string[];
  /** Path of the socket that becomes stdin and stdout of the launcher inside. */
  channel: string;
  limits: BoxLimits;
  forkLog: ForkLog;
  /** What is to be removed when every process is dead. */
  cleanUp(): Promise<void>;
}

/**
 * What runsc's own processes and its kernel need beside the memory of the task: they are in the same
 * control group. Measured: see docs/isolation.md.
 */
export const sentryBytes = 64 * 1024 * 1024;

/**
 * The kernel inside counts the processes of a task exactly. Outside each of them is several threads
 * of runsc, so this limit only keeps the host safe from a kernel that has been taken over.
 */
const threadsPerProcess = 8;
const sentryThreads = 512;

const maxComplaintChars = 2048;
/**
 * A task may reach the stderr of the launcher in its box, as gVisor shows processes of one user each
 * other's descriptors: what it floods there, the agent must not have to read.
 */
const maxComplaintBytes = 1024 * 1024;

export class GvisorHolder implements BoxHolder {
  readonly gone: Promise<BoxEnd>;
  onSample: ((usage: Usage) => void) | undefined;
  readonly #forkLog: ForkLog;
  readonly #process: LauncherProcess;
  #isArmed = false;
  #isRefused = false;
  #complaint = "";

  constructor(options: GvisorHolderOptions) {
    const { promise, resolve } = Promise.withResolvers<BoxEnd>();
    this.gone = promise;
    this.#forkLog = options.forkLog;
    this.#process = options.launcher.spawn(
      {
        argv: options.argv,
        env: runscEnv,
        cwd: "/",
        graceMs: 0,
        channel: options.channel,
        isChannelStdio: true,
        outputLimitBytes: maxComplaintBytes,
        cgroup: true,
        sampled: true,
        limits: hostLimits(options.limits),
      },
      {
        started: () => {},
        output: (_stream, bytes) => {
          this.#complaint = (this.#complaint + bytes.toString()).slice(-maxComplaintChars);
        },
        mark: () => {},
        sample: (usage) => this.#sampled(usage),
        ended: (end) => {
          this.#look();
          const told = this.#endOf(end);
          options.cleanUp().then(
            () => resolve(told),
            (error: unknown) =>
              resolve({ ...told, detail: `${told.detail}; its files stay: ${String(error)}` }),
          );
        },
      },
    );
  }

  async arm(limits: BoxLimits, { graceMs }: Pick<Arming, "graceMs">): Promise<void> {
    if (this.#process.arm === undefined) {
      throw new BoxError(
        "the limits of a sandbox need the launcher",
        "Build it with scripts/build-launcher.",
      );
    }
    this.#isArmed = true;
    checkArmed(
      await this.#process.arm({
        graceMs,
        outputLimitBytes: maxComplaintBytes,
        limits: hostLimits(limits),
      }),
    );
  }

  async usage(): Promise<Usage | undefined> {
    const usage = await this.#process.usage?.();
    this.#look();
    return usage === undefined ? undefined : this.#told(usage);
  }

  kill(): void {
    this.#process.kill(0);
  }

  #sampled(usage: Usage): void {
    if (!this.#isArmed) return;
    this.#look();
    this.onSample?.(this.#told(usage));
    // It went over its limit, so it has failed; the launcher does the same for all other limits.
    if (this.#isRefused) this.kill();
  }

  #look(): void {
    this.#isRefused ||= this.#isArmed && this.#forkLog.isRefused();
  }

  /** Threads of runsc are not the task's; who knows those inside adds them. */
  #told({ pids: _pids, peakPids: _peakPids, ...usage }: Usage): Usage {
    return this.#isRefused ? { ...usage, exceeded: usage.exceeded ?? "pids" } : usage;
  }

  #endOf(end: ProcessEnd): BoxEnd {
    const complaint = this.#complaint.trim();
    const withComplaint = (how: string) => (complaint === "" ? how : `${how}: ${complaint}`);
    switch (end.kind) {
      case "lost":
        return { isLauncherLost: true, detail: "the agent's launcher is gone" };
      case "spawn-failed":
        return { detail: `runsc could not be started: ${end.errno}: ${end.detail}` };
      case "exited": {
        const told: BoxEnd = {
          detail: withComplaint(`runsc ended with ${end.signal ?? `exit code ${end.exitCode}`}`),
        };
        const { stopped } = end;
        if (stopped === "memory" || stopped === "pids" || stopped === "cpu-time") {
          told.exceeded = stopped;
          told.detail = `the sandbox went over its limit (${stopped})`;
        } else if (stopped === "output") {
          told.detail = "the sandbox itself wrote more than it may";
        } else if (this.#isRefused) {
          told.exceeded = "pids";
          told.detail = "the sandbox went over its limit (pids)";
        }
        return told;
      }
    }
  }
}

function hostLimits(limits: BoxLimits) {
  return resourceLimits({
    ...limits,
    memoryBytes: limits.memoryBytes + sentryBytes,
    pids: limits.pids * threadsPerProcess + sentryThreads,
  });
}
