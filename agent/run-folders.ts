// The folders of one run: where its tasks work, where large values lie, what is removed when.
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { runDir, runObjectsDir } from "../protocol/state-paths.ts";
import { isTaken } from "./own-folder.ts";
import { secretFileEnding } from "./secrets/run-secrets.ts";

export interface RunFolders {
  root: string;
  /** The working folder was not there. */
  isNew: boolean;
  /** Working folder of the tasks, with the DAG's files. */
  work: string;
  /** Large values between tasks; in memory where the host has /dev/shm. */
  shm: string;
  /** What sandboxes left, until it is where it belongs. */
  kept: string;
  /** Large results and artifacts as they were when their attempt ended. */
  objects: string;
}

export interface FolderOptions {
  stateDir: string;
  run: string;
  /** Names the shared-memory folder, so that it is found again after a restart. */
  shmName: string;
  /** The Node.js SDK, made importable as "edgedag". */
  nodeSdk: string;
  /** `KEY#ATTEMPT` of what may still run: its files are left alone. */
  keep?: ReadonlySet<string>;
}

const leftEndings = [".result", ".stdin", secretFileEnding];

/** Creates what is missing; what an earlier start of the same run left stays. */
export function openRunFolders(options: FolderOptions): RunFolders {
  const { stateDir, run, shmName, nodeSdk, keep } = options;
  const root = runDir(stateDir, run);
  // One of this name that is somebody else's is left alone.
  const isShared = existsSync("/dev/shm") && !isTaken(join("/dev/shm", shmName));
  const shmRoot = isShared ? "/dev/shm" : join(root, "shm");
  const folders: RunFolders = {
    root,
    isNew: !existsSync(join(root, "work")),
    work: join(root, "work"),
    shm: join(shmRoot, shmName),
    kept: join(root, "kept"),
    objects: runObjectsDir(stateDir, run),
  };
  for (const folder of [folders.work, folders.shm, folders.kept, folders.objects]) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }
  // Left by attempts that nothing is known of: the next ones may get the same numbers.
  for (const name of readdirSync(folders.shm)) {
    const isKept = keep?.has(name.slice(0, name.lastIndexOf("."))) === true;
    if (!isKept && leftEndings.some((ending) => name.endsWith(ending)))
      rmSync(join(folders.shm, name), { recursive: true });
  }
  // A package.json of somebody else's above the state folder must not decide how tasks are read.
  // Only then: Node.js warns of one that has no type.
  if (folders.isNew && isBelowPackage(root)) writeFileSync(join(root, "package.json"), "{}\n");
  const modules = join(folders.work, "node_modules");
  if (!existsSync(join(modules, "edgedag"))) {
    mkdirSync(modules, { recursive: true });
    symlinkSync(nodeSdk, join(modules, "edgedag"));
  }
  return folders;
}

function isBelowPackage(folder: string): boolean {
  for (let above = dirname(resolve(folder)); ; above = dirname(above)) {
    if (existsSync(join(above, "package.json"))) return true;
    if (above === dirname(above)) return false;
  }
}

/** Removes what only a running run needs; the working folder and the log stay for people. */
export function closeRunFolders(folders: RunFolders): void {
  rmSync(folders.shm, { recursive: true, force: true });
}
