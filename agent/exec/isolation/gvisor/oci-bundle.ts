// What runsc is told of a box: config.json of an OCI bundle, and the root folder behind it, a
// skeleton of folders and links that all boxes of a kind share and none can write. Files only: no
// processes. Used by gvisor.ts.
import { existsSync, lstatSync } from "node:fs";
import { mkdir, readFile, readlink, rm, stat, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { BoxFolder, BoxKind, BoxLimits, Mount } from "../box.ts";
import { insidePaths } from "../box-programs.ts";

/** System folders of the host; where one is a link there, it is the same link inside. */
const systemFolders = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/** Of the host's /etc: what programs need to start and to speak TLS. No secrets, no names. */
const etcFiles = [
  ...["ld.so.cache", "ld.so.conf", "localtime", "magic", "mime.types", "nsswitch.conf"],
  ...["protocols", "services", "timezone"],
];
const etcFolders = [
  ...["alternatives", "ca-certificates", "fonts", "java-17-openjdk", "pki", "python3"],
  ...["python3.11", "ssl/certs", "terminfo"],
];
/** These change while the agent runs. */
const networkEtcNames = ["hosts", "resolv.conf", "gai.conf"];

/** Of the inside's /tmp, which lives in the memory of the box. */
const tmpShare = 0.5;

export interface BundleOptions {
  kind: BoxKind;
  folder: BoxFolder;
  limits: BoxLimits;
  env: Readonly<Record<string, string>>;
  args: readonly string[];
}

/** What of the host is seen read-only in every box: system folders, and a little of /etc. */
export function systemMounts(hasNetwork: boolean): Mount[] {
  const names = hasNetwork ? [...etcFolders, ...networkEtcNames] : etcFolders;
  const folders = systemFolders.map((name) => `/${name}`).filter((path) => !isLink(path));
  const paths = [...folders, ...names.map((name) => `/etc/${name}`)];
  return paths
    .filter(existsSync)
    .map((path) => ({ source: path, target: path, isWritable: false }));
}

/** Makes the folder on which everything is mounted. Whatever was there before goes. */
export async function makeSkeleton(path: string, mounts: readonly Mount[]): Promise<void> {
  await rm(path, { recursive: true, force: true });
  await mkdir(path, { recursive: true, mode: 0o755 });
  for (const name of systemFolders) {
    if (isLink(`/${name}`)) await symlink(await readlink(`/${name}`), join(path, name));
  }
  for (const name of ["proc", "dev", "sys", "tmp", "etc", "work", "run/edgedag"]) {
    await mkdir(join(path, name), { recursive: true });
  }
  for (const name of etcFiles.filter((file) => existsSync(`/etc/${file}`))) {
    await writeFile(join(path, "etc", name), await readFile(`/etc/${name}`));
  }
  for (const name of ["passwd", "group"]) await writeFile(join(path, "etc", name), "");
  await writeFile(join(path, "etc/hostname"), `${hostname}\n`);
  for (const { source, target } of mounts) {
    const at = join(path, target);
    await mkdir(dirname(at), { recursive: true });
    if ((await stat(source)).isDirectory()) await mkdir(at, { recursive: true });
    else await writeFile(at, "");
  }
}

function isLink(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true;
}

const hostname = "box";

/**
 * Writes config.json, and what else belongs to this box alone, into the folder `bundle`. `root` has
 * the places for all `mounts`.
 */
export async function writeBundle(
  bundle: string,
  root: { path: string; hasEtc: boolean },
  mounts: readonly Mount[],
  options: BundleOptions,
): Promise<void> {
  const { folder, kind } = options;
  const own: Mount[] = [
    { source: folder.work, target: insidePaths.work, isWritable: true },
    { source: folder.io, target: insidePaths.io, isWritable: true },
  ];
  if (!root.hasEtc) {
    const uid = userOf(folder);
    const files = {
      passwd: `root:x:0:0::/:/bin/false\nsandbox:x:${uid}:${uid}::/work:/bin/sh\n`,
      group: `root:x:0:\nsandbox:x:${uid}:\n`,
    };
    for (const [name, content] of Object.entries(files)) {
      const source = join(bundle, name);
      await writeFile(source, content);
      own.push({ source, target: `/etc/${name}`, isWritable: false });
    }
  }
  const config = bundleConfig(root.path, [...mounts, ...own, ...kind.mounts], options);
  await writeFile(join(bundle, "config.json"), JSON.stringify(config));
}

function userOf(folder: BoxFolder): number {
  return folder.uid ?? process.getuid?.() ?? 0;
}

/** config.json as the OCI runtime specification 1.0 has it. */
export function bundleConfig(root: string, mounts: readonly Mount[], options: BundleOptions) {
  const { kind, limits, env, args } = options;
  const uid = userOf(options.folder);
  const none: string[] = [];
  const tmpBytes = Math.ceil(limits.memoryBytes * tmpShare);
  return {
    ociVersion: "1.0.2",
    hostname,
    root: { path: root, readonly: true },
    process: {
      terminal: false,
      cwd: insidePaths.work,
      args,
      env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
      user: { uid, gid: uid, umask: 0o022 },
      noNewPrivileges: true,
      capabilities: {
        bounding: none,
        effective: none,
        inheritable: none,
        permitted: none,
        ambient: none,
      },
      rlimits: [
        { type: "RLIMIT_CORE", soft: 0, hard: 0 },
        { type: "RLIMIT_NOFILE", soft: 1024, hard: maxOpenFiles },
      ],
    },
    mounts: [
      { destination: "/proc", type: "proc", source: "proc" },
      { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755"] },
      {
        destination: "/tmp",
        type: "tmpfs",
        source: "tmpfs",
        options: ["nosuid", "nodev", "mode=1777", `size=${tmpBytes}`],
      },
      // Without it there are no semaphores for Python's multiprocessing.
      {
        destination: "/dev/shm",
        type: "tmpfs",
        source: "tmpfs",
        options: ["nosuid", "nodev", "noexec", "mode=1777", `size=${tmpBytes}`],
      },
      ...mounts.map(({ source, target, isWritable }) => ({
        destination: target,
        type: "bind",
        source,
        options: ["rbind", "nosuid", "nodev", isWritable ? "rw" : "ro"],
      })),
    ],
    linux: {
      namespaces: ["pid", "ipc", "uts", "mount", ...(kind.network ? [] : ["network"])].map(
        (type) => ({ type }),
      ),
    },
  };
}

/** Tasks are held lower by rlimits of their own; what is fixed here cannot be raised again. */
const maxOpenFiles = 65_536;
