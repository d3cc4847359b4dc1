// Whether an isolation level holds on this host: the forbidden thing is done inside, by a program of
// our own (`launcher --try`), and looked at from here. Used at the agent's start and by
// `edgedag doctor`; what does not hold is not used, and is told with what would help.
import { readFileSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { FailureReason, SandboxLevel } from "../protocol/outcome.ts";
import type { AttemptEnd, AttemptListener } from "./exec/attempt.ts";
import type { BoxLimits } from "./exec/isolation/box.ts";
import type { SandboxSpec } from "./exec/isolation/sandbox-spec.ts";

export interface Trial {
  name: string;
  isHeld: boolean;
  detail: string;
}

export interface LevelReport {
  level: SandboxLevel;
  holds: boolean;
  /** Why it does not hold; empty when it does. */
  detail: string;
  /** What an operator can do; empty when it holds. */
  remedy: string;
  trials: Trial[];
  wallMs: number;
}

export interface CheckParts {
  start(spec: SandboxSpec, listener: AttemptListener): { stop(graceMs: number): void };
  /** The launcher as programs at this level see it. */
  launcherPath: string;
  /** Of a kind that this host can make: which image, at level docker. */
  language: string;
  /**
   * All trials. Otherwise, where a sandbox is dear to make, only the denials and one limit each of
   * the host's kernel and of the one inside: enough to see that it is what it says.
   */
  isThorough: boolean;
}

const mebibyte = 2 ** 20;
const marker = "EDGEDAG_CHECK";
const patienceMs = 30_000;

/** The first trial shows whether there are sandboxes at all; the others then go on side by side. */
export async function checkLevel(level: SandboxLevel, parts: CheckParts): Promise<LevelReport> {
  const began = performance.now();
  const [initial, ...others] = trialsOf(level, parts.isThorough);
  const opening = await initial(level, parts);
  const done = [opening];
  if (!opening.isUnusable) {
    done.push(...(await Promise.all(others.map((trial) => trial(level, parts)))));
  }
  const trials = done.map(({ name, isHeld, detail }) => ({ name, isHeld, detail }));
  const unusable = done.find(({ isUnusable }) => isUnusable)?.detail;
  const missed = trials.filter(({ isHeld }) => !isHeld);
  const [first] = missed;
  const wallMs = performance.now() - began;
  if (first === undefined) return { level, holds: true, detail: "", remedy: "", trials, wallMs };
  return {
    level,
    holds: false,
    detail: unusable ?? missed.map(({ name, detail }) => `${name}: ${detail}`).join("; "),
    remedy: remedies[level],
    trials,
    wallMs,
  };
}

type Run = (level: SandboxLevel, parts: CheckParts) => Promise<Trial & { isUnusable: boolean }>;

function trialsOf(level: SandboxLevel, isThorough: boolean): [Run, ...Run[]] {
  const memory = overLimit("memory", ["memory", String(1024 * mebibyte)], "out-of-memory", {
    memoryBytes: 64 * mebibyte,
  });
  const processes = overLimit("processes", ["pids", "64"], "pids-limit", { pids: 16 });
  if (!isThorough && (level === "docker" || level === "gvisor")) {
    return [deniesWhatItMust, memory, processes];
  }
  const limits: [Run, ...Run[]] = [
    memory,
    processes,
    overLimit("disk", ["disk", String(64 * mebibyte)], "disk-limit", { diskBytes: 4 * mebibyte }),
    overLimit("processor time", ["spin"], "cpu-time", { cpuTimeMs: 100 }),
    overLimit("time", ["spin"], "timeout", {}, 200),
    leavesNothing,
  ];
  return level === "subprocess" ? limits : [deniesWhatItMust, ...limits];
}

function overLimit(
  name: string,
  words: readonly string[],
  reason: FailureReason,
  limits: Partial<BoxLimits>,
  timeoutMs = 10_000,
): Run {
  return async (level, parts) => {
    const { end } = await carryOut(level, parts, { words, limits, timeoutMs });
    const { outcome } = end;
    const how = outcome.kind === "failed" ? outcome.failure.reason : outcome.kind;
    if (how === reason) return { name, isHeld: true, detail: "", isUnusable: false };
    const unusable = unusableBecause(end);
    const detail = unusable ?? `the limit was not kept: it ended as ${how}, not as ${reason}`;
    return { name, isHeld: false, detail, isUnusable: unusable !== undefined };
  };
}

const deniesWhatItMust: Run = async (level, parts) => {
  const name = "denials";
  const folder = await mkdtemp(join(tmpdir(), "edgedag-check-"));
  const server = createServer((socket) => socket.destroy());
  try {
    const secret = join(folder, "secret");
    await writeFile(secret, "secret", { mode: 0o644 });
    const listening = Promise.withResolvers<void>();
    server.once("error", listening.reject);
    server.listen(0, "127.0.0.1", listening.resolve);
    await listening.promise;
    const address = server.address();
    const port = address !== null && typeof address === "object" ? address.port : 0;
    const words = ["denials", String(port), String(process.pid), startTime(), secret];
    const { end, said } = await carryOut(level, parts, { words });
    if (end.outcome.kind === "succeeded") {
      return { name, isHeld: true, detail: "", isUnusable: false };
    }
    const unusable = unusableBecause(end);
    const done = said.filter((line) => line.startsWith("done ")).map((line) => line.slice(5));
    const detail = unusable ?? `possible inside: ${done.join(", ") || JSON.stringify(end.outcome)}`;
    return { name, isHeld: false, detail, isUnusable: unusable !== undefined };
  } finally {
    server.close();
    await rm(folder, { recursive: true, force: true });
  }
};

const leavesNothing: Run = async (level, parts) => {
  const name = "clean end";
  const token = `${process.pid}.${performance.now()}`;
  const { end } = await carryOut(level, parts, { words: ["daemon"], env: { [marker]: token } });
  const unusable = unusableBecause(end);
  if (unusable !== undefined) return { name, isHeld: false, detail: unusable, isUnusable: true };
  let left = await marked(`${marker}=${token}`);
  // "The whole tree is gone within a second": asked again until then.
  for (let look = 0; look < 20 && left.length > 0; look++) {
    await delay(50);
    left = await marked(`${marker}=${token}`);
  }
  const isHeld = left.length === 0;
  const detail = isHeld ? "" : `processes outlived their task: ${left.join(", ")}`;
  return { name, isHeld, detail, isUnusable: false };
};

let lastTrial = 0;

async function carryOut(
  level: SandboxLevel,
  { start, launcherPath, language }: CheckParts,
  what: {
    words: readonly string[];
    limits?: Partial<BoxLimits>;
    timeoutMs?: number;
    env?: { [name: string]: string };
  },
): Promise<{ end: AttemptEnd; said: string[] }> {
  lastTrial += 1;
  const { promise, resolve } = Promise.withResolvers<AttemptEnd>();
  let said = "";
  const attempt = start(
    {
      kind: { level, language, network: false, mounts: [], syscalls: [], isOnce: true },
      run: { kind: "command", argv: [launcherPath, "--try", ...what.words] },
      task: `check-${lastTrial}`,
      attempt: 1,
      runId: "edgedag-check",
      env: what.env ?? {},
      inputs: {},
      files: [],
      limits: {
        memoryBytes: 256 * mebibyte,
        pids: 32,
        diskBytes: 16 * mebibyte,
        ...what.limits,
      },
      outputLimitBytes: mebibyte,
      timeoutMs: what.timeoutMs ?? 10_000,
      graceMs: 0,
      outputs: { patterns: [], maxCount: 0, maxBytes: 0 },
      keepIn: join(tmpdir(), "edgedag-check-nothing"),
    },
    {
      started: () => {},
      output: (stream, bytes) => {
        if (stream === "stdout") said += bytes.toString();
      },
      ended: (end) =>
        resolve(
          end === "returned" ? { outcome: { kind: "cancelled", by: "drain" }, facts: {} } : end,
        ),
    },
  );
  const timer = setTimeout(() => attempt.stop(0), patienceMs);
  const end = await promise;
  clearTimeout(timer);
  return { end, said: said.split("\n") };
}

/** No sandbox came to be: further trials would only say it again. */
function unusableBecause({ outcome }: AttemptEnd): string | undefined {
  if (outcome.kind !== "failed") return undefined;
  const { failure } = outcome;
  if (failure.reason === "sandbox" || failure.reason === "spawn") return failure.detail;
  return failure.reason === "internal" ? failure.detail : undefined;
}

/** When this process started, in ticks since the boot: a number that no process inside has. */
function startTime(): string {
  const stat = readFileSync("/proc/self/stat", "latin1");
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
}

/** Not all at once and not in one turn: such a file can wait for a process that is short of memory. */
async function marked(mark: string): Promise<string[]> {
  const found: string[] = [];
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    // Gone meanwhile, or somebody else's: not one of ours.
    const environ = await readFile(`/proc/${name}/environ`, "latin1").catch(() => "");
    if (environ.split("\0").includes(mark)) found.push(name);
  }
  return found;
}

const remedies: Readonly<Record<SandboxLevel, string>> = {
  none: "",
  subprocess:
    "Run the agent as root with a writable cgroup file system, or give its unit Delegate=yes (cgroup 2).",
  seccomp:
    "Run the agent as root, or allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone) and delegate a cgroup; the kernel needs Landlock and seccomp.",
  docker:
    "Start the Docker engine, let the agent use its socket (EDGEDAG_DOCKER_SOCKET), and name images that are there (EDGEDAG_DOCKER_IMAGES).",
  gvisor:
    "Install runsc (EDGEDAG_RUNSC), run the agent as root, and try EDGEDAG_RUNSC_PLATFORM=ptrace.",
};
