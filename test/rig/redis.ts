// A real redis-server of a test's own, on a Unix socket in its folder and on a free port of 127.0.0.1:
// it can be killed and started again on the same port, and frozen.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface TestRedis extends AsyncDisposable {
  readonly socketPath: string;
  readonly url: string;
  kill(): Promise<void>;
  /** After it was killed; with nothing in it. */
  startAgain(): Promise<void>;
  /** It keeps its connections and answers nothing until `thaw`. */
  freeze(): void;
  thaw(): void;
  close(): Promise<void>;
}

/** Why tests with a real server are skipped here; false where they are not. */
export const noRedis: string | false =
  spawnSync("redis-server", ["--version"]).status === 0
    ? false
    : "redis-server is not installed: scripts/test-services redis";

export async function startRedis(): Promise<TestRedis> {
  const folder = mkdtempSync(join(tmpdir(), "edgedag-rd-"));
  const socketPath = join(folder, "s.sock");
  const port = await freePort();
  const start = async (): Promise<ChildProcess> => {
    const words = ["--port", `${port}`, "--bind", "127.0.0.1", "--unixsocket", socketPath];
    words.push("--save", "", "--appendonly", "no", "--dir", folder);
    const child = spawn("redis-server", words, { stdio: ["ignore", "pipe", "inherit"] });
    await accepts(child);
    if (!existsSync(socketPath)) throw new Error("redis-server has no socket");
    return child;
  };
  let child = await start();
  const kill = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("close", resolve));
    child.kill("SIGKILL");
    await ended;
  };
  const close = async (): Promise<void> => {
    await kill();
    rmSync(folder, { recursive: true, force: true });
  };
  return {
    socketPath,
    url: `redis://127.0.0.1:${port}`,
    kill,
    startAgain: async () => {
      child = await start();
    },
    freeze: () => child.kill("SIGSTOP"),
    thaw: () => child.kill("SIGCONT"),
    close,
    [Symbol.asyncDispose]: close,
  };
}

function accepts(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let text = "";
    child.stdout?.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      // It says so for the port, then for the socket.
      if (/accept connections at/i.test(text)) resolve();
    });
    child.once("exit", () => reject(new Error(`redis-server ended: ${text}`)));
  });
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
