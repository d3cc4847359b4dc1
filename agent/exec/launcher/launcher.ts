// The agent's client of the C launcher: starts it, asks it for processes, and tells each process's
// listener its story. It never starts a task process itself, and never waits for one.
// The roles and the frames are in PROTOCOL.md.
import { type ChildProcess, spawn as spawnChild } from "node:child_process";
import type { Duplex } from "node:stream";
import { getSystemErrorName } from "node:util";
import {
  CommandEncoder,
  type EncodedEnv,
  EventDecoder,
  encodeEnv,
  type LauncherEvents,
  launcherProtocol,
} from "./launcher-frames.ts";
import type {
  LauncherProcess,
  ProcessEnd,
  ProcessListener,
  ProcessSpec,
  ProcessStarter,
} from "./process.ts";

export type {
  LauncherProcess,
  ProcessEnd,
  ProcessListener,
  ProcessSpec,
  ProcessStarter,
} from "./process.ts";

export interface LauncherOptions {
  /** The launcher's binary: see `find.ts`. */
  path: string;
  /** The launcher died without being asked to; all its processes have been told `lost`. */
  onExit(detail: string): void;
}

interface Live {
  spec: ProcessSpec;
  listener: ProcessListener;
  /** 0 until the launcher has told it. */
  pid: number;
}

const maxComplaintChars = 4096;
/** A launcher says hello in a millisecond or two; this tells it from a program that never will. */
const helloTimeoutMs = 10_000;

export class Launcher implements ProcessStarter {
  readonly #child: ChildProcess;
  readonly #socket: Duplex;
  readonly #onExit: (detail: string) => void;
  readonly #commands = new CommandEncoder();
  readonly #live = new Map<number, Live>();
  readonly #envs = new WeakMap<object, EncodedEnv>();
  readonly #hello = Promise.withResolvers<void>();
  readonly #gone = Promise.withResolvers<void>();
  #lastId = 0;
  #isFlushPlanned = false;
  #isDecoding = false;
  #state: "starting" | "running" | "closing" | "gone" = "starting";
  #complaint = "";

  /** Rejects when the binary cannot be started or speaks another version of the protocol. */
  static async start(options: LauncherOptions): Promise<Launcher> {
    const launcher = new Launcher(options);
    const timer = setTimeout(() => {
      launcher.#complain("it did not say hello, so it is no launcher");
      launcher.#child.kill("SIGKILL");
    }, helloTimeoutMs);
    try {
      await launcher.#hello.promise;
    } finally {
      clearTimeout(timer);
    }
    return launcher;
  }

  private constructor(options: LauncherOptions) {
    this.#onExit = options.onExit;
    this.#child = spawnChild(options.path, [], {
      stdio: ["ignore", "ignore", "pipe", "pipe"],
      env: {},
      cwd: "/",
    });
    // Node.js makes a socket pair of "pipe" and a Duplex of its end; its types do not say so.
    this.#socket = this.#child.stdio[3] as Duplex;
    const decoder = new EventDecoder(this.#events());
    this.#socket.on("data", (chunk: Buffer) => this.#decode(decoder, chunk));
    // A broken socket is followed by the launcher's exit, which tells more.
    this.#socket.on("error", (error) => this.#complain(error.message));
    this.#child.stderr?.setEncoding("utf8");
    this.#child.stderr?.on("data", (text: string) => this.#complain(text));
    this.#child.on("error", (error) => this.#end(`cannot start ${options.path}: ${error.message}`));
    // "close" comes after the last byte of the socket: every end that was sent has been told.
    this.#child.on("close", (code, signal) =>
      this.#end(signal === null ? `exited with code ${code}` : `was killed by ${signal}`),
    );
  }

  /** The launcher's own process id. */
  get pid(): number {
    return this.#child.pid ?? 0;
  }

  spawn(spec: ProcessSpec, listener: ProcessListener): LauncherProcess {
    const id = this.#nextId();
    this.#live.set(id, { spec, listener, pid: 0 });
    if (this.#state === "gone" || this.#state === "closing") {
      this.#endSoon(id, { kind: "lost" });
      return { kill: () => {} };
    }
    let env = this.#envs.get(spec.env);
    if (env === undefined) {
      env = encodeEnv(spec.env);
      if (env !== undefined) this.#envs.set(spec.env, env);
    }
    const unsendable =
      env === undefined
        ? { errno: "EINVAL", detail: "a variable of the environment is not allowed (NUL or =)" }
        : this.#commands.spawn(id, spec, env);
    if (unsendable !== undefined) this.#endSoon(id, { kind: "spawn-failed", ...unsendable });
    else this.#planFlush();
    return {
      kill: (graceMs) => {
        if (!this.#live.has(id)) return;
        this.#commands.kill(id, graceMs);
        this.#planFlush();
      },
    };
  }

  flush(): void {
    if (this.#state === "gone" || this.#state === "closing") return;
    const bytes = this.#commands.take();
    if (bytes !== undefined && this.#socket.writable) this.#socket.write(bytes);
  }

  async close(): Promise<void> {
    if (this.#state === "running" || this.#state === "starting") {
      this.flush();
      this.#state = "closing";
      this.#socket.end();
    }
    await this.#gone.promise;
  }

  #planFlush(): void {
    // While events are decoded the flush comes at their end; else at the end of this callback.
    if (this.#isFlushPlanned || this.#isDecoding) return;
    this.#isFlushPlanned = true;
    process.nextTick(() => {
      this.#isFlushPlanned = false;
      this.flush();
    });
  }

  #decode(decoder: EventDecoder, chunk: Buffer): void {
    this.#isDecoding = true;
    try {
      decoder.push(chunk);
    } catch (error) {
      // Listeners are guarded: this can only be a frame that is none. Nothing after it can be read.
      this.#complain(String(error));
      this.#socket.destroy();
    } finally {
      this.#isDecoding = false;
      this.flush();
    }
  }

  #nextId(): number {
    do this.#lastId = (this.#lastId + 1) >>> 0;
    while (this.#live.has(this.#lastId));
    return this.#lastId;
  }

  #events(): LauncherEvents {
    return {
      hello: (protocol) => {
        if (protocol === launcherProtocol) {
          this.#state = "running";
          this.#hello.resolve();
          return;
        }
        this.#complain(`it speaks protocol ${protocol}, this agent ${launcherProtocol}`);
        this.#child.kill("SIGKILL");
      },
      started: (id, pid, startedAt) => {
        const live = this.#live.get(id);
        if (live === undefined) return;
        live.pid = pid;
        guard(() => live.listener.started({ pid, startedAt }));
      },
      output: (id, stream, bytes) =>
        guard(() => this.#live.get(id)?.listener.output(stream, bytes)),
      mark: (id, stream, markId) => guard(() => this.#live.get(id)?.listener.mark(stream, markId)),
      ended: (id, end) => {
        const pid = this.#live.get(id)?.pid ?? 0;
        if (pid > 0) end.facts.pid = pid;
        this.#settle(id, end);
      },
      spawnFailed: (id, stage, errno) => {
        const live = this.#live.get(id);
        if (live !== undefined) this.#settle(id, spawnFailure(live.spec, stage, errno));
      },
    };
  }

  #settle(id: number, end: ProcessEnd): void {
    const live = this.#live.get(id);
    if (live === undefined) return;
    this.#live.delete(id);
    guard(() => live.listener.ended(end));
  }

  /** `ended` never comes before `spawn` has returned. */
  #endSoon(id: number, end: ProcessEnd): void {
    process.nextTick(() => this.#settle(id, end));
  }

  #complain(text: string): void {
    this.#complaint = (this.#complaint + text).slice(-maxComplaintChars);
  }

  #end(how: string): void {
    if (this.#state === "gone") return;
    const wasAsked = this.#state === "closing";
    const wasRunning = this.#state === "running";
    this.#state = "gone";
    const said = this.#complaint.trim();
    const detail = `the launcher ${how}${said === "" ? "" : `: ${said}`}`;
    // A listener may ask for another process at once, hence the copy.
    const lost = [...this.#live.values()];
    this.#live.clear();
    for (const live of lost) {
      if (live.pid > 0) killGroup(live.pid);
      guard(() => live.listener.ended({ kind: "lost" }));
    }
    this.#hello.reject(new Error(detail));
    this.#gone.resolve();
    if (wasRunning && !wasAsked) this.#onExit(detail);
  }
}

/** A listener that throws is a bug, but it must not cost the other processes their frames. */
function guard(tell: () => void): void {
  try {
    tell();
  } catch (error) {
    process.nextTick(() => {
      throw error;
    });
  }
}

/** PDEATHSIG has killed the leader; the rest of its group would live on without this. */
function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    // ESRCH is the usual answer: nobody is left.
    if (!(error instanceof Error && "code" in error)) throw error;
  }
}

function spawnFailure(spec: ProcessSpec, stage: number, errno: number): ProcessEnd {
  const name = getSystemErrorName(-errno);
  const program = spec.argv[0] ?? "";
  return { kind: "spawn-failed", errno: name, detail: sentence(spec, program, stage, name) };
}

/** The stages are those of the launcher's `AT_` constants. */
function sentence(spec: ProcessSpec, program: string, stage: number, errno: string): string {
  switch (stage) {
    case 2:
      return errno === "ENOENT"
        ? `the working folder ${spec.cwd} does not exist`
        : `the working folder ${spec.cwd} cannot be entered (${errno})`;
    case 3:
      return `the program "${program}" was not found in PATH (${spec.env.PATH ?? "not set"})`;
    case 4:
      if (errno === "ENOENT") return `the program ${program} does not exist`;
      if (errno === "EACCES") return `the program ${program} is not executable`;
      if (errno === "ENOEXEC") {
        return `the program ${program} is not in a format that this machine runs (a script needs a #! line)`;
      }
      return `the program ${program} could not be executed (${errno})`;
    case 5:
      return `the program ${program} exists, but its interpreter (#! line or loader) does not`;
    case 6:
      return `the worker channel ${spec.channel ?? ""} could not be connected (${errno})`;
    case 7:
      return `a resource limit could not be set (${errno})`;
    case 8:
      return `the launcher did not understand the request (${errno})`;
    default:
      return `the machine has no resources for another process (${errno})`;
  }
}
