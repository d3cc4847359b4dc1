// Runs programs through `launcher --box ... --`: as root where the tests are root, and as an ordinary
// user where the host lets one make user namespaces.
import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  lstatSync,
  mkdtempSync,
  readlinkSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { launcherPath } from "./launcher-rig.ts";

export interface BoxUser {
  name: string;
  /** Who calls the launcher; absent: we. */
  caller?: { uid: number; gid: number };
  /** Who the program is, inside. */
  uid: number;
  /** Why it cannot be tried here. */
  skip: string | false;
}

const boxUid = 912345;
const ordinaryUid = 65534;

// A place that every user can reach, whatever the mode of the folders above the repository.
export const folder = mkdtempSync(join(tmpdir(), "edgedag-box-"));
chmodSync(folder, 0o755);
export const launcher = join(folder, "launcher");
copyFileSync(launcherPath(), launcher);
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

/** A folder that the user owns. */
export function folderOf(user: BoxUser): string {
  const made = mkdtempSync(join(folder, "work-"));
  if (process.getuid?.() === 0) chownSync(made, user.uid, user.uid);
  return made;
}

/** The folders of programs: links where the host has links. */
export function systemArguments(): string[] {
  const words = ["--bind-ro", "/usr", "/usr"];
  for (const path of ["/bin", "/sbin", "/lib", "/lib64"]) {
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (stat?.isSymbolicLink()) words.push("--symlink", readlinkSync(path), path);
    else if (stat) words.push("--bind-ro", path, path);
  }
  return words;
}

export function boxArguments(
  user: BoxUser,
  options: readonly string[],
  program: readonly string[],
) {
  const ids = ["--uid", String(user.uid), "--gid", String(user.uid)];
  return ["--box", ...ids, ...systemArguments(), ...options, "--", ...program];
}

export interface Ran {
  code: number | null;
  stdout: string;
  stderr: string;
}

export function runInBox(
  user: BoxUser,
  program: readonly string[],
  options: readonly string[] = [],
): Ran {
  const { status, stdout, stderr } = spawnSync(launcher, boxArguments(user, options, program), {
    ...user.caller,
    cwd: "/",
    env: { PATH: "/usr/local/bin:/usr/bin:/bin", LANG: "C.UTF-8" },
    encoding: "utf8",
    timeout: 120_000,
  });
  return { code: status, stdout, stderr };
}

/** The same without waiting, for tests that do something meanwhile. */
export function startInBox(
  user: BoxUser,
  program: readonly string[],
  options: readonly string[] = [],
) {
  return spawn(launcher, boxArguments(user, options, program), {
    ...user.caller,
    cwd: "/",
    stdio: ["ignore", "pipe", "pipe"],
  });
}

function probed(user: Omit<BoxUser, "skip">): BoxUser {
  const ran = runInBox({ ...user, skip: false }, ["true"]);
  return {
    ...user,
    skip: ran.code === 0 ? false : `this host has no such box: ${ran.stderr.trim()}`,
  };
}

function findUsers(): BoxUser[] {
  const own = process.getuid?.() ?? ordinaryUid;
  if (own !== 0) return [probed({ name: "ordinary user", uid: own })];
  const caller = { uid: ordinaryUid, gid: ordinaryUid };
  return [
    // Not probed: with root everything must be there.
    { name: "root", uid: boxUid, skip: false },
    probed({ name: "ordinary user", caller, uid: ordinaryUid }),
  ];
}

export const users = findUsers();
