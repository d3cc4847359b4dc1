// The agent's client of the C launcher, outside (it starts it) and inside of a sandbox (it is given a
// stream to it): asks for processes, and tells each process's listener its story. It never starts a
// task process itself, and never waits for one. Nothing that a launcher inside says is believed
// unseen: what does not fit ends the connection. The roles and the frames are in PROTOCOL.md.
import { spawn as spawnChild } from "node:child_process";
import type { Duplex } from "node:stream";
import { ChannelWindow } from "./channel-window.ts";
import { CommandEncoder, type EncodedEnv, encodeEnv } from "./launcher-commands.ts";
import {
  EventDecoder,
  type LauncherEvents,
  type LauncherHello,
  launcherProtocol,
} from "./launcher-frames.ts";
import { guard, LiveProcess } from "./live-process.ts";
import type {
  LauncherProcess,
  ProcessEnd,
  ProcessListener,
  ProcessSpec,
  ProcessStarter,
  TmpfsMounter,
  TmpfsSize,
} from "./process.ts";
import { errnoName, spawnFailure } from "./spawn-failure.ts";

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
  /** `["--cgroup", NAME]`: each process that asks gets a cgroup below NAME. */
  args?: readonly string[];
  /** The launcher died without being asked to; all its processes have been told `lost`. */
  onExit(detail: string): void;
}

/** How we are connected with a launcher, and how it is ended. */
interface Link {
  socket: Duplex;
  pid: number;
  isInside: boolean;
  kill(): void;
}

const maxComplaintChars = 4096;
/** A launcher says hello in a millisecond or two; this tells it from a program that never will. */
const helloTimeoutMs = 10_000;
/** One inside may first have to wait for its sandbox; who makes that has a limit of its own. */
const insideHelloTimeoutMs = 60_000;
/** One inside that was told to end is given a little more than it says it needs. */
const closeTimeoutMs = 6000;

export class Launcher implements ProcessStarter, TmpfsMounter {
  readonly #link: Link;
  readonly #onExit: (detail: string) => void;
  readonly #commands = new CommandEncoder();
  readonly #live = new Map<number, LiveProcess>();
  readonly #mounts = new Map<number, (error: string | undefined) => void>();
  readonly #envs = new WeakMap<object, EncodedEnv>();
  readonly #hello = Promise.withResolvers<LauncherHello>();
  readonly #gone = Promise.withResolvers<void>();
  #lastId = 0;
  #isFlushPlanned = false;
  #isDecoding = false;
  #state: "starting" | "running" | "closing" | "gone" = "starting";
  #complaint = "";
  #cgroups = { version: 0, why: "" };

  /** Rejects when the binary cannot be started or speaks another version of the protocol. */
  static async start(options: LauncherOptions): Promise<Launcher> {
    const { path, args = [] } = options;
    const child = spawnChild(path, [...args], {
      stdio: ["ignore", "ignore", "pipe", "pipe"],
      env: {},
      cwd: "/",
    });
    // Node.js makes a socket pair of "pipe" and a Duplex of its end; its types do not say so.
    const socket = child.stdio[3] as Duplex;
    const kill = () => void child.kill("SIGKILL");
    const launcher = new Launcher(options, { socket, pid: child.pid ?? 0, isInside: false, kill });
    child.stderr?.setEncoding("utf8");
    child.stderr?.on("data", (text: string) => launcher.#complain(text));
    child.on("error", (error) => launcher.#end(`cannot start ${path}: ${error.message}`));
    // "close" comes after the last byte of the socket: every end that was sent has been told.
    child.on("close", (code, signal) =>
      launcher.#end(signal === null ? `exited with code ${code}` : `was killed by ${signal}`),
    );
    return await launcher.#open();
  }

  /** Rejects when there is no launcher of our version at the other end of `stream`, which it owns. */
  static async over(stream: Duplex, options: Pick<LauncherOptions, "onExit">): Promise<Launcher> {
    const kill = () => void stream.destroy();
    const launcher = new Launcher(options, { socket: stream, pid: 0, isInside: true, kill });
    stream.on("end", kill);
    stream.on("close", () => launcher.#end("inside is gone"));
    if (stream.destroyed) launcher.#end("inside is gone");
    return await launcher.#open();
  }

  private constructor({ onExit }: Pick<LauncherOptions, "onExit">, link: Link) {
    this.#onExit = onExit;
    this.#link = link;
    const decoder = new EventDecoder(this.#events());
    link.socket.on("data", (chunk: Buffer) => this.#decode(decoder, chunk));
    // A broken socket is followed by the launcher's exit, which tells more.
    link.socket.on("error", (error) => this.#complain(error.message));
  }

  async #open(): Promise<Launcher> {
    const timer = setTimeout(
      () => {
        this.#complain("it did not say hello, so it is no launcher");
        this.#link.kill();
      },
      this.#link.isInside ? insideHelloTimeoutMs : helloTimeoutMs,
    );
    try {
      const { cgroupVersion, why } = await this.#hello.promise;
      this.#cgroups = { version: cgroupVersion, why };
    } finally {
      clearTimeout(timer);
    }
    return this;
  }

  /** The launcher's own process id; 0 of one inside. */
  get pid(): number {
    return this.#link.pid;
  }

  /** Which cgroups it uses (1 or 2), or 0 and why it uses none. */
  get cgroups(): { readonly version: number; readonly why: string } {
    return this.#cgroups;
  }

  spawn(spec: ProcessSpec, listener: ProcessListener): LauncherProcess {
    const id = this.#nextId();
    const window =
      spec.relay === true ? new ChannelWindow((bytes) => this.#sendInto(id, bytes)) : undefined;
    const live = new LiveProcess(spec, listener, window);
    this.#live.set(id, live);
    if (this.#isClosed) {
      this.#endSoon(id, { kind: "lost" });
    } else {
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
    }
    return {
      kill: (graceMs) => {
        if (this.#has(id)) this.#command(() => this.#commands.kill(id, graceMs));
      },
      send: (bytes) => window?.send(bytes),
      arm: (arming) => {
        if (!this.#has(id)) return Promise.resolve("ESRCH");
        this.#command(() => this.#commands.arm(id, arming));
        return live.arming(arming);
      },
      usage: () => {
        if (!this.#has(id)) return Promise.resolve(undefined);
        this.#command(() => this.#commands.usage(id));
        return live.asking();
      },
    };
  }

  mountTmpfs(path: string, size: TmpfsSize): Promise<string | undefined> {
    return this.#tmpfs("mount", path, size);
  }

  resizeTmpfs(path: string, size: Pick<TmpfsSize, "bytes" | "inodes">) {
    return this.#tmpfs("resize", path, size);
  }

  unmountTmpfs(path: string): Promise<string | undefined> {
    return this.#tmpfs("unmount", path, { bytes: 0, inodes: 0 });
  }

  flush(): void {
    if (this.#isClosed) return;
    const bytes = this.#commands.take();
    if (bytes !== undefined && this.#link.socket.writable) this.#link.socket.write(bytes);
  }

  async close(): Promise<void> {
    if (!this.#isClosed) {
      this.flush();
      this.#state = "closing";
      this.#link.socket.end();
    }
    const timer = this.#link.isInside ? setTimeout(this.#link.kill, closeTimeoutMs) : undefined;
    await this.#gone.promise;
    clearTimeout(timer);
  }

  get #isClosed(): boolean {
    return this.#state === "gone" || this.#state === "closing";
  }

  #tmpfs(what: "mount" | "resize" | "unmount", path: string, size: TmpfsSize) {
    const id = this.#nextId();
    if (this.#isClosed) return Promise.resolve("ECHILD");
    if (!this.#commands.tmpfs(id, what, path, size)) return Promise.resolve("EINVAL");
    const { promise, resolve } = Promise.withResolvers<string | undefined>();
    this.#mounts.set(id, resolve);
    this.#planFlush();
    return promise;
  }

  #has(id: number): boolean {
    return this.#live.has(id) && !this.#isClosed;
  }

  #command(encode: () => void): void {
    encode();
    this.#planFlush();
  }

  #sendInto(id: number, bytes: Uint8Array): void {
    if (this.#has(id)) this.#command(() => this.#commands.channel(id, bytes));
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
      this.#link.socket.destroy();
    } finally {
      this.#isDecoding = false;
      this.flush();
    }
  }

  #nextId(): number {
    do this.#lastId = (this.#lastId + 1) >>> 0;
    while (this.#live.has(this.#lastId) || this.#mounts.has(this.#lastId));
    return this.#lastId;
  }

  #events(): LauncherEvents {
    return {
      hello: (hello) => {
        if (hello.protocol !== launcherProtocol) {
          this.#complain(`it speaks protocol ${hello.protocol}, this agent ${launcherProtocol}`);
          this.#link.kill();
        } else if (this.#state === "starting") {
          this.#state = "running";
          this.#hello.resolve(hello);
        }
      },
      started: (id, pid, startedAt) => {
        const live = this.#live.get(id);
        this.#expect(live !== undefined && live.pid === 0 && pid > 0, "started", id);
        if (live === undefined) return;
        live.pid = pid;
        guard(() => live.listener.started({ pid, startedAt }));
      },
      output: (id, stream, bytes) => {
        const live = this.#running(id, stream);
        if (live === undefined) return;
        this.#expect(live.admits(bytes.length), `${stream} beyond the limit`, id);
        guard(() => live.listener.output(stream, bytes));
      },
      mark: (id, stream, markId) => {
        const live = this.#running(id, "a mark");
        if (live !== undefined) guard(() => live.listener.mark(stream, markId));
      },
      channel: (id, bytes) => {
        const live = this.#running(id, "a channel");
        if (live === undefined) return;
        this.#expect(live.window !== undefined, "a channel", id);
        if (bytes === undefined) live.window?.drop();
        guard(() => live.listener.channel?.(bytes));
      },
      room: (id, bytes) => {
        const window = this.#running(id, "room")?.window;
        this.#expect(window?.room(bytes) === true, "room", id);
      },
      sample: (id, usage) => {
        const live = this.#running(id, "a sample");
        if (live !== undefined) guard(() => live.listener.sample?.(usage));
      },
      usage: (id, usage) => {
        this.#expect(this.#running(id, "usage")?.measured(usage) === true, "usage", id);
      },
      done: (id, errno) => {
        const error = errno === 0 ? undefined : errnoName(errno);
        const mounted = this.#mounts.get(id);
        this.#mounts.delete(id);
        if (mounted !== undefined) mounted(error);
        else this.#expect(this.#live.get(id)?.armed(error) === true, "done", id);
      },
      ended: (id, end) => {
        const live = this.#running(id, "an end");
        if (live === undefined) return;
        end.facts.pid = live.pid;
        this.#settle(id, end);
      },
      spawnFailed: (id, stage, errno, why) => {
        const live = this.#live.get(id);
        this.#expect(live !== undefined && live.pid === 0, "a failed start", id);
        if (live !== undefined) this.#settle(id, spawnFailure(live.spec, { stage, errno, why }));
      },
    };
  }

  #running(id: number, what: string): LiveProcess | undefined {
    const live = this.#live.get(id);
    this.#expect(live !== undefined && live.pid > 0, what, id);
    return live;
  }

  /** The one inside may be a task that has taken its place: then no further frame is read. */
  #expect(isSo: boolean, what: string, id: number): void {
    if (!isSo && this.#link.isInside) throw new Error(`launcher sent ${what} of process ${id}`);
  }

  #settle(id: number, end: ProcessEnd): void {
    const live = this.#live.get(id);
    if (live === undefined) return;
    this.#live.delete(id);
    live.ended(end);
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
      // The pids of one inside mean other processes here.
      if (live.pid > 0 && !this.#link.isInside) killGroup(live.pid);
      live.ended({ kind: "lost" });
    }
    for (const resolve of this.#mounts.values()) resolve("ECHILD");
    this.#mounts.clear();
    this.#hello.reject(new Error(detail));
    this.#gone.resolve();
    if (wasRunning && !wasAsked) this.#onExit(detail);
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
