// Runs the fuzzer of one target as a process and tells how it went; what breaks it is written to a
// folder, with the command that repeats it.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nameOf } from "./engine/corpus.ts";
import { type ChildOptions, type Figures, missingCode, type Report } from "./engine/report.ts";

export const crashRoot = join(import.meta.dirname, "../../build/fuzz-crashes");

export interface TargetOptions {
  name: string;
  seed: number;
  seconds: number;
  /** Most inputs beside the corpus. */
  runs?: number;
  shouldDistil?: boolean;
  inputBase64?: string;
}

/** Beyond its own time a process may take so long to start, replay, minimise and end. */
const patienceMs = 90_000;

export async function runTarget(options: TargetOptions): Promise<Report> {
  const folder = mkdtempSync(join(tmpdir(), `edgedag-fuzz-${options.name}-`));
  const child: ChildOptions = {
    runs: Number.MAX_SAFE_INTEGER,
    shouldDistil: false,
    ...options,
    currentPath: join(folder, "current"),
    brokenPath: join(folder, "broken"),
  };
  try {
    const { code, out, err } = await ended(child, folder);
    const line = out.trim().split("\n").at(-1) ?? "";
    if (code === 0 && line.startsWith("{")) {
      return { kind: "clean", figures: JSON.parse(line) as Figures }; // printed by child.ts
    }
    if (code === missingCode) return { kind: "missing", detail: out.trim() };
    const input = inputOf(child);
    const crashes = join(crashRoot, options.name);
    mkdirSync(crashes, { recursive: true });
    const path = join(crashes, nameOf(input));
    writeFileSync(path, input);
    const detail = `${out}${err}`.trim().slice(-4000) || `the process ended with ${code}`;
    const story = `target ${options.name}\nseed ${options.seed}\nended with ${code}\nagain: scripts/fuzz ${options.name} --input ${path}\n\n${detail}\n`;
    writeFileSync(`${path}.txt`, story);
    return { kind: "broken", detail, path };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function ended(
  options: ChildOptions,
  folder: string,
): Promise<{ code: number | NodeJS.Signals; out: string; err: string }> {
  // One thread: what compilers and collectors do beside it would not be the same with the same seed.
  const flags = [
    "--expose-gc",
    "--single-threaded",
    "--max-old-space-size=768",
    "--stack-trace-limit=20",
  ];
  const script = join(import.meta.dirname, "engine/child.ts");
  const env = { ...process.env, TMPDIR: folder, NODE_OPTIONS: "" };
  const child = spawn(process.execPath, [...flags, script, JSON.stringify(options)], {
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let out = "";
  let err = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out = (out + text).slice(-20_000);
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    err = (err + text).slice(-20_000);
  });
  // The child's own watchdog looks at one input; this one at all of it.
  const timer = setTimeout(() => child.kill("SIGKILL"), options.seconds * 1000 + patienceMs);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      resolve({ code: code ?? signal ?? "SIGKILL", out, err });
    });
  });
}

function inputOf({ currentPath, brokenPath }: ChildOptions): Buffer {
  if (existsSync(brokenPath)) {
    const broken = readFileSync(brokenPath);
    if (broken.length > 0) return broken;
  }
  if (!existsSync(currentPath)) return Buffer.alloc(0);
  const current = readFileSync(currentPath);
  if (current.length < 4) return Buffer.alloc(0);
  return current.subarray(4, 4 + current.readUInt32LE(0));
}
