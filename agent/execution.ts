// Starts what carries out attempts: the launcher (or the plain way where none can be had), the
// socket of the workers and the two pools.
import { execFile } from "node:child_process";
import { statSync } from "node:fs";
import { join, resolve } from "node:path";
import type { DagDocument } from "../protocol/dag.ts";
import type { Result } from "../protocol/diagnostic.ts";
import { nodeRunnerPath, nodeSdkPath, pythonRunnerPath } from "../protocol/install-paths.ts";
import type { LogLevel } from "../protocol/log.ts";
import { orphansDir } from "../protocol/state-paths.ts";
import type { Config } from "./config.ts";
import { Executor } from "./exec/attempt.ts";
import { findLauncher } from "./exec/launcher/find.ts";
import { holderArgs } from "./exec/launcher/find-holders.ts";
import { LauncherKeeper } from "./exec/launcher/keeper.ts";
import type { ProcessStarter } from "./exec/launcher/process.ts";
import { PoolGroups } from "./exec/workers/pool-groups.ts";
import { WorkerPool } from "./exec/workers/worker-pool.ts";
import { WorkerServer } from "./exec/workers/worker-server.ts";
import { LazyIsolation } from "./lazy-isolation.ts";

export interface ExecutionParts {
  executor: Executor;
  hasLauncher: boolean;
  /** Processes outlive this agent. */
  holds: boolean;
  isolation: LazyIsolation;
  /** The Python that tasks run on: an absolute path where it was found. */
  python(): string;
  /** Starts workers ahead of the first task that needs them. */
  warm(dag: DagDocument): void;
  /** `isLeft`: what may outlive this agent does. */
  close(options?: { isLeft?: boolean }): Promise<void>;
}

export interface ExecutionOptions {
  config: Config;
  root: string;
  runtimeDir: string;
  /** Nobody will go on with this state. */
  isOneOff?: boolean;
  /** Tells what this agent has outside of its state from what others have. */
  tag: string;
  baseEnv: Record<string, string>;
  say(level: LogLevel, text: string): void;
}

/** Fails with E_LAUNCHER when EDGEDAG_LAUNCHER names one that does not start. */
export async function startExecution(options: ExecutionOptions): Promise<Result<ExecutionParts>> {
  const { config, root, runtimeDir, tag, baseEnv, say } = options;
  const started = await startLauncher(options);
  if (!started.ok) return started;
  const { starter, keeper } = started.value;
  const server = await WorkerServer.listen(join(runtimeDir, "w.sock"));
  const python = new PythonProgram(config.python === "" ? "python3" : config.python, baseEnv);
  const isBundled = !import.meta.url.endsWith(".ts");
  const shared = { launcher: starter, server, env: baseEnv, cwd: "/", size: config.slots };
  const makePool = {
    python: () =>
      new WorkerPool({
        ...shared,
        runtime: "python",
        argv: () => [python.path, "-u", pythonRunnerPath(root)],
      }),
    node: () =>
      new WorkerPool({
        ...shared,
        // A bundled runner does not lie where the SDK could be found from it.
        env: isBundled
          ? { ...baseEnv, EDGEDAG_NODE_SDK: join(nodeSdkPath(root), "index.js") }
          : baseEnv,
        runtime: "node",
        argv: [
          process.execPath,
          "--disable-warning=ExperimentalWarning",
          "--disable-warning=MODULE_TYPELESS_PACKAGE_JSON",
          nodeRunnerPath(root, isBundled),
        ],
      }),
  };
  const pools = { python: makePool.python(), node: makePool.node() };
  const groups = new PoolGroups((runtime) => makePool[runtime]());
  const isolation = new LazyIsolation(
    keeper === undefined
      ? undefined
      : {
          config,
          installation: {
            root,
            isBundled,
            launcherPath: keeper.path,
            nodeJs: process.execPath,
          },
          launcher: keeper.launcher,
          runtimeDir,
          tag,
          baseEnv,
          python: () => python.path,
          say,
        },
  );
  const holder = keeper === undefined ? undefined : await startHolder(options, keeper.path);
  const executor = new Executor({
    launcher: starter,
    ...(holder === undefined ? {} : { holder }),
    pools,
    groups,
    sandboxed: (spec, listener) => isolation.start(spec, listener),
  });
  return {
    ok: true,
    value: {
      executor,
      hasLauncher: keeper !== undefined,
      holds: holder !== undefined,
      isolation,
      python: () => python.path,
      warm: (dag) => {
        for (const runtime of ["python", "node"] as const) {
          const tasks = dag.nodes.filter(
            ({ attributes }) => attributes.run.kind === runtime && attributes.isolation === "none",
          );
          if (tasks.length === 0) continue;
          if (runtime === "python") python.resolveShim();
          const isWide = tasks.some((task) => task.attributes.map !== undefined);
          const count = isWide ? config.slots : Math.min(config.slots, tasks.length);
          // A worker that does not start fails the task that needs it, with the reason.
          pools[runtime]
            .warm(count)
            .catch((error: unknown) => say("warn", `${runtime} workers: ${String(error)}`));
        }
      },
      close: async ({ isLeft = false } = {}) => {
        await (isLeft ? holder?.leave() : holder?.close());
        await isolation.close();
        await Promise.all([pools.python.close(), pools.node.close(), groups.close()]);
        await starter.close();
        await server.close();
      },
    },
  };
}

interface StartedLauncher {
  starter: ProcessStarter;
  /** Absent where tasks run without one. */
  keeper?: { launcher: LauncherKeeper; path: string };
}

async function startLauncher({
  config,
  root,
  tag,
  say,
}: ExecutionOptions): Promise<Result<StartedLauncher>> {
  const isExplicit = config.launcher !== "" && config.launcher !== "none";
  const found =
    config.launcher === "none"
      ? { found: false as const, detail: "EDGEDAG_LAUNCHER is none", remedy: "" }
      : findLauncher({ root, ...(isExplicit ? { explicit: config.launcher } : {}) });
  let problem = found.found ? undefined : `${found.detail}. ${found.remedy}`;
  if (found.found) {
    try {
      const starter = await LauncherKeeper.start({
        path: found.path,
        args: ["--cgroup", `edgedag-${tag}`],
        onDeath: (detail, n) => say("error", `the launcher died (${n}): ${detail}`),
      });
      const keeper = { launcher: starter, path: resolve(found.path) };
      return { ok: true, value: { starter, keeper } };
    } catch (error) {
      problem = `the launcher ${found.path} does not start: ${String(error)}`;
    }
  }
  if (isExplicit) {
    const remedy = "Name a launcher that was built for this machine, or unset EDGEDAG_LAUNCHER.";
    const diagnostic = {
      code: "E_LAUNCHER",
      path: "EDGEDAG_LAUNCHER",
      message: `${problem}`,
      remedy,
    };
    return { ok: false, diagnostics: [diagnostic] };
  }
  say("warn", `tasks run without the launcher, with fewer facts and weaker clean-up: ${problem}`);
  const { PlainStarter } = await import("./exec/launcher/plain.ts");
  return { ok: true, value: { starter: new PlainStarter() } };
}

/** A second launcher, for what is to outlive this agent: it ends with none but its own tasks. */
async function startHolder(
  { config, isOneOff = false, say }: ExecutionOptions,
  path: string,
): Promise<LauncherKeeper | undefined> {
  if (config.orphans === "kill" || isOneOff) return undefined;
  const without = (why: string) => say("warn", `tasks will end with the agent: ${why}`);
  // Where we are process 1 the kernel kills all others with us.
  if (process.pid === 1) without("it is process 1 of this container, with which all others end");
  else if (config.storeUrl !== "") {
    without("what they say while there is no agent is lost in the store of EDGEDAG_STORE_URL");
  } else {
    try {
      return await LauncherKeeper.start({
        path,
        holderArgs: () => holderArgs(orphansDir(config.stateDir), config.orphansForMs),
        onDeath: (detail, n) => say("error", `the launcher died (${n}): ${detail}`),
      });
    } catch (error) {
      without(String(error));
    }
  }
  return undefined;
}

/**
 * The Python of this node. A shim (as of pyenv) costs a start of its own for every worker, so it
 * is asked once, in the background, which interpreter it stands for.
 */
class PythonProgram {
  path: string;
  readonly #env: Record<string, string>;
  #isAsked = false;

  constructor(name: string, env: Record<string, string>) {
    this.path = (name.includes("/") ? name : findOnPath(name, env.PATH ?? "")) ?? name;
    this.#env = env;
  }

  resolveShim(): void {
    if (this.#isAsked || !this.path.includes("/shims/")) return;
    this.#isAsked = true;
    const options = { env: this.#env, timeout: 10_000 };
    execFile(this.path, ["-c", "import sys; print(sys.executable)"], options, (error, stdout) => {
      // On an error workers start through the shim, which then tells what is wrong.
      const real = error === null ? stdout.trim() : "";
      if (real.startsWith("/")) this.path = real;
    });
  }
}

function findOnPath(name: string, path: string): string | undefined {
  for (const folder of path.split(":")) {
    const candidate = join(folder, name);
    const stat = statSync(candidate, { throwIfNoEntry: false });
    if (folder !== "" && stat?.isFile() && (stat.mode & 0o111) !== 0) return candidate;
  }
  return undefined;
}
