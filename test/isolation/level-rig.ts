// What the tests of levels share: a launcher with cgroups, folders and makers as an agent has them,
// all below one folder, and a look at what they leave on the machine.
import { hash } from "node:crypto";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { OneCall } from "../../agent/exec/isolation/attempt/one-call.ts";
import type { BoxMaker } from "../../agent/exec/isolation/box.ts";
import { BoxFolders, mountsBelow } from "../../agent/exec/isolation/files/box-folder.ts";
import {
  BoxPool,
  defaultPoolSettings,
  type PoolSettings,
} from "../../agent/exec/isolation/pool/box-pool.ts";
import { SeccompMaker } from "../../agent/exec/isolation/seccomp.ts";
import { SubprocessMaker } from "../../agent/exec/isolation/subprocess.ts";
import { LauncherKeeper } from "../../agent/exec/launcher/keeper.ts";
import { launcherPath } from "../exec/launcher-rig.ts";
import { groupsNamed } from "./control-groups.ts";
import { isRoot, processesWith, root, smallLimits } from "./isolation-rig.ts";

export const pythonPath = "/usr/bin/python3";

export interface LevelParts extends AsyncDisposable {
  keeper: LauncherKeeper;
  folders: BoxFolders;
  makers: { subprocess: SubprocessMaker; seccomp: SeccompMaker };
  pool(settings?: Partial<PoolSettings>): BoxPool<OneCall>;
}

/** Users of the boxes of a tag: not those of an agent on this machine, nor of another test. */
function uidBaseOf(tag: string): number {
  return 1_000_000_000 + (Number.parseInt(hash("sha256", tag).slice(0, 6), 16) % 100_000) * 1000;
}

/** `folder` and `tag` as of an agent: a second one with the same cleans up after the first. */
export async function startParts(folder: string, tag: string): Promise<LevelParts> {
  const path = launcherPath();
  const keeper = await LauncherKeeper.start({
    path,
    args: ["--cgroup", `edgedag-${tag}`],
    onDeath: (detail) => process.stderr.write(`${detail}\n`),
  });
  const folders = await BoxFolders.open({
    root: join(folder, "boxes"),
    mounter: isRoot ? keeper : undefined,
    uidBase: isRoot ? uidBaseOf(tag) : undefined,
  });
  await folders.cleanUp();
  const nodeJs = join(root, "node_modules/node/bin/node");
  const installation = { root, isBundled: false, launcherPath: path, nodeJs };
  const baseEnv = { PATH: "/usr/local/bin:/usr/bin:/bin", LANG: "C.UTF-8", SECRET: "no" };
  const makers = {
    subprocess: new SubprocessMaker({
      launcher: keeper,
      installation,
      python: () => pythonPath,
      baseEnv,
    }),
    seccomp: new SeccompMaker({
      launcher: keeper,
      installation,
      python: () => ({ path: pythonPath, prefix: "/usr" }),
      toolchains: () => [],
      baseEnv,
      channelFolder: join(folder, "channels"),
    }),
  };
  const all: BoxMaker[] = [makers.subprocess, makers.seccomp];
  for (const maker of all) await maker.cleanUp();
  const pools: BoxPool<OneCall>[] = [];
  return {
    keeper,
    folders,
    makers,
    pool: (settings = {}) => {
      const pool = new BoxPool<OneCall>({
        makers: all,
        folders,
        settings: { ...defaultPoolSettings, startsPerSecond: 1000, ...settings },
        limits: smallLimits,
        warm: async (box, gone) => {
          const { language } = box.kind;
          if (language !== "python" && language !== "node") return undefined;
          return await OneCall.warm(box, language, { gone });
        },
        onProblem: ({ state, detail, remedy }) =>
          process.stderr.write(`${state}: ${detail}: ${remedy}\n`),
      });
      pools.push(pool);
      return pool;
    },
    [Symbol.asyncDispose]: async () => {
      for (const pool of pools) await pool.close();
      for (const maker of all) await maker.close();
      await keeper.close();
      await folders.close();
    },
  };
}

/** Everything on this machine that parts of `folder` and `tag` could have left. */
export function leftOf(folder: string, tag: string): string[] {
  const left = [...mountsBelow(folder), ...groupsNamed(`edgedag-${tag}`)];
  const boxes = join(folder, "boxes");
  if (existsSync(boxes)) left.push(...readdirSync(boxes).map((name) => join(boxes, name)));
  if (isRoot) left.push(...boxProcesses(tag, "").map((pid) => `process ${pid}`));
  return left;
}

/** Processes of the boxes of `tag` whose command line holds `word`. */
export function boxProcesses(tag: string, word: string): number[] {
  const first = uidBaseOf(tag);
  return processesWith(word).filter((pid) => {
    const uid = statSync(`/proc/${pid}`, { throwIfNoEntry: false })?.uid ?? -1;
    return !isRoot || (uid >= first && uid < first + 1000);
  });
}
