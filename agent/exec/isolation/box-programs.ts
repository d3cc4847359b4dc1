// Where the runners, SDKs and interpreters are, on the host and as boxes see them, and how a runner
// is started there. Pure string functions; used by the makers of all levels.
import { join } from "node:path";
import {
  nodeRunnerPath,
  nodeSdkPath,
  pythonRunnerPath,
  pythonSdkPath,
} from "../../../protocol/install-paths.ts";
import type { Box, Mount } from "./box.ts";

/** Paths as processes inside see them. */
export interface BoxPrograms {
  python: string;
  nodeJs: string;
  pythonRunner: string;
  nodeRunner: string;
  pythonSdk: string;
  nodeSdk: string;
}

export interface Installation {
  /** The folder that holds package.json. */
  root: string;
  /** Whether the agent runs from the bundle. */
  isBundled: boolean;
  launcherPath: string;
  /** The pinned Node.js. */
  nodeJs: string;
}

/** At level subprocess everything is where it is. */
export function hostPrograms(
  { root, isBundled, nodeJs }: Installation,
  python: string,
): BoxPrograms {
  return {
    python,
    nodeJs,
    pythonRunner: pythonRunnerPath(root),
    nodeRunner: nodeRunnerPath(root, isBundled),
    pythonSdk: pythonSdkPath(root),
    nodeSdk: join(nodeSdkPath(root), "index.js"),
  };
}

export const insidePaths = {
  work: "/work",
  io: "/run/edgedag",
  launcher: "/edgedag/launcher",
  nodeJs: "/edgedag/node/bin/node",
} as const;

/** Inside a box with a file system of its own. `nodeJs`: the image's, where it has one. */
export function insidePrograms(
  { isBundled }: Pick<Installation, "isBundled">,
  python: string,
  nodeJs: string = insidePaths.nodeJs,
): BoxPrograms {
  return {
    python,
    nodeJs,
    pythonRunner: "/edgedag/workers/python/runner.py",
    nodeRunner: isBundled ? "/edgedag/dist/node-runner.mjs" : "/edgedag/workers/node/runner.ts",
    pythonSdk: "/edgedag/sdk/python",
    nodeSdk: "/edgedag/sdk/node/index.js",
  };
}

/** What such a box needs of the installation, all read-only. */
export function installationMounts(installation: Installation): Mount[] {
  const { root, isBundled, launcherPath, nodeJs } = installation;
  const pairs: [string, string][] = [
    [launcherPath, insidePaths.launcher],
    [join(root, "agent/exec/workers"), "/edgedag/workers"],
    [pythonSdkPath(root), "/edgedag/sdk/python"],
    [nodeSdkPath(root), "/edgedag/sdk/node"],
    [nodeJs, insidePaths.nodeJs],
  ];
  if (isBundled) pairs.push([join(root, "dist"), "/edgedag/dist"]);
  return pairs.map(([source, target]) => ({ source, target, isWritable: false }));
}

/** The environment of programs inside: of the agent's base environment only how to write text. */
export function boxEnvironment(options: {
  baseEnv: Readonly<Record<string, string>>;
  path: string;
  home: string;
  tmp: string;
  programs: BoxPrograms;
}): Record<string, string> {
  const env: Record<string, string> = {
    PATH: options.path,
    HOME: options.home,
    TMPDIR: options.tmp,
    LANG: "C.UTF-8",
    PYTHONPATH: options.programs.pythonSdk,
    PYTHONUNBUFFERED: "1",
    PYTHONDONTWRITEBYTECODE: "1",
    EDGEDAG_NODE_SDK: options.programs.nodeSdk,
  };
  for (const [name, value] of Object.entries(options.baseEnv)) {
    const isOfTheBox = name === "TZ" || name === "NODE_PATH";
    if (isOfTheBox || name.startsWith("LANG") || name.startsWith("LC_")) env[name] = value;
  }
  return env;
}

export function workerOf(
  programs: BoxPrograms,
  env: Readonly<Record<string, string>>,
): Box["worker"] {
  return (runtime) => ({
    argv:
      runtime === "python"
        ? [programs.python, "-u", programs.pythonRunner]
        : [
            programs.nodeJs,
            "--disable-warning=ExperimentalWarning",
            "--disable-warning=MODULE_TYPELESS_PACKAGE_JSON",
            programs.nodeRunner,
          ],
    env: { ...env },
  });
}
