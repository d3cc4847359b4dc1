// Looks which languages this host has: their programs past the shims of version managers, their
// versions, and the folders that a sandbox must be able to read to use them.
import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { access, glob, realpath, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, delimiter, dirname, isAbsolute, join } from "node:path";
import { promisify } from "node:util";
import type { Language } from "./language.ts";
import type { LanguageRegistry } from "./languages.ts";

export interface FoundLanguage {
  language: Language;
  version: string;
  /** Where each program of `needs` is: an absolute path that is no shim. */
  programs: Readonly<Record<string, string>>;
  /** Absolute paths, of which none is a link, below no other of them, and none a system folder. */
  toolchains: readonly string[];
}

export interface FindOptions {
  env: NodeJS.ProcessEnv;
  /** Programs that are set otherwise, like the pinned Node.js as `node`: name to absolute path. */
  programs?: Readonly<Record<string, string>>;
}

/** Folders that every level shows as a whole: a program in them needs no toolchain for itself. */
const systemFolders = ["/bin", "/sbin", "/lib", "/lib64", "/usr"];
const probeLimitMs = 15_000;
const run = promisify(execFile);

/** By the language's name; one that cannot be used is not there. `path` is that of programs. */
export async function findLanguages(
  path: string,
  registry: LanguageRegistry,
  options: FindOptions,
): Promise<Map<string, FoundLanguage>> {
  const found = await Promise.all(
    registry.list().map((language) => findLanguage(path, language, options)),
  );
  return new Map(found.flatMap((one) => (one === undefined ? [] : [[one.language.name, one]])));
}

async function findLanguage(
  path: string,
  language: Language,
  { env, programs: preset = {} }: FindOptions,
): Promise<FoundLanguage | undefined> {
  const onPath: Record<string, string> = {};
  for (const name of language.needs) {
    const program = preset[name] ?? (await findProgram(path, name));
    if (program === undefined) return undefined;
    onPath[name] = program;
  }
  const output = async ([program = "", ...args]: readonly string[]) => {
    const known = onPath[program] ?? program;
    const { stdout, stderr } = await run(known, args, {
      env: { ...env, PATH: path },
      timeout: probeLimitMs,
    });
    return `${stdout}\n${stderr}`;
  };
  try {
    const version = /\d+(?:\.\d+)+/.exec(await output(language.version))?.[0];
    if (version === undefined) return undefined;
    const root = language.locate === undefined ? undefined : (await output(language.locate)).trim();
    const programs: Record<string, string> = {};
    const folders: string[] = [];
    for (const [name, program] of Object.entries(onPath)) {
      const inside = root === undefined ? undefined : join(root, "bin", name);
      const isInside = inside !== undefined && (await isExecutable(inside));
      const chosen = isInside ? inside : program;
      const real = await realpath(chosen);
      // A name outside of the system's folders would not be seen in a sandbox; its file will be.
      programs[name] = isSystem(chosen) || isInside ? chosen : real;
      folders.push(isInside && root !== undefined ? root : homeOf(real));
    }
    for (const pattern of language.toolchains) {
      for await (const folder of glob(pattern)) folders.push(folder);
    }
    return { language, version, programs, toolchains: await outermost(folders) };
  } catch {
    // It does not run, which is what its absence says.
    return undefined;
  }
}

/** The folder of a program's installation; never a user's home, which has more than that in it. */
function homeOf(program: string): string {
  const bin = dirname(program);
  const above = dirname(bin);
  const isHome = above === homedir() || above === "/root" || dirname(above) === "/home";
  return isHome || basename(bin) !== "bin" ? bin : above;
}

async function findProgram(path: string, name: string): Promise<string | undefined> {
  if (isAbsolute(name)) return (await isExecutable(name)) ? name : undefined;
  for (const folder of path.split(delimiter)) {
    if (!isAbsolute(folder)) continue;
    const program = join(folder, name);
    if (await isExecutable(program)) return program;
  }
  return undefined;
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    // Not there, or not for us.
    return false;
  }
}

function isSystem(path: string): boolean {
  return systemFolders.some((folder) => path.startsWith(`${folder}/`));
}

/** Without duplicates, without what lies in another one, and without the system's own folders. */
async function outermost(folders: readonly string[]): Promise<string[]> {
  const real = new Set(await Promise.all(folders.map((folder) => realpath(folder))));
  const wanted = [...real].filter((folder) => {
    // The parent of /bin is the whole host.
    if (folder === "/" || isSystem(`${folder}/x`)) return false;
    return ![...real].some(
      (other) => other !== "/" && other !== folder && folder.startsWith(`${other}/`),
    );
  });
  return wanted.sort();
}
