// The runsc program of this machine: where it is, which version, and which platform of it works
// here. Reads no environment: the caller passes PATH on. Used by gvisor.ts and by the self-check.
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import type { ProcessEnd, ProcessStarter } from "../../launcher/process.ts";

/** Best first: systrap needs no ptrace and is faster with many system calls; ptrace runs anywhere. */
export const runscPlatforms = ["systrap", "ptrace"] as const;
export type RunscPlatform = (typeof runscPlatforms)[number];

export type FoundRunsc =
  | { found: true; path: string }
  | { found: false; detail: string; remedy: string };

export const runscRemedy =
  "Install runsc (https://gvisor.dev/docs/user_guide/install, Debian: apt install runsc), or in a " +
  "checkout run scripts/test-runsc.";

/** `explicit` goes before all; then build/ of a checkout, then the folders of `searchPath`. */
export function findRunsc(options: {
  root: string;
  searchPath: string;
  explicit?: string | undefined;
}): FoundRunsc {
  const folders = [join(options.root, "build"), ...options.searchPath.split(delimiter)];
  const paths =
    options.explicit === undefined
      ? folders.filter((folder) => folder !== "").map((folder) => join(folder, "runsc"))
      : [options.explicit];
  const path = paths.find(isProgram);
  if (path !== undefined) return { found: true, path };
  return {
    found: false,
    detail:
      options.explicit === undefined
        ? "there is no runsc in PATH"
        : `${options.explicit} is no program that we may run`,
    remedy: runscRemedy,
  };
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** How a program of the host that should end soon has ended. */
export interface RunscEnd {
  end: ProcessEnd;
  stdout: string;
  stderr: string;
}

/** Runs the program to its end, at most ten seconds, in a control group of its own. */
export async function runRunsc(
  launcher: Pick<ProcessStarter, "spawn">,
  argv: readonly string[],
): Promise<RunscEnd> {
  const { promise, resolve } = Promise.withResolvers<RunscEnd>();
  const said = { stdout: "", stderr: "" };
  launcher.spawn(
    { argv, env: runscEnv, cwd: "/", graceMs: 0, timeoutMs: 10_000, cgroup: true },
    {
      started: () => {},
      output: (stream, bytes) => {
        said[stream] = (said[stream] + bytes.toString()).slice(-maxSaidChars);
      },
      mark: () => {},
      ended: (end) => resolve({ end, ...said }),
    },
  );
  return await promise;
}

const maxSaidChars = 4096;

/** All that runsc itself may know of the agent's environment. */
export const runscEnv: Readonly<Record<string, string>> = {
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
};

/** Why it was not well, in one sentence. */
export function complaintOf({ end, stderr }: RunscEnd): string {
  const how =
    end.kind === "exited"
      ? (end.stopped ?? end.signal ?? `exit code ${end.exitCode}`)
      : end.kind === "spawn-failed"
        ? `${end.errno}: ${end.detail}`
        : "the launcher is gone";
  const lines = stderr.trim().split("\n");
  const last = lines.at(-1) ?? "";
  return last === "" ? how : `${last} (${how})`;
}
