// Finds the launchers that outlived an earlier agent of this state folder (launcher --hold), and
// connects with them. What is left of those that are dead is removed.
import { randomBytes } from "node:crypto";
import {
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { Launcher } from "./launcher.ts";
import type { HeldProcess } from "./process.ts";

export interface FoundHolder {
  launcher: Launcher;
  held: HeldProcess[];
}

/** Arguments of a holder: a name of its own each time, so that none is in another's way. */
export function holderArgs(folder: string, holdMs: number): readonly string[] {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return ["--hold", folder, randomBytes(8).toString("hex"), String(Math.ceil(holdMs))];
}

/** `onProblem`: a holder could not be taken over; all that it held is lost. */
export async function findHolders(
  folder: string,
  onProblem: (text: string) => void,
): Promise<FoundHolder[]> {
  const names = socketNames(folder);
  if (names.length === 0) return [];
  // The path of a socket must be short; that of an open folder is, wherever the folder lies.
  const fd = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    const found = await Promise.all(names.map((name) => attachTo({ folder, fd, name, onProblem })));
    return found.filter((holder) => holder !== undefined);
  } finally {
    closeSync(fd);
  }
}

function socketNames(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => /^[0-9a-f]{1,64}\.(sock|token)$/.test(name))
      .map((name) => name.replace(/\.(sock|token)$/, ""))
      .filter((name, i, all) => all.indexOf(name) === i);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
}

async function attachTo(at: {
  folder: string;
  fd: number;
  name: string;
  onProblem(text: string): void;
}): Promise<FoundHolder | undefined> {
  const { folder, fd, name, onProblem } = at;
  const remove = () => {
    rmSync(join(folder, `${name}.sock`), { force: true });
    rmSync(join(folder, `${name}.token`), { force: true });
  };
  const socket = await connected(`/proc/self/fd/${fd}/${name}.sock`);
  if (socket === undefined) {
    remove(); // nobody listens there: it was killed
    return undefined;
  }
  try {
    const token = readFileSync(join(folder, `${name}.token`), "latin1");
    return await Launcher.attach(socket, token, { onExit: onProblem });
  } catch (error) {
    socket.destroy();
    onProblem(`a launcher with tasks of an earlier agent cannot be taken over: ${String(error)}`);
    return undefined;
  }
}

function connected(path: string): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once("connect", () => resolve(socket));
    // Later errors are the launcher's client's to hear, which comes next.
    socket.once("error", () => resolve(undefined));
  });
}
