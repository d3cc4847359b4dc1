// Processes of one box, found in /proc by the mark that they inherit or (the launcher has no
// environment) by the tag in its command line; and the one way to kill what is not our own child so
// that it is certain who died and of what.
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";

export interface Found {
  pid: number;
  role: "launcher" | "worker" | "task" | "other";
  /** Ticks since boot: a pid that was given away again has another one. */
  startedAt: string;
  command: string;
}

/** `mark` is NAME=value in the environment; `tag` stands in the launcher's command line. */
export function processesOf(mark: string, tag: string): Found[] {
  const found: Found[] = [];
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const pid = Number(name);
    const stat = statOf(pid);
    if (stat === undefined || stat.state === "Z") continue;
    const command = (textOf(`/proc/${pid}/cmdline`) ?? "").replaceAll("\0", " ").trim();
    const env = (textOf(`/proc/${pid}/environ`) ?? "").split("\0");
    const isLauncher = command.includes(`--cgroup edgedag-${tag}`);
    if (!isLauncher && !env.includes(mark)) continue;
    const has = (variable: string) => env.some((entry) => entry.startsWith(`${variable}=`));
    // A program that a task has called is the task's own affair: only the leader is the task.
    const role = isLauncher
      ? "launcher"
      : has("EDGEDAG_WORKER_ID")
        ? "worker"
        : has("EDGEDAG_TASK") && stat.session === name
          ? "task"
          : "other";
    found.push({ pid, role, startedAt: stat.startedAt, command: command.slice(0, 200) });
  }
  return found;
}

/**
 * Stops the process, sees that it is the one that is meant and that it lives, kills it, and waits
 * until it is gone: a stopped process ends of nothing but SIGKILL. False: it was gone before.
 */
export async function killForeign({ pid, startedAt }: Found, before: () => void): Promise<boolean> {
  if (!send(pid, "SIGSTOP")) return false;
  let stat = statOf(pid);
  for (let tries = 0; tries < 50 && stat !== undefined && stat.state !== "T"; tries += 1) {
    await delay(1);
    stat = statOf(pid);
  }
  if (stat?.state !== "T" || stat.startedAt !== startedAt) {
    send(pid, "SIGCONT"); // somebody else's by now, or at its end already
    return false;
  }
  before();
  send(pid, "SIGKILL");
  for (let tries = 0; tries < 5000; tries += 1) {
    const now = statOf(pid);
    if (now === undefined || now.state === "Z" || now.startedAt !== startedAt) return true;
    await delay(1);
  }
  throw new Error(`process ${pid} does not die of SIGKILL`);
}

export function send(pid: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(pid, signal);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ESRCH") return false;
    throw error;
  }
}

function statOf(pid: number): { state: string; session: string; startedAt: string } | undefined {
  const text = textOf(`/proc/${pid}/stat`);
  if (text === undefined) return undefined;
  // The name in parentheses may hold anything.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { state: fields[0] ?? "", session: fields[3] ?? "", startedAt: fields[19] ?? "" };
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    // It ended while we looked, or is none of ours.
    if (error instanceof Error && "code" in error) return undefined;
    throw error;
  }
}
