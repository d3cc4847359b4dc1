// What the tests of launcher and plain client share: a starter, one process's whole story, and the
// search for processes that should be gone.
import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join, resolve } from "node:path";
import { findLauncher } from "../../agent/exec/launcher/find.ts";
import { Launcher } from "../../agent/exec/launcher/launcher.ts";
import { PlainStarter } from "../../agent/exec/launcher/plain.ts";
import type {
  Following,
  FollowListener,
  LauncherProcess,
  ProcessEnd,
  ProcessSpec,
  ProcessStarter,
  Usage,
} from "../../agent/exec/launcher/process.ts";

export const root = resolve(import.meta.dirname, "../..");

export function fixture(name: string): string {
  return join(root, "test/fixtures/tasks", name);
}

/** EDGEDAG_LAUNCHER names another build, as one with sanitizers. */
export function launcherPath(): string {
  const explicit = process.env.EDGEDAG_LAUNCHER;
  if (explicit === undefined) execFileSync(join(root, "scripts/build-launcher"));
  const found = findLauncher({ root, explicit });
  if (!found.found) throw new Error(found.detail);
  return found.path;
}

export async function startLauncher(
  onExit: (detail: string) => void = () => {},
  args: readonly string[] = [],
) {
  return await Launcher.start({ path: launcherPath(), args, onExit });
}

let lastCgroup = 0;

/** With cgroups below a parent of its own, where this machine has any. */
export async function startWithCgroups(): Promise<Launcher> {
  lastCgroup += 1;
  return await startLauncher(() => {}, ["--cgroup", `edgedag-t${process.pid}-${lastCgroup}`]);
}

export const starters: { name: string; start(): Promise<ProcessStarter> }[] = [
  { name: "launcher", start: () => startLauncher() },
  { name: "plain", start: async () => new PlainStarter() },
];

/** A unique variable in the environment of everything that one test starts. */
export function newToken(): string {
  return `EDGEDAG_TEST_TOKEN=${randomUUID()}`;
}

export function envWith(token: string): Record<string, string> {
  const [name = "", value = ""] = token.split("=");
  return { PATH: "/usr/local/bin:/usr/bin:/bin", [name]: value };
}

export type Piece =
  | { stream: "stdout" | "stderr"; text: string }
  | { stream: "stdout" | "stderr"; mark: number };

export interface Story {
  /** Of one that was given back: lost. */
  end: ProcessEnd;
  isReturned: boolean;
  pid: number;
  startedAt: number;
  stdout: Buffer;
  stderr: Buffer;
  /** What came out of a relayed channel, and how often its end was told. */
  channel: Buffer;
  closes: number;
  samples: Usage[];
  /** Output and marks as they came, neighbours of one stream joined. */
  pieces: Piece[];
  /** How often its end was told. */
  ends: number;
}

export interface Told {
  process: LauncherProcess;
  done: Promise<Story>;
  started: Promise<number>;
  /** When stdout, or the relayed channel, first holds `text`. */
  said(text: string): Promise<void>;
  /** Until so many bytes have come out of the relayed channel. */
  relayed(bytes: number): Promise<void>;
  /** So far. */
  samples: readonly Usage[];
}

export function tell(
  starter: ProcessStarter,
  argv: string[],
  more: Partial<ProcessSpec> = {},
): Told {
  return listen(argv, more, (spec, listener) => starter.spawn(spec, listener));
}

/** Behind another one. */
export function follow(
  before: Told,
  argv: string[],
  how: Following,
  more: Partial<ProcessSpec> = {},
): Told {
  return listen(argv, more, (spec, listener) => {
    const process = before.process.follow?.(spec, listener, how);
    if (process === undefined) throw new Error("nothing can follow it");
    return process;
  });
}

function listen(
  argv: string[],
  more: Partial<ProcessSpec>,
  start: (spec: ProcessSpec, listener: FollowListener) => LauncherProcess,
): Told {
  const spec = { argv, env: envWith("X=1"), cwd: "/", graceMs: 200, ...more };
  const chunks: Record<"stdout" | "stderr" | "channel", Buffer[]> = {
    stdout: [],
    stderr: [],
    channel: [],
  };
  const samples: Usage[] = [];
  const sizes: { bytes: number; resolve(): void }[] = [];
  let relayedBytes = 0;
  let closes = 0;
  const pieces: Piece[] = [];
  const done = Promise.withResolvers<Story>();
  const started = Promise.withResolvers<number>();
  const waits: { text: string; resolve(): void }[] = [];
  let pid = 0;
  let startedAt = 0;
  let ends = 0;
  let heard = "";
  const hear = (bytes: Buffer) => {
    if (heard.length > 1e5) return;
    heard += bytes.toString("latin1");
    for (const wait of waits) if (heard.includes(wait.text)) wait.resolve();
  };
  const over = (end: ProcessEnd, isReturned: boolean) => {
    ends++;
    // A second end would come in the same turn or the next: give it the chance to be seen.
    setImmediate(() =>
      done.resolve({
        end,
        isReturned,
        pid,
        startedAt,
        stdout: Buffer.concat(chunks.stdout),
        stderr: Buffer.concat(chunks.stderr),
        channel: Buffer.concat(chunks.channel),
        closes,
        samples,
        pieces,
        ends,
      }),
    );
  };
  const process = start(spec, {
    started: (info) => {
      ({ pid, startedAt } = info);
      started.resolve(pid);
    },
    output: (stream, bytes) => {
      chunks[stream].push(Buffer.from(bytes));
      const last = pieces.findLast((piece) => piece.stream === stream);
      if (last !== undefined && "text" in last) last.text += bytes.toString("latin1");
      else pieces.push({ stream, text: bytes.toString("latin1") });
      if (stream === "stdout") hear(bytes);
    },
    channel: (bytes) => {
      if (bytes === undefined) {
        closes++;
        return;
      }
      chunks.channel.push(Buffer.from(bytes));
      relayedBytes += bytes.length;
      for (const size of sizes) if (relayedBytes >= size.bytes) size.resolve();
      hear(bytes);
    },
    sample: (usage) => samples.push(usage),
    mark: (stream, mark) => pieces.push({ stream, mark }),
    ended: (end) => over(end, false),
    returned: () => over({ kind: "lost" }, true),
  });
  const said = (text: string) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    waits.push({ text, resolve });
    if (heard.includes(text)) resolve();
    return promise;
  };
  const relayed = (bytes: number) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    sizes.push({ bytes, resolve });
    if (relayedBytes >= bytes) resolve();
    return promise;
  };
  return { process, done: done.promise, started: started.promise, said, relayed, samples };
}

export function run(starter: ProcessStarter, argv: string[], more: Partial<ProcessSpec> = {}) {
  return tell(starter, argv, more).done;
}

function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return otherwise; // the process ended meanwhile, or is not ours to look at
  }
}

/** Command lines of the living processes whose environment holds `token`. */
export function survivors(token: string): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => readOr(`/proc/${pid}/environ`, "").includes(token))
    .map((pid) => `${pid} ${readOr(`/proc/${pid}/cmdline`, "").replaceAll("\0", " ")}`);
}

export function childrenOf(pid: number): string[] {
  return readOr(`/proc/${pid}/task/${pid}/children`, "").split(" ").filter(Boolean);
}

export function fdsOf(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
}

/** Peak resident memory of a process so far. */
export function peakRssBytes(pid: number): number {
  const match = /VmHWM:\s+(\d+) kB/.exec(readOr(`/proc/${pid}/status`, ""));
  return Number(match?.[1] ?? Number.NaN) * 1024;
}

/** Looks again until it is so. The test's own timeout is the net. */
export async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 5));
}
