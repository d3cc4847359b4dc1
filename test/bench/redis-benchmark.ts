// One round of redis-benchmark over a Unix socket.
import { execFile } from "node:child_process";
import { promisify } from "node:util";

const exec = promisify(execFile);

export interface Load {
  clients: number;
  pipeline: number;
  requests: number;
  command: "set" | "get";
}

/** Requests a second. */
export async function perSecond(socketPath: string, load: Load): Promise<number> {
  const { clients, pipeline, requests, command } = load;
  const counts = ["-c", `${clients}`, "-P", `${pipeline}`, "-n", `${requests}`];
  const args = ["-s", socketPath, "-t", command, "--csv", ...counts];
  const { stdout } = await exec("redis-benchmark", args, { timeout: 60_000 });
  return Number(/^"(?:GET|SET)","([0-9.]+)"/m.exec(stdout)?.[1]);
}
