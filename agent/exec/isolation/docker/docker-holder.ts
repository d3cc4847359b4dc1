// The outside of a container that is a box: limits and usage of the whole, what ended it, and its
// removal. Measures in the kernel's own files where they are here, else asks the engine.
import type { Duplex } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import type { Usage } from "../../launcher/process.ts";
import type { BoxEnd, BoxKind, BoxLimits } from "../box.ts";
import { BoxError } from "../box.ts";
import type { BoxHolder } from "../inside-box.ts";
import { BoxMeter } from "./box-meter.ts";
import type { CgroupLimits, ContainerCgroup } from "./container-cgroup.ts";
import { containerLimits, resourceBody } from "./docker-container.ts";
import { type DockerEngine, fields } from "./docker-engine.ts";
import { remedyOf } from "./docker-images.ts";
import type { DockerRemoval } from "./docker-removal.ts";
import { readingOfStats } from "./docker-stats.ts";

export interface HeldContainer {
  name: string;
  kind: BoxKind;
  limits: BoxLimits;
  stream: Duplex;
  stderr(): string;
  /** Undefined: the engine is asked for figures. */
  cgroup: ContainerCgroup | undefined;
  /** The engine itself writes limits by files, so that we may too. */
  canWriteLimits: boolean;
  engine: DockerEngine;
  removal: DockerRemoval;
  /** Just before `gone` resolves. */
  ended(): void;
}

const sampleMs = 100;
/** The engine takes two looks at each figure: more often is of no use. */
const statsSampleMs = 1_000;
/** Of waiting for what the kernel was told to kill. */
const killLookMs = 10;
const killLooks = 500;
/** An engine that hangs must not let a box live on: then the kernel is told directly. */
const engineKillMs = 2_000;

export class DockerHolder implements BoxHolder {
  readonly gone: Promise<BoxEnd>;
  onSample: ((usage: Usage) => void) | undefined;
  readonly #container: HeldContainer;
  readonly #gone = Promise.withResolvers<BoxEnd>();
  #limits: CgroupLimits;
  #meter: BoxMeter | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isSampling = false;
  #isOver = false;

  constructor(container: HeldContainer) {
    this.#container = container;
    this.#limits = containerLimits(container.limits, container.kind);
    this.gone = this.#gone.promise;
    container.stream.on("close", () => this.#end(false));
    if (container.stream.destroyed) this.#end(false);
  }

  async arm(limits: BoxLimits): Promise<void> {
    await this.#setLimits(containerLimits(limits, this.#container.kind));
    if (this.#isOver) return;
    const { cgroup, kind } = this.#container;
    const isPeakReset = cgroup?.resetPeak() ?? false;
    this.#meter = new BoxMeter({ limits, isPeakReset, countsGuests: kind.level !== "gvisor" });
    // The first look is what all others are compared with.
    await this.#look();
    const everyMs = cgroup === undefined ? statsSampleMs : sampleMs;
    if (!this.#isOver) this.#timer = setInterval(() => this.#sample(), everyMs);
  }

  async usage(): Promise<Usage | undefined> {
    await this.#look();
    return this.#meter?.last;
  }

  kill(): void {
    this.#end(true);
  }

  async #setLimits(to: CgroupLimits): Promise<void> {
    const from = this.#limits;
    const { memoryBytes, cpus, pids } = to;
    if (from.memoryBytes === memoryBytes && from.cpus === cpus && from.pids === pids) return;
    const { cgroup, canWriteLimits, engine, name } = this.#container;
    this.#limits = to;
    // A tenth of a millisecond instead of some forty.
    if (canWriteLimits && cgroup?.setLimits(from, to) === true) return;
    const path = `/containers/${name}/update`;
    const answer = await engine.ask({ method: "POST", path, body: resourceBody(to) });
    if (answer.ok) return;
    throw new BoxError(
      `the limits of a container could not be set: ${answer.detail}`,
      remedyOf(engine.socketPath),
    );
  }

  #sample(): void {
    if (this.#isSampling || this.#isOver) return;
    this.#isSampling = true;
    const told = () => {
      this.#isSampling = false;
      const usage = this.#meter?.last;
      if (this.#isOver || usage === undefined) return;
      this.onSample?.(usage);
      // A task that went over a limit has failed, whatever it does next.
      if (usage.exceeded !== undefined) this.#end(false);
    };
    this.#look()
      .then(told)
      .catch((error: unknown) => {
        // Only a bug comes here.
        process.nextTick(() => {
          throw error;
        });
      });
  }

  async #look(): Promise<void> {
    const { cgroup, engine, name } = this.#container;
    const meter = this.#meter;
    if (meter === undefined || this.#isOver) return;
    if (cgroup !== undefined) {
      meter.take(cgroup.read());
      return;
    }
    const path = `/containers/${name}/stats?stream=0&one-shot=1`;
    const answer = await engine.ask({ method: "GET", path });
    // An engine that is away has no figures: those of before stay.
    if (answer.ok) meter.take(readingOfStats(answer.value));
  }

  #end(isWanted: boolean): void {
    if (this.#isOver) return;
    // Before anything is killed: groups that are empty go.
    if (this.#container.cgroup !== undefined) this.#meter?.take(this.#container.cgroup.read());
    this.#isOver = true;
    clearInterval(this.#timer);
    const told = (end: BoxEnd) => {
      this.#container.ended();
      this.#gone.resolve(end);
    };
    this.#remove(isWanted).then(told, (error: unknown) =>
      told({ detail: `the container could not be ended: ${String(error)}` }),
    );
  }

  async #remove(isWanted: boolean): Promise<BoxEnd> {
    const { cgroup, name, removal, stream, stderr } = this.#container;
    const exceeded = this.#meter?.last?.exceeded;
    const end: BoxEnd =
      isWanted || exceeded !== undefined
        ? { detail: isWanted ? "the container was removed" : `the container was over its limit` }
        : await this.#story();
    if (exceeded !== undefined) end.exceeded = exceeded;
    const late = new AbortController();
    const failure = await Promise.race([
      removal.remove(name),
      ...(cgroup === undefined ? [] : [hanging(late.signal)]),
    ]);
    late.abort();
    stream.destroy();
    if (failure !== undefined) {
      // The container is removed later; what ran in it must not go on until then.
      for (let look = 0; cgroup !== undefined && !cgroup.kill() && look < killLooks; look++) {
        await delay(killLookMs);
      }
      end.detail += `; the engine could not remove the container yet: ${failure.detail}`;
    }
    const said = stderr().trim();
    if (said !== "") end.detail += `: ${said}`;
    return end;
  }

  /** Why it has ended by itself. */
  async #story(): Promise<BoxEnd> {
    const { engine, name } = this.#container;
    const answer = await engine.ask({ method: "GET", path: `/containers/${name}/json` });
    if (!answer.ok) {
      return answer.status === 404
        ? { detail: "the container was removed by somebody else" }
        : { detail: `the Docker engine is gone: ${answer.detail}` };
    }
    const { OOMKilled, ExitCode, Error: error, Running } = fields(fields(answer.value).State);
    if (OOMKilled === true) {
      return { exceeded: "memory", detail: "the kernel killed the container: out of memory" };
    }
    if (Running === true) return { detail: "the engine closed the container's stream" };
    const why = typeof error === "string" && error !== "" ? ` (${error})` : "";
    return { detail: `the container ended with code ${String(ExitCode)}${why}` };
  }
}

async function hanging(signal: AbortSignal): Promise<{ detail: string }> {
  const detail = `it has not answered for ${engineKillMs} ms`;
  return await delay(engineKillMs, { detail }, { signal }).catch(() => ({ detail: "" }));
}
