// Level docker: each box is a container of the Docker engine with our launcher as its first process,
// spoken to over the attached stream. With the runtime runsc it is level gvisor. The engine is only
// asked over its socket; the containers carry the agent's label, so that what a crash left is found.
import { randomBytes } from "node:crypto";
import type { Duplex } from "node:stream";
import {
  type Box,
  BoxError,
  type BoxFolder,
  type BoxKind,
  type BoxLimits,
  type BoxMaker,
} from "../box.ts";
import {
  boxEnvironment,
  type Installation,
  insidePaths,
  insidePrograms,
  installationMounts,
  workerOf,
} from "../box-programs.ts";
import { openInsideBox } from "../inside-box.ts";
import { ContainerCgroup } from "./container-cgroup.ts";
import { containerBody } from "./docker-container.ts";
import { DockerEngine, type EngineFailure, fields } from "./docker-engine.ts";
import { DockerHolder } from "./docker-holder.ts";
import {
  type DockerImage,
  DockerImages,
  type DockerImagesOptions,
  missingImage,
  remedyOf,
} from "./docker-images.ts";
import { DockerRemoval } from "./docker-removal.ts";

export interface DockerBoxesOptions extends DockerImagesOptions {
  socketPath: string;
  installation: Installation;
  /** Of the agent's state: containers are labelled with it. */
  tag: string;
  baseEnv: Readonly<Record<string, string>>;
  /** An OCI runtime of the engine; absent or empty: its default. */
  runtime?: string;
  /** With `runtime` runsc: "gvisor". Default "docker". */
  level?: "docker" | "gvisor";
  /** For kinds with a network: "bridge" (default), "host", or a network's name. */
  networkMode?: string;
}

interface StartOptions {
  name: string;
  id: string;
  kind: BoxKind;
  limits: BoxLimits;
}

interface Held {
  holder: DockerHolder;
  stream: Duplex;
}

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/** A start is slow on a busy machine, and slower with gVisor. */
const startTimeoutMs = 60_000;
const closeLimitMs = 10_000;

export class DockerBoxes implements BoxMaker {
  readonly level: "docker" | "gvisor";
  readonly #options: DockerBoxesOptions;
  readonly #engine: DockerEngine;
  readonly #images: DockerImages;
  readonly #removal: DockerRemoval;
  /** Being made, or in use. */
  readonly #live = new Set<DockerHolder>();
  readonly #making = new Set<Promise<unknown>>();
  /** Whether limits are files that the engine wrote itself; asked once for each engine. */
  #canWriteLimits: boolean | undefined;
  #isClosed = false;

  constructor(options: DockerBoxesOptions) {
    this.level = options.level ?? "docker";
    this.#options = options;
    this.#engine = new DockerEngine(options.socketPath);
    this.#images = new DockerImages(options);
    this.#removal = new DockerRemoval(this.#engine, options.tag);
  }

  /**
   * Throws BoxError when boxes for these languages cannot be had: no engine, no right to use it, no
   * such runtime, no image. To be asked when the agent starts.
   */
  async check(languages: readonly string[]): Promise<void> {
    this.#forget();
    const info = await this.#engine.ask({ method: "GET", path: "/info" });
    if (!info.ok) throw this.#unreachable(info);
    const { OSType, Runtimes, CgroupDriver } = fields(info.value);
    if (OSType !== "linux") {
      throw new BoxError(`the Docker engine runs ${OSType} containers`, "Use one for Linux.");
    }
    this.#canWriteLimits = CgroupDriver === "cgroupfs";
    const runtime = this.#runtime;
    if (runtime !== undefined && !(runtime in fields(Runtimes))) {
      throw new BoxError(
        `the Docker engine has no runtime ${runtime}`,
        `Add it to "runtimes" in /etc/docker/daemon.json and restart the engine (EDGEDAG_DOCKER_RUNTIME).`,
      );
    }
    const problems: BoxError[] = [];
    for (const language of languages) {
      try {
        await this.#images.find(this.#engine, language);
      } catch (error) {
        if (!(error instanceof BoxError)) throw error;
        problems.push(error);
      }
    }
    const [first] = problems;
    if (first === undefined) return;
    const remedies = [...new Set(problems.map((problem) => problem.remedy))];
    throw new BoxError(problems.map(({ message }) => message).join("; "), remedies.join(" "));
  }

  async make(kind: BoxKind, folder: BoxFolder, limits: BoxLimits): Promise<Box> {
    if (this.#isClosed) throw new BoxError("the agent is ending", "Start it again.");
    const making = this.#make(kind, folder, limits);
    this.#making.add(making);
    try {
      return await making;
    } finally {
      this.#making.delete(making);
    }
  }

  async cleanUp(): Promise<void> {
    await this.#removal.removeLeftovers();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.allSettled(this.#making);
    const live = [...this.#live];
    for (const holder of live) holder.kill();
    await Promise.all(live.map((holder) => holder.gone));
    try {
      await this.#removal.close(closeLimitMs);
    } finally {
      this.#engine.close();
    }
  }

  get #runtime(): string | undefined {
    return this.#options.runtime === "" ? undefined : this.#options.runtime;
  }

  async #make(kind: BoxKind, folder: BoxFolder, limits: BoxLimits): Promise<Box> {
    const { installation, tag, networkMode = "bridge", baseEnv } = this.#options;
    const facts = await this.#engine.facts();
    if (!facts.ok) throw this.#unreachable(facts);
    const image = await this.#images.find(this.#engine, kind.language);
    // Our own name, so that it can be removed also when the answer to its creation got lost.
    const name = `edgedag-${tag}-${randomBytes(8).toString("hex")}`;
    const body = containerBody({
      ...{ image: image.name, kind, folder, limits, tag, runtime: this.#runtime, networkMode },
      // The image's own Node.js is used: ours need not run with its C library.
      installation: installationMounts(installation).filter(
        ({ target }) => target !== insidePaths.nodeJs,
      ),
      apiVersion: facts.value.apiVersion,
    });
    const path = `/containers/create?name=${name}`;
    const created = await this.#engine.ask({
      method: "POST",
      path,
      body,
      timeoutMs: startTimeoutMs,
    });
    if (!created.ok) {
      if (created.status === 0) await this.#removal.remove(name);
      throw this.#refused(created, image, kind.language);
    }
    const id = String(fields(created.value).Id);
    const held = await this.#start({ name, id, kind, limits });
    const programs = insidePrograms(installation, "python3", "node");
    const env = {
      ...image.env,
      ...boxEnvironment({
        ...{ baseEnv, programs, home: insidePaths.work, tmp: "/tmp" },
        path: image.env.PATH ?? defaultPath,
      }),
    };
    return await openInsideBox({
      ...{ kind, folder, env, ...held },
      inside: { work: insidePaths.work, io: insidePaths.io },
      worker: workerOf(programs, env),
      // In addition to the engine's filter, and whatever that is configured to be.
      confine: { seccomp: { allow: kind.syscalls } },
      remedy: `Look at what the engine says of it, and run edgedag doctor. The image is ${image.name}.`,
    });
  }

  async #start({ name, id, kind, limits }: StartOptions): Promise<Held> {
    const engine = this.#engine;
    const attached = await engine.attach(name);
    const started = attached.ok
      ? await engine.ask({
          method: "POST",
          path: `/containers/${name}/start`,
          timeoutMs: startTimeoutMs,
        })
      : attached;
    if (!attached.ok || !started.ok) {
      if (attached.ok) attached.value.stream.destroy();
      await this.#removal.remove(name);
      const failure = attached.ok ? started : attached;
      throw this.#unstarted(failure.ok ? "" : failure.detail);
    }
    const { stream, stderr } = attached.value;
    const inspected = await engine.ask({ method: "GET", path: `/containers/${name}/json` });
    const pid = inspected.ok ? fields(fields(inspected.value).State).Pid : undefined;
    const cgroup = typeof pid === "number" && pid > 0 ? ContainerCgroup.find(pid, id) : undefined;
    const canWriteLimits = await this.#mayWriteLimits();
    const removal = this.#removal;
    const holder = new DockerHolder({
      ...{ name, kind, limits, stream, stderr, cgroup, canWriteLimits, engine, removal },
      ended: () => this.#live.delete(holder),
    });
    this.#live.add(holder);
    return { holder, stream };
  }

  /** What systemd manages it may write again at any time: then the engine is asked. */
  async #mayWriteLimits(): Promise<boolean> {
    if (this.#canWriteLimits === undefined) {
      const info = await this.#engine.ask({ method: "GET", path: "/info" });
      if (!info.ok) return false;
      this.#canWriteLimits = fields(info.value).CgroupDriver === "cgroupfs";
    }
    return this.#canWriteLimits;
  }

  #refused(failure: EngineFailure, image: DockerImage, language: string): BoxError {
    if (failure.status === 0) return this.#unreachable(failure);
    if (failure.status === 404 && /no such image/i.test(failure.detail)) {
      this.#images.forget();
      return missingImage(image.name, language);
    }
    return this.#unstarted(failure.detail);
  }

  #unstarted(detail: string): BoxError {
    return new BoxError(
      `the container of a sandbox did not start: ${detail}`,
      "Run edgedag doctor, and look at the engine's log.",
    );
  }

  #unreachable(failure: EngineFailure): BoxError {
    this.#forget();
    const { socketPath } = this.#options;
    const why =
      failure.errno === "ENOENT"
        ? `there is no ${socketPath}`
        : failure.errno === "EACCES"
          ? `the agent's user may not use ${socketPath}`
          : failure.detail;
    return new BoxError(`the Docker engine cannot be used: ${why}`, remedyOf(socketPath));
  }

  /** What comes back may be another engine, with other images. */
  #forget(): void {
    this.#engine.forget();
    this.#images.forget();
    this.#canWriteLimits = undefined;
  }
}
