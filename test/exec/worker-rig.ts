// A pool of real workers under the real launcher, in a folder of its own, for the worker tests.
// Everything that it starts ends with `close`.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findLauncher } from "../../agent/exec/launcher/find.ts";
import { Launcher } from "../../agent/exec/launcher/launcher.ts";
import {
  type CallEnd,
  type CallHandle,
  type CallSpec,
  WorkerPool,
  type WorkerPoolOptions,
} from "../../agent/exec/workers/worker-pool.ts";
import { WorkerServer } from "../../agent/exec/workers/worker-server.ts";
import type { Json } from "../../protocol/json.ts";

const root = join(import.meta.dirname, "..", "..");
const workers = join(root, "agent", "exec", "workers");

/** What a call told, in full. */
export interface Told {
  end: CallEnd;
  stdout: Buffer;
  stderr: Buffer;
  startedAt: number | undefined;
}

export interface Started {
  handle: CallHandle;
  told: Promise<Told>;
  /** Resolves with the first output. */
  output: Promise<void>;
}

export class WorkerRig {
  readonly folder: string;
  readonly launcher: Launcher;
  readonly server: WorkerServer;
  readonly pool: WorkerPool;
  readonly env: Record<string, string>;

  static async start(
    runtime: "python" | "node",
    options: Partial<WorkerPoolOptions> = {},
  ): Promise<WorkerRig> {
    const found = findLauncher({ root, explicit: process.env.EDGEDAG_LAUNCHER });
    if (!found.found) throw new Error(`${found.detail}: ${found.remedy}`);
    const launcher = await Launcher.start({ path: found.path, onExit: () => {} });
    const folder = mkdtempSync(join(tmpdir(), "edgedag-w-"));
    const server = await WorkerServer.listen(join(folder, "w.sock"));
    return new WorkerRig({ runtime, options, launcher, folder, server });
  }

  private constructor(parts: {
    runtime: "python" | "node";
    options: Partial<WorkerPoolOptions>;
    launcher: Launcher;
    folder: string;
    server: WorkerServer;
  }) {
    const { runtime, launcher, folder, server } = parts;
    this.folder = folder;
    this.launcher = launcher;
    this.server = server;
    mkdirSync(join(folder, "shm"));
    this.env = {
      PATH: process.env.PATH ?? "/usr/bin:/bin",
      EDGEDAG_SHM: join(folder, "shm"),
      EDGEDAG_RUN: "r1",
      PYTHONPATH: join(root, "sdk", "python"),
    };
    this.pool = new WorkerPool({
      runtime,
      launcher,
      server,
      argv: runnerArgv(runtime),
      env: this.env,
      cwd: folder,
      size: 1,
      ...parts.options,
    });
  }

  /** Writes a file into the rig's folder and gives its absolute path. */
  file(name: string, text: string): string {
    const path = join(this.folder, name);
    writeFileSync(path, text);
    return path;
  }

  spec(call: Partial<CallSpec> & { function: string }): CallSpec {
    return {
      task: "t",
      attempt: 1,
      run: "r1",
      env: this.env,
      cwd: this.folder,
      graceMs: 1000,
      ...call,
    };
  }

  start(call: Partial<CallSpec> & { function: string }, behind?: CallHandle): Started {
    const told = Promise.withResolvers<Told>();
    const output = Promise.withResolvers<void>();
    const pieces = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
    let startedAt: number | undefined;
    const listener = {
      started: (at: number) => {
        startedAt = at;
      },
      output: (stream: "stdout" | "stderr", bytes: Buffer) => {
        pieces[stream].push(Buffer.from(bytes));
        output.resolve();
      },
      finished: (end: CallEnd) => {
        output.resolve();
        told.resolve({
          end,
          stdout: Buffer.concat(pieces.stdout),
          stderr: Buffer.concat(pieces.stderr),
          startedAt,
        });
      },
    };
    const spec = this.spec(call);
    const handle =
      behind === undefined
        ? this.pool.submit(spec, listener)
        : this.pool.append(behind, spec, listener);
    return { handle, told: told.promise, output: output.promise };
  }

  /** Runs one call to its end. */
  call(call: Partial<CallSpec> & { function: string }): Promise<Told> {
    return this.start(call).told;
  }

  async close(): Promise<void> {
    await this.pool.close();
    await this.launcher.close();
    await this.server.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export function runnerArgv(runtime: "python" | "node"): string[] {
  return runtime === "python"
    ? ["python3", join(workers, "python", "runner.py")]
    : [
        process.execPath,
        "--disable-warning=ExperimentalWarning",
        join(workers, "node", "runner.ts"),
      ];
}

/** The result of a call that must have succeeded. */
export function resultOf({ end }: Told): Json | undefined {
  if (end.kind !== "succeeded") throw new Error(`the call ended as ${JSON.stringify(end)}`);
  return end.result;
}
