// Starts processes without the C launcher, through execa, for hosts where none can be had.
// Isolation level `none` only. It refuses what it cannot do (channels, marks, limits, stdin), and
// leaves out facts that it cannot know (cpu times, max RSS). Trees are killed by process group: a
// descendant that leaves the group with setsid is not found, unlike with the launcher.
// Import this file dynamically: execa costs 100 ms that hosts with a launcher never pay.
import { constants } from "node:os";
import { execa } from "execa";
import type { Facts } from "../../../protocol/outcome.ts";
import type {
  LauncherProcess,
  ProcessEnd,
  ProcessListener,
  ProcessSpec,
  ProcessStarter,
} from "./process.ts";

type Stop = "timeout" | "output" | "killed";

/** From the end of the leader to giving up on pipes that somebody still holds open. */
const drainMs = 1000;

export class PlainStarter implements ProcessStarter {
  readonly #live = new Set<PlainProcess>();
  #isClosed = false;

  spawn(spec: ProcessSpec, listener: ProcessListener): LauncherProcess {
    const refused = this.#isClosed ? ({ kind: "lost" } as const) : refusal(spec);
    if (refused !== undefined) {
      process.nextTick(() => listener.ended(refused));
      return { kill: () => {} };
    }
    const live: PlainProcess = new PlainProcess(spec, listener, () => this.#live.delete(live));
    this.#live.add(live);
    live.start();
    return live;
  }

  /** Nothing is collected here. */
  flush(): void {}

  async close(): Promise<void> {
    this.#isClosed = true;
    const all = [...this.#live];
    for (const live of all) live.kill(0);
    await Promise.all(all.map((live) => live.gone));
  }
}

function refusal(spec: ProcessSpec): ProcessEnd | undefined {
  const wanted =
    (spec.channel !== undefined && "a worker channel") ||
    (spec.mark !== undefined && "stream marks") ||
    (spec.rlimits !== undefined && spec.rlimits.length > 0 && "resource limits") ||
    (spec.relay === true && "a relayed channel") ||
    (spec.isChannelStdio === true && "a channel as stdin and stdout") ||
    (spec.stdin !== undefined && "a file as stdin") ||
    (spec.limits !== undefined && "limits of a whole process tree") ||
    (spec.cgroup === true && "cgroups") ||
    (spec.confine !== undefined && "confinement") ||
    (spec.newPidNamespace === true && "PID namespaces") ||
    (spec.sampled === true && "samples of its usage");
  if (wanted === false) return undefined;
  return {
    kind: "spawn-failed",
    errno: "ENOTSUP",
    detail: `${wanted} need the launcher, which this host does not have`,
  };
}

class PlainProcess implements LauncherProcess {
  readonly #spec: ProcessSpec;
  readonly #listener: ProcessListener;
  readonly #onEnd: () => void;
  readonly #gone = Promise.withResolvers<void>();
  readonly #bytes = { stdout: 0, stderr: 0, dropped: 0 };
  #pid = 0;
  #isDead = false;
  #isEnded = false;
  #isForced = false;
  #isLeaked = false;
  #stopped: Stop | undefined;
  #killTimer: NodeJS.Timeout | undefined;
  #timeout: NodeJS.Timeout | undefined;

  constructor(spec: ProcessSpec, listener: ProcessListener, onEnd: () => void) {
    this.#spec = spec;
    this.#listener = listener;
    this.#onEnd = onEnd;
  }

  get gone(): Promise<void> {
    return this.#gone.promise;
  }

  start(): void {
    const [program = "", ...words] = this.#spec.argv;
    const startedAt = performance.timeOrigin + performance.now();
    const child = execa(program, words, {
      cwd: this.#spec.cwd,
      env: { ...this.#spec.env },
      extendEnv: false,
      stdin: "ignore",
      buffer: false,
      reject: false,
      encoding: "buffer",
      detached: true,
      cleanup: false,
    });
    // The promise settles late (it waits for pipes) and does not reject; the events tell all.
    child.catch(() => {});
    child.once("error", (error) => {
      const errno = "code" in error && typeof error.code === "string" ? error.code : "EINVAL";
      const detail = `${program} could not be started in ${this.#spec.cwd} (${errno})`;
      process.nextTick(() => this.#end({ kind: "spawn-failed", errno, detail }));
    });
    if (child.pid === undefined) return;
    this.#pid = child.pid;
    const { timeoutMs, graceMs } = this.#spec;
    // What does not fit into a timer (24 days) must not become a shorter timeout.
    if (timeoutMs !== undefined && timeoutMs < 2 ** 31) {
      this.#timeout = setTimeout(() => this.#stop("timeout", graceMs), timeoutMs);
    }
    const open = new Set<"stdout" | "stderr">(["stdout", "stderr"]);
    let settle: (() => void) | undefined;
    for (const stream of ["stdout", "stderr"] as const) {
      child[stream].on("data", (chunk: Buffer) => this.#output(stream, chunk));
      child[stream].on("error", () => child[stream].destroy());
      child[stream].once("close", () => {
        open.delete(stream);
        if (open.size === 0) settle?.();
      });
    }
    const info = { pid: child.pid, startedAt };
    process.nextTick(() => this.#listener.started(info));
    child.once("exit", (code, signal) => {
      this.#isDead = true;
      clearTimeout(this.#timeout);
      clearTimeout(this.#killTimer);
      const wallMs = performance.timeOrigin + performance.now() - startedAt;
      // Whoever is left of the group outlived its task. Groups are not reused while they have members.
      const isLeft = signalGroup(this.#pid, "SIGKILL");
      if (isLeft && this.#stopped === undefined) this.#isLeaked = true;
      const facts: Facts = { startedAt, wallMs, pid: this.#pid };
      const cap = setTimeout(() => {
        this.#isLeaked = true;
        for (const stream of open) child[stream].destroy();
      }, drainMs);
      settle = () => {
        clearTimeout(cap);
        this.#end(this.#exited(facts, code, signal));
      };
      if (open.size === 0) settle();
    });
  }

  kill(graceMs: number): void {
    this.#stop("killed", graceMs);
  }

  #exited(facts: Facts, code: number | null, signal: string | null): ProcessEnd {
    facts.stdoutBytes = this.#bytes.stdout;
    facts.stderrBytes = this.#bytes.stderr;
    if (this.#bytes.dropped > 0) facts.droppedBytes = this.#bytes.dropped;
    if (this.#isLeaked) facts.leaked = true;
    if (this.#isForced) facts.forced = true;
    const end: ProcessEnd = { kind: "exited", facts };
    if (signal === null) end.exitCode = facts.exitCode = code ?? 0;
    else end.signal = facts.signal = signal;
    if (this.#stopped !== undefined) end.stopped = this.#stopped;
    return end;
  }

  #output(stream: "stdout" | "stderr", chunk: Buffer): void {
    const limit = this.#spec.outputLimitBytes ?? Number.POSITIVE_INFINITY;
    const room = Math.max(0, limit - this.#bytes.stdout - this.#bytes.stderr);
    this.#bytes[stream] += chunk.length;
    if (chunk.length > room) {
      this.#bytes.dropped += chunk.length - room;
      this.#stop("output", this.#spec.graceMs);
    }
    if (room > 0) this.#listener.output(stream, chunk.subarray(0, room));
  }

  #stop(why: Stop, graceMs: number): void {
    if (this.#isDead || this.#pid === 0) return;
    const isFirst = this.#stopped === undefined;
    this.#stopped ??= why;
    clearTimeout(this.#timeout);
    if (!isFirst && why === "output") return;
    clearTimeout(this.#killTimer);
    const force = () => {
      this.#isForced = true;
      signalGroup(this.#pid, "SIGKILL");
    };
    if (graceMs <= 0) {
      force();
      return;
    }
    if (isFirst) {
      signalGroup(this.#pid, "SIGTERM");
      signalGroup(this.#pid, "SIGCONT");
    }
    this.#killTimer = setTimeout(force, graceMs);
  }

  #end(end: ProcessEnd): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#onEnd();
    this.#gone.resolve();
    this.#listener.ended(end);
  }
}

/** False when the group has no member left, or none that we may signal. */
function signalGroup(pid: number, signal: keyof typeof constants.signals): boolean {
  try {
    return process.kill(-pid, constants.signals[signal]);
  } catch (error) {
    if (error instanceof Error && "code" in error) return false;
    throw error;
  }
}
