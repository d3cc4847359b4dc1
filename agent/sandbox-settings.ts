// What the sandboxes of one run share: the limits that hold where the document says nothing, the
// variables that every task of the node gets, and the DAG's own files.
import { realpathSync } from "node:fs";
import type { ArtifactFile } from "../protocol/artifact.ts";
import { fileBytes } from "../protocol/pack.ts";
import type { Config } from "./config.ts";
import type { Mount } from "./exec/isolation/box.ts";
import type { InputFile } from "./exec/isolation/sandbox-spec.ts";
import { resolveMount } from "./policy.ts";
import type { SandboxSettings } from "./sandbox-plan.ts";

/** Of the agent's base environment: what the box has values of its own for, or must not see. */
const ofTheBox: ReadonlySet<string> = new Set([
  ...["PATH", "HOME", "TMPDIR", "USER", "LOGNAME", "SHELL"],
  ...["PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"],
]);

export function sandboxSettings(
  config: Config,
  baseEnv: Readonly<Record<string, string>>,
  files: readonly ArtifactFile[],
): SandboxSettings {
  return {
    defaults: {
      timeoutMs: config.sandboxTimeoutMs,
      memoryBytes: config.sandboxMemoryBytes,
      pids: config.sandboxPids,
      diskBytes: config.sandboxDiskBytes,
      cpus: config.sandboxCpus,
      outputLimitBytes: config.outputLimitBytes,
    },
    env: Object.fromEntries(Object.entries(baseEnv).filter(([name]) => !ofTheBox.has(name))),
    files: inputFilesOf(files),
    resolveMounts: (mounts) => {
      const resolved: Mount[] = [];
      for (const mount of mounts) {
        const found = resolveMount(mount, config.allowMounts, realPath);
        if ("problem" in found) {
          return { ok: false, detail: `it mounts ${mount.source}, which ${found.problem}` };
        }
        resolved.push({ ...mount, source: found.source });
      }
      return { ok: true, value: resolved };
    },
  };
}

/** Files as sandboxes take them. */
export function inputFilesOf(files: readonly ArtifactFile[]): InputFile[] {
  return files.map((file) => ({
    path: file.path,
    content: fileBytes(file),
    ...(file.executable === true ? { isExecutable: true } : {}),
  }));
}

/** Undefined where nothing is. */
export function realPath(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined; // the policy says what that means
  }
}
