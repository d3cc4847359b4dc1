// The isolation of an agent: its sandboxes at all levels above `none`, which of them hold on this
// host, and the languages that it has. Loaded only where a DAG, the master or the doctor asks for it.
import { join } from "node:path";
import type { DagDocument } from "../protocol/dag.ts";
import type { Result } from "../protocol/diagnostic.ts";
import type { SandboxPool } from "../protocol/link.ts";
import type { LogLevel } from "../protocol/log.ts";
import { type SandboxLevel, sandboxLevels } from "../protocol/outcome.ts";
import { abandonedBoxes, boxesFolder } from "./boxes-folder.ts";
import type { Config } from "./config.ts";
import type { Attempt, AttemptListener } from "./exec/attempt.ts";
import type { UsedLanguage } from "./exec/isolation/attempt/run-code.ts";
import type { BoxKind, BoxMaker } from "./exec/isolation/box.ts";
import { type Installation, insidePaths } from "./exec/isolation/box-programs.ts";
import { DockerBoxes } from "./exec/isolation/docker/docker.ts";
import { BoxFolders } from "./exec/isolation/files/box-folder.ts";
import { GvisorMaker } from "./exec/isolation/gvisor/gvisor.ts";
import { findRunsc } from "./exec/isolation/gvisor/runsc.ts";
import { type FoundLanguage, findLanguages } from "./exec/isolation/languages/language-find.ts";
import { type LanguageRegistry, loadLanguages } from "./exec/isolation/languages/languages.ts";
import { PlainMaker } from "./exec/isolation/plain.ts";
import { defaultPoolSettings } from "./exec/isolation/pool/box-pool.ts";
import type { Samples, SandboxSpec } from "./exec/isolation/sandbox-spec.ts";
import { Sandboxes, type SandboxMetrics } from "./exec/isolation/sandboxes.ts";
import { SeccompMaker } from "./exec/isolation/seccomp.ts";
import { SubprocessMaker } from "./exec/isolation/subprocess.ts";
import type { LauncherKeeper } from "./exec/launcher/keeper.ts";
import { checkLevel, type LevelReport } from "./level-check.ts";
import { kindOf, needsSandbox } from "./sandbox-plan.ts";
import { findSandboxPython, type SandboxPython } from "./sandbox-python.ts";
import { realPath } from "./sandbox-settings.ts";

export interface IsolationOptions {
  config: Config;
  installation: Installation;
  launcher: LauncherKeeper;
  /** The agent's own, where sockets and state of sandboxes lie. */
  runtimeDir: string;
  /** Tells this state's sandboxes from others', also after a crash. */
  tag: string;
  baseEnv: Readonly<Record<string, string>>;
  /** The Python of level `none`. */
  python(): string;
  say(level: LogLevel, text: string): void;
}

interface Parts {
  sandboxes: Sandboxes;
  folders: BoxFolders;
  registry: LanguageRegistry;
  languages: ReadonlyMap<string, FoundLanguage>;
  /** Why a level has no maker here. */
  absent: ReadonlyMap<SandboxLevel, { detail: string; remedy: string }>;
}

export class Isolation {
  readonly #options: IsolationOptions;
  readonly #parts: Parts;
  readonly #checks = new Map<SandboxLevel, Promise<LevelReport>>();
  readonly #known = new Map<SandboxLevel, LevelReport>();
  #isClosed = false;

  /** Cleans up what an earlier agent of this state left. Fails with E_LANGUAGE_* or E_SANDBOX. */
  static async start(options: IsolationOptions): Promise<Result<Isolation>> {
    const registry = loadLanguages(options.config.languages);
    if (!registry.ok) return registry;
    try {
      return { ok: true, value: await Isolation.#open(options, registry.value) };
    } catch (error) {
      const remedy =
        error instanceof Error && "remedy" in error ? String(error.remedy) : "Run edgedag doctor.";
      const message = `sandboxes cannot be had: ${error instanceof Error ? error.message : error}`;
      return { ok: false, diagnostics: [{ code: "E_SANDBOX", path: "", message, remedy }] };
    }
  }

  static async #open(options: IsolationOptions, registry: LanguageRegistry): Promise<Isolation> {
    const { config, installation, launcher, tag, baseEnv, say } = options;
    const isRoot = process.getuid?.() === 0;
    const mounter = isRoot ? launcher : undefined;
    const [python, languages] = await Promise.all([
      findSandboxPython([options.python()], baseEnv),
      findLanguages(baseEnv.PATH ?? "", registry, {
        env: baseEnv,
        programs: { node: installation.nodeJs },
      }),
    ]);
    const folders = await BoxFolders.open({
      root: boxesFolder(config.runtimeDir, tag),
      mounter,
      uidBase: isRoot ? config.sandboxUid : undefined,
    });
    const { makers, absent } = makersOf(options, { python, registry, languages });
    for (const maker of makers)
      await maker.cleanUp().catch((error: unknown) => {
        say("warn", `what an earlier agent left at level ${maker.level}: ${String(error)}`);
      });
    await folders.cleanUp();
    for (const root of abandonedBoxes(config.runtimeDir)) {
      const abandoned = await BoxFolders.open({ root, mounter, uidBase: undefined });
      await abandoned.cleanUp();
      await abandoned.close();
    }
    const sandboxes = new Sandboxes({
      makers,
      folders,
      settings: {
        ...defaultPoolSettings,
        size: config.poolSizes.otherwise,
        sizes: config.poolSizes.kinds,
        lifespanMs: config.poolLifespanMs,
        startsPerSecond: config.poolRefillPerS,
      },
      limits: {
        memoryBytes: config.sandboxMemoryBytes,
        pids: config.sandboxPids,
        diskBytes: config.sandboxDiskBytes,
      },
      language: (name, level) => usedLanguage(name, level, { registry, languages, installation }),
      onProblem: ({ kind, state, detail, remedy }) => {
        const what = `sandboxes of ${kind.level} for ${kind.language}`;
        say(state === "mended" ? "info" : "warn", `${what} (${state}): ${detail}. ${remedy}`);
      },
    });
    return new Isolation(options, { sandboxes, folders, registry, languages, absent });
  }

  private constructor(options: IsolationOptions, parts: Parts) {
    this.#options = options;
    this.#parts = parts;
  }

  get registry(): LanguageRegistry {
    return this.#parts.registry;
  }

  get languages(): ReadonlyMap<string, FoundLanguage> {
    return this.#parts.languages;
  }

  get cgroups(): { readonly version: number; readonly why: string } {
    return this.#options.launcher.cgroups;
  }

  /** Levels that were tried and hold. */
  held(): SandboxLevel[] {
    return sandboxLevels.filter((level) => level === "none" || this.#known.get(level)?.holds);
  }

  /** What was found of a level that was tried. */
  reportOf(level: SandboxLevel): LevelReport | undefined {
    return this.#known.get(level);
  }

  /** Tries a level, once; thoroughly each time that it is asked for. */
  check(level: SandboxLevel, isThorough = false): Promise<LevelReport> {
    const known = this.#checks.get(level);
    if (known !== undefined && !isThorough) return known;
    const checking = this.#check(level, isThorough).then((report) => {
      this.#known.set(level, report);
      return report;
    });
    this.#checks.set(level, checking);
    return checking;
  }

  /** Tries all levels that the configuration allows. */
  async checkAll({ isThorough = false } = {}): Promise<LevelReport[]> {
    const levels = sandboxLevels.filter((level) => level !== "none");
    return await Promise.all(levels.map((level) => this.check(level, isThorough)));
  }

  /** Tries the levels that the DAG asks for. */
  async prepare(dag: DagDocument): Promise<void> {
    const levels = new Set(dag.nodes.map(({ attributes }) => attributes.isolation));
    for (const level of levels) if (level !== "none") await this.check(level);
  }

  /** Boxes for the tasks of the DAG, ahead of the first that needs one. */
  warm(dag: DagDocument): void {
    const kinds = new Map<string, BoxKind>();
    for (const { attributes } of dag.nodes) {
      if (!needsSandbox(attributes) || attributes.isolation === "none") continue;
      const kind = kindOf(attributes);
      kinds.set(JSON.stringify(kind), kind);
    }
    const { config, say } = this.#options;
    for (const kind of kinds.values()) {
      const own = config.poolSizes.kinds.find(
        ({ level, language }) => level === kind.level && language === kind.language,
      );
      const count = Math.min(own?.size ?? config.poolSizes.otherwise, dag.nodes.length);
      this.#parts.sandboxes
        .warm(kind, count)
        // A task that needs one fails with the reason.
        .catch((error: unknown) => {
          if (!this.#isClosed) say("warn", `${kind.level} sandboxes: ${String(error)}`);
        });
    }
  }

  /** Never runs a task at a level that was not seen to hold. */
  start(spec: SandboxSpec, listener: AttemptListener): Attempt {
    const { level } = spec.kind;
    const report = this.#known.get(level);
    if (level === "none" || report?.holds === true) {
      return this.#parts.sandboxes.start(spec, listener);
    }
    let attempt: Attempt | undefined;
    let isStopped = false;
    const refuse = (detail: string) =>
      listener.ended({
        outcome: { kind: "failed", failure: { reason: "sandbox", level, detail } },
        facts: {},
      });
    this.check(level).then(
      ({ holds, detail, remedy }) => {
        if (isStopped) listener.ended("returned");
        else if (holds) attempt = this.#parts.sandboxes.start(spec, listener);
        else refuse(`this node does not hold level ${level}: ${detail}. ${remedy}`);
      },
      (error: unknown) => refuse(`level ${level} could not be tried: ${String(error)}`),
    );
    return {
      stop: (graceMs) => {
        isStopped = true;
        attempt?.stop(graceMs);
      },
    };
  }

  /** Of a task that runs: the last 1,000 samples, one each 100 ms. */
  samples(run: string, task: string): Samples | undefined {
    return this.#parts.sandboxes.samples(run, task);
  }

  metrics(): SandboxMetrics {
    return this.#parts.sandboxes.metrics();
  }

  /** The pools, as heartbeats tell of them. */
  pools(): SandboxPool[] {
    return this.metrics().pools.map(
      ({ level, language, ready, starting, inUse, served, cold, died, expired, failed }) => {
        const now = { level, language, ready, starting, inUse };
        return { ...now, served, cold, died, expired, failed };
      },
    );
  }

  /** Nothing is left afterwards. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#parts.sandboxes.close();
    await this.#parts.folders.close();
  }

  async #check(level: SandboxLevel, isThorough: boolean): Promise<LevelReport> {
    const { config, installation } = this.#options;
    const { sandboxes, absent } = this.#parts;
    const cannot = (detail: string, remedy: string): LevelReport => ({
      level,
      holds: false,
      detail,
      remedy,
      trials: [],
      wallMs: 0,
    });
    if (config.levels !== "auto" && !config.levels.includes(level)) {
      return cannot("EDGEDAG_LEVELS does not name it", `Add ${level} to EDGEDAG_LEVELS.`);
    }
    const missing = absent.get(level);
    if (missing !== undefined) return cannot(missing.detail, missing.remedy);
    return await checkLevel(level, {
      start: (spec, listener) => sandboxes.start(spec, listener),
      launcherPath: level === "subprocess" ? installation.launcherPath : insidePaths.launcher,
      language: "shell",
      isThorough,
    });
  }
}

interface Found {
  python: SandboxPython;
  registry: LanguageRegistry;
  languages: ReadonlyMap<string, FoundLanguage>;
}

/** `absent`: why there is no maker for a level; the others still have to pass their check. */
function makersOf(
  { config, installation, launcher, runtimeDir, tag, baseEnv }: IsolationOptions,
  { python, registry, languages }: Found,
): { makers: BoxMaker[]; absent: Map<SandboxLevel, { detail: string; remedy: string }> } {
  const { nodeModules } = config;
  // Read by a Node.js at its start, so it is the box's and not the task's.
  const boxEnv = { ...baseEnv, NODE_PATH: nodeModules.join(":") };
  const shared = { launcher, installation, baseEnv: boxEnv };
  const inside = {
    ...shared,
    python: () => python,
    toolchains: (name: string) => [
      ...(languages.get(registry.find(name)?.name ?? "")?.toolchains ?? []),
      ...nodeModules.filter((folder) => realPath(folder) !== undefined),
    ],
  };
  const makers: BoxMaker[] = [
    new PlainMaker({ ...shared, python: () => python.path }),
    new SubprocessMaker({ ...shared, python: () => python.path }),
    new SeccompMaker({
      ...inside,
      channelFolder: join(runtimeDir, "s"),
    }),
  ];
  const absent = new Map<SandboxLevel, { detail: string; remedy: string }>();
  const docker = {
    installation,
    tag,
    baseEnv: boxEnv,
    socketPath: config.dockerSocket,
    images: config.dockerImages,
  };
  const hint = (name: string) => {
    const language = registry.find(name);
    return language === undefined
      ? undefined
      : { names: [language.name, ...language.aliases], image: language.image };
  };
  const isGvisorByDocker = config.dockerRuntime === "runsc" && config.runsc === "";
  const hasImages = Object.keys(config.dockerImages).length > 0;
  if (hasImages && !isGvisorByDocker) {
    makers.push(new DockerBoxes({ ...docker, hint, runtime: config.dockerRuntime }));
  } else {
    const detail = hasImages
      ? "EDGEDAG_DOCKER_RUNTIME is runsc: that is level gvisor"
      : "EDGEDAG_DOCKER_IMAGES names no image";
    absent.set("docker", {
      detail,
      remedy: "Name an image for each language, or one for all: EDGEDAG_DOCKER_IMAGES=*=IMAGE.",
    });
  }
  if (isGvisorByDocker && hasImages) {
    makers.push(new DockerBoxes({ ...docker, hint, runtime: "runsc", level: "gvisor" }));
    return { makers, absent };
  }
  const runsc = findRunsc({
    root: installation.root,
    searchPath: baseEnv.PATH ?? "",
    explicit: config.runsc === "" ? undefined : config.runsc,
  });
  if (runsc.found) {
    const folder = join(runtimeDir, "g");
    const { runscPlatform: platform } = config;
    makers.push(new GvisorMaker({ ...inside, runsc: runsc.path, platform, folder, tag }));
  } else absent.set("gvisor", runsc);
  return { makers, absent };
}

/** Where a language's programs are at that level; in an image they are on its PATH. */
function usedLanguage(
  name: string,
  level: SandboxLevel,
  { registry, languages, installation }: Omit<Found, "python"> & { installation: Installation },
): UsedLanguage | undefined {
  const language = registry.find(name);
  if (language === undefined) return undefined;
  if (level === "docker") return { language, programs: {} };
  const programs = { ...languages.get(language.name)?.programs };
  // The agent's own Node.js lies elsewhere inside.
  if (programs.node === installation.nodeJs && (level === "seccomp" || level === "gvisor")) {
    programs.node = insidePaths.nodeJs;
  }
  return { language, programs };
}
