// The agent's client of the C launcher, outside (it starts it) and inside of a sandbox (it is given a
// stream to it): asks for processes, and tells each process's listener its story. It never starts a
// task process itself, and never waits for one. Nothing that a launcher inside says is believed
// unseen: what does not fit ends the connection. The roles and the frames are in PROTOCOL.md.
import { spawn as spawnChild } from "node:child_process";
import type { Duplex } from "node:stream";
import { Asked } from "./asked.ts";
import { ChannelWindow } from "./channel-window.ts";
import { CommandEncoder, type EncodedEnv, encodeEnv, type Turn } from "./launcher-commands.ts";
import { EventDecoder, type LauncherHello, launcherProtocol } from "./launcher-frames.ts";
import { LiveProcess } from "./live-process.ts";
import type {
  HeldHandle,
  HeldProcess,
  HoldNote,
  LauncherProcess,
  ProcessListener,
  ProcessSpec,
  ProcessStarter,
  StreamBytes,
  TmpfsMounter,
  TmpfsSize,
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
  /** `["--cgroup", NAME]`: each process that asks gets a cgroup below NAME. */
  args?: readonly string[];
  /** It holds processes that outlive us: `args` are `["--hold", FOLDER, NAME, MS]`. */
  isHolder?: boolean;
  /** The launcher died without being asked to; all its processes have been told `lost`. */
  onExit(detail: string): void;
}

/** How a process that was found is taken over. */
export interface Taking {
  /** Of its spec only the limits matter: they say how an end is told. */
  spec: ProcessSpec;
  from: StreamBytes;
  /** Instead of the one that it had: where the log ends now. */
  note: HoldNote;
  listener: ProcessListener;
}

/** How we are connected with a launcher, and how it is ended. */
interface Link {
  socket: Duplex;
  pid: number;
  isInside: boolean;
  /** It goes on without us, unless it is told to end. */
  isHolder?: boolean;
  kill(): void;
  /** This process may end, and it may not. */
  detach?(): void;
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
  readonly #asked: Asked;
  readonly #envs = new WeakMap<object, EncodedEnv>();
  readonly #hello = Promise.withResolvers<LauncherHello>();
  readonly #gone = Promise.withResolvers<void>();
  #isFlushPlanned = false;
  #isDecoding = false;
  #state: "starting" | "running" | "closing" | "gone" = "starting";
  #complaint = "";
  #cgroups = { version: 0, why: "" };

  /** Rejects when the binary cannot be started or speaks another version of the protocol. */
  static async start(options: LauncherOptions): Promise<Launcher> {
    const { path, args = [], isHolder = false } = options;
    const child = spawnChild(path, [...args], {
      stdio: ["ignore", "ignore", "pipe", "pipe"],
      env: {},
      cwd: "/",
      // No signal of our terminal or group is to reach it.
      detached: isHolder,
    });
    // Node.js makes a socket pair of "pipe" and a Duplex of its end; its types do not say so.
    const socket = child.stdio[3] as Duplex;
    const kill = () => void child.kill("SIGKILL");
    const detach = () => {
      socket.destroy();
      child.stderr?.destroy();
      child.unref();
    };
    const link = { socket, pid: child.pid ?? 0, isInside: false, isHolder, kill, detach };
    const launcher = new Launcher(options, link);
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

  /**
   * Connects with a holder whose agent is gone. Rejects when it is none, when it speaks another
   * version of the protocol (then it has been told to end, and has ended), or has an agent.
   */
  static async attach(
    socket: Duplex,
    token: string,
    options: Pick<LauncherOptions, "onExit">,
  ): Promise<{ launcher: Launcher; held: HeldProcess[] }> {
    const kill = () => void socket.destroy();
    const link = { socket, pid: 0, isInside: false, isHolder: true, kill, detach: kill };
    const launcher = new Launcher(options, link);
    socket.on("end", kill);
    socket.on("close", () => launcher.#end("has closed the connection"));
    try {
      await launcher.#open();
    } catch (error) {
      launcher.#commands.attach(token);
      launcher.#commands.bye();
      // What else it says in its own words is not to be read.
      socket.removeAllListeners("data");
      socket.resume();
      const last = launcher.#commands.take();
      if (last !== undefined && socket.writable) socket.write(last);
      const timer = setTimeout(kill, closeTimeoutMs);
      await launcher.#gone.promise;
      clearTimeout(timer);
      throw error;
    }
    launcher.#commands.attach(token);
    launcher.flush();
    const timer = setTimeout(kill, helloTimeoutMs);
    const held = await launcher.#asked.found.finally(() => clearTimeout(timer));
    return { launcher, held };
  }

  private constructor({ onExit }: Pick<LauncherOptions, "onExit">, link: Link) {
    this.#onExit = onExit;
    this.#link = link;
    this.#asked = new Asked(link.isInside);
    const decoder = new EventDecoder({
      ...this.#asked.events(),
      hello: (hello) => this.#greet(hello),
    });
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
    return this.#start(spec, listener);
  }

  #start(
    spec: ProcessSpec,
    listener: ProcessListener,
    later?: { turn: Turn; returned(): void },
  ): LauncherProcess {
    const id = this.#asked.nextId();
    const window =
      spec.relay === true ? new ChannelWindow((bytes) => this.#sendInto(id, bytes)) : undefined;
    const live = new LiveProcess(spec, listener, { window, ...later });
    this.#asked.add(id, live);
    if (this.#isClosed) {
      process.nextTick(() => this.#asked.lose(id));
    } else {
      let env = this.#envs.get(spec.env);
      if (env === undefined) {
        env = encodeEnv(spec.env);
        if (env !== undefined) this.#envs.set(spec.env, env);
      }
      const { held } = spec;
      if (held !== undefined) this.#commands.keep(id, held.tag, held.note);
      const unsendable =
        env === undefined
          ? { errno: "EINVAL", detail: "a variable of the environment is not allowed (NUL or =)" }
          : this.#commands.spawn(id, spec, env, later?.turn);
      if (unsendable === undefined) this.#planFlush();
      // Its turn has not come: who asks again then is told why.
      else if (later !== undefined) process.nextTick(() => this.#asked.lose(id));
      else this.#asked.endSoon(id, { kind: "spawn-failed", ...unsendable });
    }
    const kill = (graceMs: number) => {
      if (this.#has(id)) this.#command(() => this.#commands.kill(id, graceMs));
    };
    const follow: LauncherProcess["follow"] = (next, nextListener, how) =>
      this.#start(next, nextListener, {
        turn: { behind: id, ...how },
        returned: () => nextListener.returned(),
      });
    if (spec.held !== undefined) return { kill, follow, held: this.#heldHandle(id) };
    return {
      kill,
      follow,
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

  /** Takes a process over from the byte on that was logged last; its listener hears the rest. */
  take(held: HeldProcess, { spec, from, note, listener }: Taking): LauncherProcess {
    const { id, pid } = held;
    const live = new LiveProcess(spec, listener);
    live.pid = pid;
    this.#asked.add(id, live);
    if (this.#isClosed) this.#asked.endSoon(id, { kind: "lost" });
    else this.#command(() => this.#commands.takeOver(id, from, note));
    return {
      kill: (graceMs) => {
        if (this.#has(id)) this.#command(() => this.#commands.kill(id, graceMs));
      },
      held: this.#heldHandle(id),
    };
  }

  /** Kills a process that was found; resolves when nothing of it is left. */
  drop({ id }: HeldProcess): Promise<void> {
    if (this.#isClosed) return Promise.resolve();
    this.#command(() => this.#commands.drop(id));
    return this.#asked.dropping(id);
  }

  /** Ends the connection and leaves to the holder what it holds. */
  async leave(): Promise<void> {
    if (this.#isClosed) return;
    this.flush();
    this.#state = "closing";
    this.#asked.leave();
    const { socket, detach } = this.#link;
    await new Promise<void>((resolve) => {
      socket.once("close", resolve);
      socket.end(resolve);
    });
    detach?.();
  }

  #heldHandle(id: number): HeldHandle {
    return {
      // Also after its end: that is not safe yet.
      logged: (upTo, note) => {
        if (!this.#isClosed) this.#command(() => this.#commands.logged(id, upTo, note));
      },
      forget: () => {
        if (!this.#isClosed) this.#command(() => this.#commands.forget(id));
      },
      letGo: () => {
        if (this.#has(id)) this.#command(() => this.#commands.letGo(id));
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
      if (this.#link.isHolder === true) this.#commands.bye();
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
    const id = this.#asked.nextId();
    if (this.#isClosed) return Promise.resolve("ECHILD");
    if (!this.#commands.tmpfs(id, what, path, size)) return Promise.resolve("EINVAL");
    this.#planFlush();
    return this.#asked.mounting(id);
  }

  #has(id: number): boolean {
    return this.#asked.has(id) && !this.#isClosed;
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

  #greet(hello: LauncherHello): void {
    if (hello.protocol !== launcherProtocol) {
      this.#complain(`it speaks protocol ${hello.protocol}, this agent ${launcherProtocol}`);
      if (this.#link.pid > 0 || this.#link.isInside) this.#link.kill();
      else this.#hello.reject(new Error(`the launcher: ${this.#complaint}`));
    } else if (this.#state === "starting") {
      this.#state = "running";
      this.#hello.resolve(hello);
    }
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
    this.#asked.end(detail);
    this.#hello.reject(new Error(detail));
    this.#gone.resolve();
    if (wasRunning && !wasAsked) this.#onExit(detail);
  }
}
