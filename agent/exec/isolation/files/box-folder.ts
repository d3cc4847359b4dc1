// Folders of boxes on the host: numbered slots below one folder, each with a user of its own and,
// where we are root, a tmpfs of limited size, so that a task can fill neither the disk nor its
// neighbour's folder. Mounts are made by the launcher; the pool takes slots and gives them back.
import { lstatSync, readFileSync, statSync } from "node:fs";
import { chmod, chown, mkdir, readdir, rm, rmdir, statfs } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { TmpfsMounter, TmpfsSize } from "../../launcher/process.ts";
import { BoxError, type BoxFolder } from "../box.ts";
import { measureTree, removeTree } from "./folder-tree.ts";

export interface BoxFoldersOptions {
  /** Of one agent alone; made when it is missing. */
  root: string;
  /** Absent: slots are plain folders of the agent's own user, without a size. */
  mounter: TmpfsMounter | undefined;
  /** The user of slot 0; absent: everything stays the agent's own. */
  uidBase: number | undefined;
}

/** Below this a tmpfs is of no use: the two folders, and what a runner writes. */
const minBytes = 256 * 1024;
const minInodes = 64;
/** A file system of small files: one inode for so many bytes. */
const bytesPerInode = 4096;

export class BoxFolders {
  readonly #options: BoxFoldersOptions;
  readonly #used = new Set<number>();

  /** Throws BoxError when boxes could not reach their folders. */
  static async open(options: BoxFoldersOptions): Promise<BoxFolders> {
    await mkdir(options.root, { recursive: true, mode: 0o711 });
    checkOwner(options.root);
    if (options.uidBase !== undefined) {
      await chmod(options.root, 0o711);
      checkReach(options.root);
    }
    return new BoxFolders(options);
  }

  private constructor(options: BoxFoldersOptions) {
    this.#options = options;
  }

  /** Folders that are in use. */
  get count(): number {
    return this.#used.size;
  }

  async take(diskBytes: number): Promise<BoxFolder> {
    const slot = this.#nextSlot();
    this.#used.add(slot);
    try {
      return await this.#make(slot, diskBytes);
    } catch (error) {
      this.#used.delete(slot);
      throw new BoxError(
        `no folder for a box: ${String(error)}`,
        `Look at ${this.#options.root}: it must be a folder of the agent's with room on its disk.`,
      );
    }
  }

  /** Removes what an earlier agent left. Before the first `take`. */
  async cleanUp(): Promise<void> {
    const { root, mounter } = this.#options;
    for (const path of mountsBelow(root)) {
      if (mounter === undefined) {
        throw new BoxError(
          `${path} is still mounted and cannot be unmounted`,
          `Run: umount ${path}`,
        );
      }
      check(await mounter.unmountTmpfs(path), `unmounting ${path}`);
    }
    for (const name of await readdir(root)) await removeTree(join(root, name));
  }

  /** When every folder has been disposed of. */
  async close(): Promise<void> {
    await rm(this.#options.root, { recursive: true, force: true });
  }

  #nextSlot(): number {
    let slot = 0;
    while (this.#used.has(slot)) slot += 1;
    return slot;
  }

  async #make(slot: number, diskBytes: number): Promise<BoxFolder> {
    const { root, mounter, uidBase } = this.#options;
    const path = join(root, String(slot));
    const uid = uidBase === undefined ? undefined : uidBase + slot;
    await mkdir(path, { mode: 0o711 });
    try {
      check(await mounter?.mountTmpfs(path, tmpfsSize(diskBytes)), `mounting a tmpfs on ${path}`);
    } catch (error) {
      await rmdir(path);
      throw error;
    }
    const release = () => this.#used.delete(slot);
    const folder = new SlotFolder({ path, uid, mounter, diskBytes, release });
    try {
      // Root's own: the task must not be able to rename the two folders, or to put others beside.
      if (uid !== undefined) await chmod(path, 0o711);
      for (const sub of [folder.work, folder.io]) {
        await mkdir(sub, { mode: 0o700 });
        if (uid !== undefined) await chown(sub, uid, uid);
      }
      return folder;
    } catch (error) {
      await folder.dispose();
      throw error;
    }
  }
}

interface SlotOptions {
  path: string;
  uid: number | undefined;
  mounter: TmpfsMounter | undefined;
  diskBytes: number;
  release(): void;
}

class SlotFolder implements BoxFolder {
  readonly work: string;
  readonly io: string;
  readonly uid: number | undefined;
  readonly #path: string;
  readonly #mounter: TmpfsMounter | undefined;
  readonly #release: () => void;
  /** What it is limited to; undefined while that is being changed. */
  #diskBytes: number | undefined;
  #isDisposed = false;

  constructor({ path, uid, mounter, diskBytes, release }: SlotOptions) {
    this.work = join(path, "work");
    this.io = join(path, "io");
    this.uid = uid;
    this.#path = path;
    this.#mounter = mounter;
    this.#diskBytes = diskBytes;
    this.#release = release;
  }

  async setLimit(diskBytes: number): Promise<void> {
    if (diskBytes === this.#diskBytes) return;
    this.#diskBytes = undefined;
    const resized = await this.#mounter?.resizeTmpfs(this.#path, tmpfsSize(diskBytes));
    check(resized, `resizing ${this.#path}`);
    this.#diskBytes = diskBytes;
  }

  async isFull(): Promise<boolean> {
    if (this.#mounter === undefined) return false;
    const { bfree, ffree } = await statfs(this.#path);
    return bfree === 0 || ffree === 0;
  }

  async usedBytes(): Promise<number> {
    if (this.#mounter === undefined) return await measureTree(this.#path);
    const { bsize, blocks, bfree } = await statfs(this.#path);
    return bsize * (blocks - bfree);
  }

  async dispose(): Promise<void> {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    if (this.#mounter === undefined) await removeTree(this.#path);
    else {
      check(await this.#mounter.unmountTmpfs(this.#path), `unmounting ${this.#path}`);
      await rmdir(this.#path);
    }
    // Only now: a slot of which something is left is not used again.
    this.#release();
  }
}

/** `errno`: the name of what went wrong, if anything did. */
function check(errno: string | undefined, what: string): void {
  if (errno !== undefined) throw new Error(`${what}: ${errno}`);
}

function tmpfsSize(diskBytes: number): TmpfsSize {
  const bytes = Math.max(minBytes, Math.ceil(diskBytes));
  return { bytes, inodes: Math.max(minInodes, Math.ceil(bytes / bytesPerInode)) };
}

/** Mount points below `root`, the inner ones first. */
export function mountsBelow(root: string): string[] {
  const found: string[] = [];
  for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n")) {
    const path = line
      .split(" ")[4]
      ?.replace(/\\([0-7]{3})/g, (_all, code: string) =>
        String.fromCharCode(Number.parseInt(code, 8)),
      );
    if (path?.startsWith(`${root}/`)) found.push(path);
  }
  return found.reverse();
}

/** Whoever owns the folder could put others in the places of those below it. */
function checkOwner(root: string): void {
  const stat = lstatSync(root);
  if (stat.isDirectory() && stat.uid === process.geteuid?.() && (stat.mode & 0o022) === 0) return;
  throw new BoxError(
    `${root} is not a folder of the agent's own`,
    `Remove it, or set EDGEDAG_RUNTIME to a folder that only the agent may write.`,
  );
}

/** Users of boxes must be able to pass through every folder above theirs. */
function checkReach(root: string): void {
  for (let path = root; ; path = dirname(path)) {
    const mode = statSync(path).mode;
    if ((mode & 0o001) === 0) {
      throw new BoxError(
        `folders of boxes lie below ${path}, which other users cannot pass through`,
        `Run: chmod o+x ${path}, or set EDGEDAG_RUNTIME to a folder that all can pass through.`,
      );
    }
    if (path === dirname(path)) return;
  }
}
