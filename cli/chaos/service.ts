// Agent or master of a box: started again whenever it was killed, each life armed with the end that
// the plan has for it. Knows of every life how it ended, by the wait status that only a parent gets.
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import type { Evidence } from "./evidence.ts";
import type { End, Service } from "./plan.ts";

export interface Kill {
  target: string;
  /** NAME:NTH of the point; absent: at a time. */
  point?: string;
  pid: number;
  /** Milliseconds since the box began. */
  atMs: number;
}

export interface ServiceOptions {
  service: Service;
  /** Program and arguments. */
  command: readonly string[];
  env: { [name: string]: string };
  cwd: string;
  /** stdout and stderr of all lives. */
  outputPath: string;
  evidence: Evidence;
  nextEnd(): End;
  /** Dead of SIGKILL, seen by its wait status; called before the next life begins. */
  killed(kill: Kill): void;
  /** It ended in another way than by a kill or by `stop`. */
  broken(detail: string): void;
  nowMs(): number;
  /** A point that was not passed for so long: the life is ended by a kill at a time. */
  pointPatienceMs: number;
}

export class ServiceLives {
  readonly #options: ServiceOptions;
  #child: ChildProcess | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isStopping = false;
  #isCalm = false;
  #ended = Promise.resolve<{ code: number | null; signal: NodeJS.Signals | null }>({
    code: null,
    signal: null,
  });
  /** Points that were armed and not passed in time. */
  readonly missed: string[] = [];
  lives = 0;

  constructor(options: ServiceOptions) {
    this.#options = options;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  start(): void {
    const { service, command, env, cwd, evidence, outputPath } = this.#options;
    const end: End = this.#isCalm ? { kind: "never" } : this.#options.nextEnd();
    const armed = end.kind === "point" ? { EDGEDAG_CHAOS_POINT: `${end.point}:${end.nth}` } : {};
    const [program = "", ...args] = command;
    const out = openSync(outputPath, "a");
    const child = spawn(program, args, {
      env: { ...env, ...armed },
      cwd,
      stdio: ["ignore", out, out],
      // Ctrl-C is for chaos alone: it ends them itself.
      detached: true,
    });
    closeSync(out);
    this.#child = child;
    this.lives += 1;
    const shown = end.kind === "point" ? `${end.point}:${end.nth}` : end.kind;
    evidence.append(`start ${service} ${child.pid ?? 0} ${shown}`);
    if (end.kind !== "never") {
      const afterMs = end.kind === "time" ? end.afterMs : this.#options.pointPatienceMs;
      this.#timer = setTimeout(() => {
        if (end.kind === "point") this.missed.push(shown);
        this.kill(service);
      }, afterMs);
    }
    this.#ended = new Promise((resolve) => {
      child.once("error", (error) => {
        this.#options.broken(`${service} cannot be started: ${error.message}`);
        resolve({ code: null, signal: null });
      });
      child.once("exit", (code, signal) => {
        clearTimeout(this.#timer);
        this.#child = undefined;
        this.#exited(child.pid ?? 0, code, signal);
        resolve({ code, signal });
      });
    });
  }

  /** At a time: the line is written before the signal, as a service does it for a point. */
  kill(target: string): boolean {
    const { pid } = this;
    if (pid === undefined || this.#killedAs !== undefined) return false;
    this.#killedAs = target;
    this.#options.evidence.append(`kill ${target} ${pid}`);
    this.#child?.kill("SIGKILL");
    return true;
  }

  #killedAs: string | undefined;

  #exited(pid: number, code: number | null, signal: NodeJS.Signals | null): void {
    const { service, evidence, killed, broken, nowMs } = this.#options;
    const target = this.#killedAs;
    this.#killedAs = undefined;
    if (this.#isStopping && target === undefined) return;
    if (signal === "SIGKILL") {
      const point = evidence.pointOf(pid);
      if (point === undefined && target === undefined) {
        broken(`${service} ${pid} was killed by somebody else`);
      } else {
        evidence.append(`dead ${target ?? service} ${pid}`);
        // The other processes of "all" are counted with the agent.
        if (target !== "all" || service === "agent") {
          const at = { pid, atMs: nowMs() };
          if (point !== undefined) killed({ target: service, point, ...at });
          else killed({ target: target ?? service, ...at });
        }
      }
    } else {
      broken(`${service} ${pid} ended by itself: code ${code}, signal ${signal}`);
      return;
    }
    if (!this.#isStopping) this.start();
  }

  /** No further end is planned; the present life goes on. */
  calm(): void {
    this.#isCalm = true;
    clearTimeout(this.#timer);
  }

  /** Resolves with how it ended. */
  async stop(signal: NodeJS.Signals): Promise<{ code: number | null; signal: string | null }> {
    this.#isStopping = true;
    clearTimeout(this.#timer);
    this.#child?.kill(signal);
    return await this.#ended;
  }
}
