// One master and one agent in a folder of their own, runs one after another, and kills until there
// were enough; then calm, until everything has arrived, and the judgement. Nothing outlives a box.
import { chmodSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { outsideTag } from "../../agent/outside.ts";
import { evidenceFile, permissionFile } from "../../protocol/arm-crash-point.ts";
import type { DagArtifact } from "../../protocol/artifact.ts";
import type { Json } from "../../protocol/json.ts";
import { get, type MasterAddress, post } from "../client/api.ts";
import { type Expected, problemsOfEvidence, problemsOfRun } from "./compare.ts";
import { Evidence } from "./evidence.ts";
import { leftovers } from "./leftovers.ts";
import { type ArtifactSeen, ask, observe, type RunSeen } from "./observe.ts";
import { endedOnRecord, nodeLog, problemsOnDisk } from "./on-disk.ts";
import type { Plan, Service, Target } from "./plan.ts";
import { type Found, killForeign, processesOf, send } from "./processes.ts";
import { type Kill, ServiceLives } from "./service.ts";

export interface BoxOptions {
  number: number;
  /** Undefined: nothing is killed. */
  plan: Plan | undefined;
  /** So many kills; then the run in progress is the last. */
  kills: number;
  /** At least so many runs. */
  runs: number;
  /** See `PlanOptions`. */
  pace: number;
  artifact: DagArtifact;
  params: { [name: string]: Json };
  /** Program and first arguments of edgedag itself. */
  command: readonly string[];
  env: Readonly<Record<string, string | undefined>>;
  /** Undefined: what is seen becomes the standard. */
  expected: Expected | undefined;
  signal: AbortSignal;
  say(text: string): void;
}

export interface BoxReport {
  number: number;
  dir: string;
  runs: number;
  kills: Kill[];
  /** Points that were armed and not passed in time; a kill at a time took their place. */
  missed: string[];
  /** Lives of agent and master after the first. */
  recoveries: number;
  problems: string[];
  seen: RunSeen[];
  wallMs: number;
}

/** A net, not a measure: a run that takes longer has stopped. */
const patienceMs = 120_000;
const token = "of-a-chaos-box";

export class ChaosBox {
  readonly #options: BoxOptions;
  readonly #dir: string;
  readonly #evidence: Evidence;
  readonly #to: MasterAddress;
  readonly #agent: ServiceLives;
  readonly #master: ServiceLives;
  readonly #mark: string;
  readonly #tag: string;
  readonly #startedAt = performance.now();
  readonly #kills: Kill[] = [];
  readonly #problems: string[] = [];
  readonly #finals: { at: number; ended: Set<string> }[] = [];
  /** `RUN TASK` that the master has said to be finished. */
  readonly #atMaster = new Set<string>();
  readonly #runs: string[] = [];
  #isCalm = false;

  static async run(options: BoxOptions): Promise<BoxReport> {
    // Sockets are named below it, so it must be short.
    const dir = await mkdtemp("/tmp/chaos-");
    const box = new ChaosBox(options, dir, await freePort());
    // Also where chaos itself ends of a bug.
    const onExit = () => box.#killAll();
    process.on("exit", onExit);
    try {
      return await box.#run();
    } finally {
      process.off("exit", onExit);
      await box.#end();
    }
  }

  private constructor(options: BoxOptions, dir: string, port: number) {
    this.#options = options;
    this.#dir = dir;
    this.#mark = `CHAOS_BOX=${dir}`;
    this.#tag = outsideTag(this.#stateDir, false);
    this.#to = { master: `http://127.0.0.1:${port}`, token };
    for (const name of ["chaos", "run", "home"]) mkdirSync(join(dir, name));
    this.#evidence = new Evidence(join(dir, "chaos", evidenceFile));
    const permission = join(dir, "chaos", permissionFile);
    writeFileSync(permission, `${process.pid}\n`, { mode: 0o600 });
    chmodSync(permission, 0o600);
    const env = this.#environment(port);
    const lives = (service: Service) =>
      new ServiceLives({
        service,
        command: [...options.command, service],
        env,
        cwd: join(dir, "home"),
        outputPath: join(dir, `${service}.txt`),
        evidence: this.#evidence,
        nextEnd: () => options.plan?.life(service) ?? { kind: "never" },
        killed: (kill) => this.#killed(kill, service),
        broken: (detail) => this.#problems.push(detail),
        nowMs: () => this.#nowMs,
        pointPatienceMs: 4_000 * options.pace,
      });
    this.#agent = lives("agent");
    this.#master = lives("master");
  }

  get #stateDir(): string {
    return join(this.#dir, "state");
  }

  get #nowMs(): number {
    return Math.round(performance.now() - this.#startedAt);
  }

  get #isEnough(): boolean {
    return this.#kills.length >= this.#options.kills;
  }

  async #run(): Promise<BoxReport> {
    const { number, runs, expected, signal } = this.#options;
    this.#master.start();
    this.#agent.start();
    const others = this.#killOthers();
    if (this.#isEnough) this.#calm();
    while (!signal.aborted && this.#problems.length === 0) {
      const run = await this.#submit();
      if (run === undefined) break;
      if (!(await this.#waitForOutcome(run))) break;
      if (this.#isEnough && this.#runs.length >= runs) break;
    }
    this.#calm();
    await others;
    const seen: RunSeen[] = [];
    if (this.#problems.length === 0 && !signal.aborted) {
      await this.#artifactsVerified();
      for (const run of this.#runs) {
        const found = await observe(this.#to, run);
        if (expected === undefined) seen.push(found);
        else this.#judge(found, expected);
      }
    }
    await this.#stopped();
    const recoveries = this.#agent.lives + this.#master.lives - 2;
    return {
      number,
      dir: this.#dir,
      runs: this.#runs.length,
      kills: this.#kills,
      missed: [...this.#agent.missed, ...this.#master.missed],
      recoveries,
      problems: this.#problems,
      seen,
      wallMs: this.#nowMs,
    };
  }

  #judge(run: RunSeen, expected: Expected): void {
    const lines = this.#evidence.read();
    const problems = [
      ...problemsOfRun(run, expected),
      ...problemsOfEvidence(run, lines, this.#finals, expected),
    ];
    const kept = nodeLog(this.#stateDir, run.id);
    const differs = run.lines.findIndex(
      (line, index) => !isDeepStrictEqual(line, JSON.parse(kept[index] ?? "0")),
    );
    if (differs >= 0 || kept.length !== run.lines.length) {
      problems.push(
        `the log at the master (${run.lines.length} lines) is not the node's (${kept.length}), from line ${differs + 1}`,
      );
    }
    this.#problems.push(...problems.map((problem) => `run ${run.id}: ${problem}`));
  }

  /** Agent and master end as they should, agree on disk, and leave nothing behind. */
  async #stopped(): Promise<void> {
    const isJudged = this.#problems.length === 0 && !this.#options.signal.aborted;
    for (const [name, lives] of [
      ["agent", this.#agent],
      ["master", this.#master],
    ] as const) {
      const { code, signal } = await lives.stop(isJudged ? "SIGTERM" : "SIGKILL");
      if (isJudged && code !== 0) {
        this.#problems.push(`the ${name} ended with code ${code}, signal ${signal}`);
      }
    }
    if (!isJudged) return;
    this.#problems.push(...problemsOnDisk(this.#stateDir, join(this.#dir, "data"), this.#runs));
    const traces = { mark: this.#mark, tag: this.#tag, dir: this.#dir };
    const left = await leftovers({ ...traces, runtimeDir: join(this.#dir, "run") });
    this.#problems.push(...left.map((what) => `left behind: ${what}`));
  }

  // ---- kills ----

  #killed(kill: Kill, service?: Service): void {
    this.#kills.push(kill);
    if (service === "agent") {
      const ended = endedOnRecord(this.#stateDir, this.#atMaster);
      this.#finals.push({ at: this.#evidence.length, ended });
    }
    if (this.#isEnough) this.#calm();
  }

  async #killOthers(): Promise<void> {
    while (!this.#isCalm && !this.#options.signal.aborted) {
      const next = this.#options.plan?.other();
      if (next === undefined) return;
      await delay(next.afterMs);
      // Services first: a life that others end too often comes to no point.
      while (!this.#isCalm && this.#areOthersAhead) await delay(20);
      if (this.#isCalm) return;
      await this.#killOther(next.target, next.which);
    }
  }

  get #areOthersAhead(): boolean {
    const { plan, signal } = this.#options;
    const ofServices = this.#kills.filter(({ point, target }) => {
      return point !== undefined || target === "agent" || target === "master";
    }).length;
    const others = this.#kills.length - ofServices;
    return plan?.hasServices === true && !signal.aborted && 2 * others > ofServices;
  }

  async #killOther(target: Exclude<Target, Service>, which: number): Promise<void> {
    if (target === "all") {
      const found = processesOf(this.#mark, this.#tag);
      // The master's kill is counted with the agent's; without an agent there is nothing to kill.
      if (!this.#agent.kill("all")) return;
      this.#master.kill("all");
      for (const { pid } of found) send(pid, "SIGKILL");
      return;
    }
    let found: Found | undefined;
    // Tasks are short, and there is none while the agent starts.
    for (let tries = 0; found === undefined && tries < 200 && !this.#isCalm; tries += 1) {
      const all = processesOf(this.#mark, this.#tag).filter(({ role }) => role === target);
      found = all[Math.floor(which * all.length)];
      if (found === undefined) await delay(10);
    }
    if (found === undefined) return;
    const { pid } = found;
    const isKilled = await killForeign(found, () => this.#evidence.append(`kill ${target} ${pid}`));
    if (!isKilled) return;
    this.#evidence.append(`dead ${target} ${pid}`);
    this.#killed({ target, pid, atMs: this.#nowMs });
  }

  #calm(): void {
    if (this.#isCalm) return;
    this.#isCalm = true;
    // What is armed looks for its permission once more, and finds none.
    rmSync(join(this.#dir, "chaos", permissionFile), { force: true });
    this.#agent.calm();
    this.#master.calm();
  }

  // ---- runs ----

  /** A master that died may have stored the run all the same: then that one is taken. */
  async #submit(): Promise<string | undefined> {
    const { artifact, params, signal } = this.#options;
    const until = performance.now() + patienceMs;
    while (performance.now() < until && !signal.aborted && this.#problems.length === 0) {
      const listed = await get<{ runs: { id: string }[] }>(this.#to, "/api/runs?limit=500");
      if (listed.ok) {
        const stray = listed.value.runs.find(({ id }) => !this.#runs.includes(id));
        const body = { artifact, params, node: "chaos" };
        const sent = stray ?? (await this.#post(body));
        if (sent !== undefined) {
          this.#runs.push(sent.id);
          return sent.id;
        }
      }
      await delay(25);
    }
    if (!signal.aborted) this.#problems.push("no run could be submitted");
    return undefined;
  }

  async #post(body: object): Promise<{ id: string } | undefined> {
    const sent = await post<{ run: string }>(this.#to, "/api/runs", body);
    if (sent.ok) return { id: sent.value.run };
    // Killed, or just not there: anything else would be said again by every further try.
    return undefined;
  }

  async #waitForOutcome(run: string): Promise<boolean> {
    const until = performance.now() + patienceMs;
    while (performance.now() < until && this.#problems.length === 0) {
      if (this.#options.signal.aborted) return false;
      const seen = await get<Pick<RunSeen, "outcome" | "tasks"> & { state: string }>(
        this.#to,
        `/api/runs/${run}`,
      );
      if (seen.ok) {
        for (const { task, state } of seen.value.tasks) {
          if (state === "finished") this.#atMaster.add(`${run} ${task}`);
        }
        if (seen.value.outcome !== undefined) return true;
        if (seen.value.state === "lost" || seen.value.state === "refused") {
          this.#problems.push(`run ${run} is ${seen.value.state} at the master`);
          return false;
        }
      }
      await delay(50);
    }
    if (this.#problems.length === 0) {
      this.#problems.push(`run ${run} has no outcome after ${patienceMs / 1000} s`);
    }
    return false;
  }

  /** The master compares digests in its own time. */
  async #artifactsVerified(): Promise<void> {
    const isDone = ({ state }: ArtifactSeen) => state === "verified" || state === "corrupt";
    for (let tries = 0; tries < 200; tries += 1) {
      let isAll = true;
      for (const run of this.#runs) {
        const path = `/api/runs/${run}/artifacts`;
        const { artifacts } = await ask<{ artifacts: ArtifactSeen[] }>(this.#to, path);
        if (!artifacts.every(isDone)) isAll = false;
      }
      if (isAll) return;
      await delay(50);
    }
  }

  // ---- surroundings ----

  #environment(port: number): { [name: string]: string } {
    const env: { [name: string]: string } = {};
    // What the user has set for agents and masters holds here too, as durability or re-attaching.
    for (const [name, value] of Object.entries(this.#options.env)) {
      const isKept = ["PATH", "HOME", "LANG"].includes(name) || name.startsWith("EDGEDAG_");
      if (value !== undefined && isKept) env[name] = value;
    }
    return {
      EDGEDAG_LEVELS: "none",
      ...env,
      EDGEDAG_STATE: this.#stateDir,
      EDGEDAG_RUNTIME: join(this.#dir, "run"),
      EDGEDAG_NODE: "chaos",
      EDGEDAG_HEARTBEAT: "500ms",
      // A node that was killed is back at once: nothing may take its runs for lost meanwhile.
      EDGEDAG_LOST_AFTER: "500",
      EDGEDAG_LATE_AFTER: "250",
      EDGEDAG_DRAIN: "20s",
      EDGEDAG_LISTEN: `127.0.0.1:${port}`,
      EDGEDAG_DATA: join(this.#dir, "data"),
      EDGEDAG_MASTER: this.#to.master,
      EDGEDAG_TOKEN: token,
      EDGEDAG_PASS_ENV: "CHAOS_BOX,CHAOS_EVIDENCE",
      EDGEDAG_CHAOS_DIR: join(this.#dir, "chaos"),
      CHAOS_BOX: this.#dir,
      CHAOS_EVIDENCE: this.#evidence.path,
    };
  }

  /** Whatever happened: no process stays. The folder stays where there is something to look at. */
  async #end(): Promise<void> {
    this.#calm();
    await this.#agent.stop("SIGKILL");
    await this.#master.stop("SIGKILL");
    this.#killAll();
    if (this.#problems.length > 0) return;
    rmSync(this.#dir, { recursive: true, force: true });
  }

  #killAll(): void {
    for (const { pid } of processesOf(this.#mark, this.#tag)) send(pid, "SIGKILL");
  }
}

/** Below the ports that the kernel gives to others while the master is dead. */
async function freePort(): Promise<number> {
  for (let tries = 0; tries < 100; tries += 1) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false));
      server.listen(port, "127.0.0.1", () => resolve(true));
    });
    if (!isFree) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
  throw new Error("no free port");
}
