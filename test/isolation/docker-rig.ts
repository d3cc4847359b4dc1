// What the tests of level docker share: an engine of their own with an image of this machine's
// programs, and boxes in it as an agent has them.
import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { BoxFolder } from "../../agent/exec/isolation/box.ts";
import { DockerBoxes, type DockerBoxesOptions } from "../../agent/exec/isolation/docker/docker.ts";
import { DockerEngine } from "../../agent/exec/isolation/docker/docker-engine.ts";
import { BoxFolders } from "../../agent/exec/isolation/files/box-folder.ts";
import { run } from "../e2e/command.ts";
import { launcherPath } from "../exec/launcher-rig.ts";
import { root } from "./isolation-rig.ts";

export const image = "edgedag-test";
const service = `${root}/scripts/test-docker-service`;

export interface TestEngine {
  socketPath: string;
  pid: number;
  /** After it was killed. */
  startAgain(): Promise<void>;
  stop(): Promise<void>;
}

/** A sentence instead of an engine: why this machine has none. */
export async function startEngine(runsc = ""): Promise<TestEngine | string> {
  const scratch = realpathSync(mkdtempSync("/tmp/edgedag-engine-"));
  const folder = join(scratch, "d");
  const start = async () => {
    const words = ["start", folder, ...(runsc === "" ? [] : [runsc])];
    return await run(service, words, { timeoutMs: 300_000 });
  };
  const started = await start();
  if (started.code !== 0) {
    rmSync(scratch, { recursive: true, force: true });
    return `no dockerd: ${started.stderr.trim().split("\n").at(-1)}`;
  }
  const socketPath = join(folder, "docker.sock");
  const engine: TestEngine = {
    socketPath,
    pid: pidOf(started.stdout),
    startAgain: async () => {
      const again = await start();
      if (again.code !== 0) throw new Error(again.stderr);
      engine.pid = pidOf(again.stdout);
    },
    stop: async () => {
      await run(service, ["stop", folder]);
      rmSync(scratch, { recursive: true, force: true });
    },
  };
  const made = await run(`${root}/scripts/test-image`, [image], {
    env: { DOCKER_HOST: `unix://${socketPath}` },
    timeoutMs: 120_000,
  });
  if (made.code === 0) return engine;
  await engine.stop();
  return `no image: ${made.stderr.trim().split("\n").at(-1)}`;
}

function pidOf(stdout: string): number {
  return Number(/^DOCKERD_PID=(\d+)$/m.exec(stdout)?.[1]);
}

export function dockerBoxes(
  socketPath: string,
  tag: string,
  more: Partial<DockerBoxesOptions> = {},
): DockerBoxes {
  const nodeJs = join(root, "node_modules/node/bin/node");
  return new DockerBoxes({
    socketPath,
    installation: { root, isBundled: false, launcherPath: launcherPath(), nodeJs },
    tag,
    baseEnv: { SECRET: "no" },
    images: { "*": image },
    ...more,
  });
}

export interface TestFolders {
  take(): Promise<BoxFolder>;
  close(): Promise<void>;
}

export async function openFolders(parent: string): Promise<TestFolders> {
  const uidBase = 1_200_000_000 + process.pid * 100;
  const options = { root: join(parent, "boxes"), mounter: undefined, uidBase };
  const folders = await BoxFolders.open(options);
  return { take: () => folders.take(16 * 2 ** 20), close: () => folders.close() };
}

/** Containers of a tag, in any state. */
export async function containersOf(socketPath: string, tag: string): Promise<number> {
  const engine = new DockerEngine(socketPath);
  const filters = encodeURIComponent(JSON.stringify({ label: [`edgedag.agent=${tag}`] }));
  const path = `/containers/json?all=1&filters=${filters}`;
  const answer = await engine.ask({ method: "GET", path });
  engine.close();
  if (!answer.ok || !Array.isArray(answer.value)) throw new Error(JSON.stringify(answer));
  return answer.value.length;
}
