// What the tests of re-attaching share: an agent that is killed while its tasks run, what a task
// wrote against what the log has, and the search for launchers that should be gone.
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import type { LogLine } from "../../protocol/log.ts";
import { orphansDir, runLogDir, runsDir } from "../../protocol/state-paths.ts";
import type { Box, CliOptions } from "../rig/box.ts";
import type { Cli } from "../rig/cli.ts";
import { until } from "../rig/until.ts";

export function startAgent(box: Box, dag: string, { env = {}, ...more }: CliOptions = {}): Cli {
  const given = { EDGEDAG_ORPHANS: "adopt", EDGEDAG_DAG: dag, ...env };
  return box.start(["agent"], { ...more, env: given });
}

/** Waits for a file that a task of this agent makes. */
export async function exists(path: string, agent: Cli): Promise<void> {
  await until(
    `${path} is there`,
    () => existsSync(path) || agent.hasEnded,
    (is) => is,
  );
  if (!existsSync(path)) throw new Error(`the agent has ended: ${agent.stderr}`);
}

/** All lines of the only run's log, in their order. */
export function logOf(box: Box): LogLine[] {
  const [run = "none"] = existsSync(runsDir(box.state)) ? readdirSync(runsDir(box.state)) : [];
  const folder = runLogDir(box.state, run);
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10))
    .flatMap((name) => readFileSync(`${folder}/${name}`, "utf8").split("\n"))
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as LogLine);
}

/** How large the only run's log is, in its files. */
export function logBytes(box: Box): number {
  const [run = "none"] = existsSync(runsDir(box.state)) ? readdirSync(runsDir(box.state)) : [];
  const folder = runLogDir(box.state, run);
  if (!existsSync(folder)) return 0;
  return readdirSync(folder).reduce((sum, name) => sum + statSync(`${folder}/${name}`).size, 0);
}

/** The bytes that a stream of an attempt has in the log. */
export function written(
  box: Box,
  task: string,
  { attempt = 1, stream = "stdout" }: { attempt?: number; stream?: "stdout" | "stderr" } = {},
): string {
  return logOf(box)
    .filter((line) => line.task === task && line.attempt === attempt && line.stream === stream)
    .map((line) => {
      const text =
        line.base64 === undefined
          ? line.text
          : Buffer.from(line.base64, "base64").toString("latin1");
      return `${text}${line.cut === true || line.open === true ? "" : "\n"}`;
    })
    .join("");
}

export function agentLines(box: Box): string {
  return logOf(box)
    .filter(({ source }) => source === "agent")
    .map(({ text }) => text)
    .join("\n");
}

/** Pids of the launchers that hold processes for agents of the box's state. */
export function holders(box: Box, state = box.state): number[] {
  const folder = orphansDir(state);
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        const argv = readFileSync(`/proc/${name}/cmdline`, "utf8").split("\0");
        return argv[1] === "--hold" && argv[2] === folder;
      } catch {
        return false; // it has ended meanwhile
      }
    })
    .map(Number);
}

/** Resolves when no launcher holds anything and no socket of one is left. */
export async function noHolders(box: Box): Promise<void> {
  await until(
    "no launcher holds anything",
    () => holders(box),
    (pids) => pids.length === 0,
  );
  const folder = orphansDir(box.state);
  const left = existsSync(folder) ? readdirSync(folder) : [];
  if (left.length > 0) throw new Error(`left behind: ${left.join(", ")}`);
}
