// A real redis-server on a Unix socket in a folder of its own, for the tests of the SDKs.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Redis {
  socketPath: string;
  close(): Promise<void>;
}

/** Why tests with a real server are skipped here; false where they are not. */
export const noRedis: string | false =
  spawnSync("redis-server", ["--version"]).status === 0 ? false : "redis-server is not installed";

export async function startRedis(): Promise<Redis> {
  const folder = mkdtempSync(join(tmpdir(), "edgedag-r-"));
  const socketPath = join(folder, "s.sock");
  const args = ["--port", "0", "--unixsocket", socketPath, "--save", "", "--dir", folder];
  const child = spawn("redis-server", args, { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  await new Promise<void>((resolve) => {
    child.stdout.setEncoding("utf8");
    child.stdout.on("data", (text: string) => {
      if (/ready to accept/i.test(text)) resolve();
    });
    child.once("close", () => resolve());
  });
  if (!existsSync(socketPath)) throw new Error("redis-server has not started");
  const probe = connect(socketPath);
  await new Promise<void>((resolve) => probe.once("connect", () => resolve()));
  probe.destroy();
  return {
    socketPath,
    close: async () => {
      child.kill();
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
