// What the tests of level gvisor share: runsc, and the parts of an agent that make its boxes, below
// one folder.
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Box, BoxKind, BoxLimits } from "../../agent/exec/isolation/box.ts";
import { BoxFolders } from "../../agent/exec/isolation/files/box-folder.ts";
import { GvisorMaker } from "../../agent/exec/isolation/gvisor/gvisor.ts";
import { LauncherKeeper } from "../../agent/exec/launcher/keeper.ts";
import { launcherPath } from "../exec/launcher-rig.ts";
import { isRoot, kindOf, root, smallLimits } from "./isolation-rig.ts";

/** Why there is no runsc here, or where it is; EDGEDAG_TEST_RUNSC names another than the script's. */
export function findTestRunsc(): { path: string } | { reason: string } {
  if (!isRoot) return { reason: "runsc needs root here" };
  const { EDGEDAG_TEST_RUNSC: own } = process.env;
  if (own !== undefined) return { path: own };
  try {
    const said = execFileSync(join(root, "scripts/test-runsc"), { stdio: ["ignore", "pipe", 2] });
    return { path: said.toString().trim() };
  } catch (error) {
    return { reason: `scripts/test-runsc cannot get runsc: ${String(error)}` };
  }
}

export interface GvisorParts extends AsyncDisposable {
  maker: GvisorMaker;
  folders: BoxFolders;
  /** Hands a box to `use`, then destroys it and its folder. */
  inBox<T>(use: (box: Box) => Promise<T>, more?: Partial<BoxKind>, l?: BoxLimits): Promise<T>;
}

export async function startGvisor(
  folder: string,
  tag: string,
  runsc: string,
): Promise<GvisorParts> {
  const path = launcherPath();
  const keeper = await LauncherKeeper.start({
    path,
    args: ["--cgroup", `edgedag-${tag}`],
    onDeath: (detail) => process.stderr.write(`${detail}\n`),
  });
  const folders = await BoxFolders.open({
    root: join(folder, "boxes"),
    mounter: keeper,
    uidBase: 1_700_000_000 + (process.pid % 1000) * 1000,
  });
  await folders.cleanUp();
  const nodeJs = join(root, "node_modules/node/bin/node");
  const maker = new GvisorMaker({
    launcher: keeper,
    installation: { root, isBundled: false, launcherPath: path, nodeJs },
    python: () => ({ path: "/usr/bin/python3", prefix: "/usr" }),
    toolchains: () => [],
    baseEnv: { LANG: "C.UTF-8", SECRET: "no" },
    runsc,
    platform: "auto",
    folder: join(folder, "runsc"),
    tag,
  });
  await maker.cleanUp();
  return {
    maker,
    folders,
    inBox: async (use, more = {}, limits = smallLimits) => {
      const slot = await folders.take(limits.diskBytes);
      try {
        const box = await maker.make(kindOf("gvisor", more), slot, limits);
        try {
          return await use(box);
        } finally {
          await box.destroy();
        }
      } finally {
        await slot.dispose();
      }
    },
    [Symbol.asyncDispose]: async () => {
      await maker.close();
      await keeper.close();
      await folders.close();
    },
  };
}

/** Processes of runsc with the tag in their command line. */
export function runscProcesses(tag: string): number[] {
  const found: number[] = [];
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const line = readFileSync(join("/proc", name, "cmdline"), "latin1");
      if (line.includes("runsc") && line.includes(`edgedag-${tag}-`)) found.push(Number(name));
    } catch {
      // It has ended since.
    }
  }
  return found;
}
