// Runs the benchmarks of test/bench, each in a process of its own with a time limit, prints their
// table and writes build/bench.json; with --write the table of docs/performance.md too. A row that
// fails or hangs is said in the table, ends with all its processes, and does not stop the others.
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, loadavg, release, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { parseArgs } from "node:util";
import type { RowResult } from "../test/bench/frame.ts";
import { type Machine, markdownOf, type Report } from "./bench-table.ts";

/** Files of test/bench, in the order of the table. */
const allRows = [
  "chain",
  "fan-out",
  "true",
  "succession",
  "handover",
  "cold-start",
  "idle",
  "load",
  "large-dag",
  "log",
  "masking",
  "store",
  "store-busy",
  "master-ingest",
  "broker",
  "launcher",
  "worker-roundtrip",
  "scheduler",
  "where",
  "isolation",
  "service",
];
const rowLimitMs = 90_000;
/** Peers or engines are started, or an image made, before anything is measured. */
const longRows: { readonly [row: string]: number } = {
  isolation: 300_000,
  service: 300_000,
  "large-dag": 400_000,
  chain: 240_000,
  "fan-out": 240_000,
  true: 240_000,
  handover: 240_000,
};
const rowFlags: { readonly [row: string]: readonly string[] } = {
  "large-dag": ["--max-old-space-size=12000"],
};
/** Beyond it the rows that are left are named and not run. */
const totalLimitMs = 2_400_000;
const usage = `usage: npm run bench -- [--quick] [--write] [--label text] [row...]
  --quick  small sizes and few rounds: to see that the rows work
  --write  put the table into docs/performance.md; needs all rows
  rows: ${allRows.join(" ")}
`;

const root = join(import.meta.dirname, "..");
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: "boolean", default: false },
    write: { type: "boolean", default: false },
    label: { type: "string" },
    help: { type: "boolean", short: "h", default: false },
  },
});
const unknown = positionals.filter((row) => !allRows.includes(row));
if (values.help || unknown.length > 0 || (values.write && positionals.length > 0)) {
  process.stderr.write(unknown.length > 0 ? `no row ${unknown.join(", ")}\n${usage}` : usage);
  process.exit(values.help ? 0 : 64);
}

// What is measured as installed is built from what is here.
const build = spawnSync(join(root, "scripts/build"), { stdio: ["ignore", "ignore", "inherit"] });
if (build.status !== 0) {
  process.stderr.write("bench: scripts/build failed; nothing was measured\n");
  process.exit(1);
}
const start = performance.now();
const folder = mkdtempSync(join(tmpdir(), "edgedag-bench-"));
const report: Report = {
  date: new Date().toISOString().slice(0, 16).replace("T", " "),
  commit: commitOf(),
  machine: machineOf(),
  loadBefore: loadavg()[0] ?? 0,
  isQuick: values.quick,
  ...(values.label === undefined ? {} : { label: values.label }),
  seconds: 0,
  rows: [],
};
let current: ChildProcess | undefined;
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    endGroup(current);
    rmSync(folder, { recursive: true, force: true });
    process.exit(130);
  });
}
const rows = positionals.length > 0 ? positionals : allRows;
for (const [i, row] of rows.entries()) {
  const load = loadavg()[0] ?? 0;
  process.stderr.write(`\n[${i + 1}/${rows.length}] ${row} (load ${load.toFixed(2)})\n`);
  const from = performance.now();
  const leftMs = totalLimitMs - (from - start);
  const result =
    leftMs < 1000
      ? { failed: `not run: ${totalLimitMs / 1000} s were over` }
      : await runRow(row, Math.min(longRows[row] ?? rowLimitMs, leftMs));
  const seconds = Math.round((performance.now() - from) / 100) / 10;
  if ("failed" in result) process.stderr.write(`  FAILED: ${result.failed}\n`);
  report.rows.push({ row, load, seconds, ...result });
}
report.seconds = Math.round((performance.now() - start) / 1000);
rmSync(folder, { recursive: true, force: true });

const table = markdownOf(report);
mkdirSync(join(root, "build"), { recursive: true });
writeFileSync(join(root, "build/bench.json"), `${JSON.stringify(report, null, 1)}\n`);
if (values.write) writeDocs(table);
process.stdout.write(`\n${table}`);
process.stderr.write(`\n${report.seconds} s; build/bench.json is written\n`);
process.exitCode = report.rows.some((row) => "failed" in row) ? 1 : 0;

/** In a process group and a folder for temporary files of its own, so that all of it can be ended. */
async function runRow(row: string, limitMs: number): Promise<RowResult | { failed: string }> {
  const own = rowFlags[row] ?? [];
  const flags = ["--disable-warning=ExperimentalWarning", "--expose-gc", ...own];
  const file = join(root, "test/bench", `${row}.ts`);
  const argv = [...flags, file, ...(values.quick ? ["--quick"] : [])];
  const child = spawn(process.execPath, argv, {
    cwd: root,
    detached: true,
    env: { ...process.env, TMPDIR: folder },
    stdio: ["ignore", "pipe", "inherit"],
  });
  current = child;
  let text = "";
  let isLate = false;
  child.stdout.on("data", (chunk: Buffer) => {
    text += chunk;
  });
  const limit = setTimeout(() => {
    isLate = true;
    endGroup(child);
  }, limitMs);
  let net: NodeJS.Timeout | undefined;
  const how = await new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, signal) => {
      endGroup(child);
      const end = () => resolve(code === 0 ? "" : `it ended with ${code ?? signal}`);
      child.once("close", end);
      // Something out of the group could hold its stdout open.
      net = setTimeout(end, 5000);
    });
  });
  clearTimeout(limit);
  clearTimeout(net);
  current = undefined;
  if (isLate) return { failed: `it took longer than ${Math.round(limitMs / 1000)} s` };
  if (how !== "") return { failed: how };
  try {
    return JSON.parse(text.trim().split("\n").at(-1) ?? "");
  } catch {
    return { failed: `it printed no figures: ${text.slice(-200)}` };
  }
}

function endGroup(child: ChildProcess | undefined): void {
  if (child?.pid === undefined) return;
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch {
    // Nobody is left in it.
  }
}

function machineOf(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    nodejs: process.versions.node,
  };
}

function commitOf(): string {
  const git = (...args: string[]) =>
    execFileSync("git", args, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  try {
    const isChanged = git("status", "--porcelain", "--untracked-files=no").trim() !== "";
    return `${git("rev-parse", "--short", "HEAD").trim()}${isChanged ? " with changes" : ""}`;
  } catch {
    return "unknown";
  }
}

function writeDocs(text: string): void {
  const path = join(root, "docs/performance.md");
  const page = readFileSync(path, "utf8");
  const pattern = /(<!-- figures -->\n)[\s\S]*?(<!-- \/figures -->)/;
  if (!pattern.test(page)) throw new Error("docs/performance.md has no markers for the figures");
  writeFileSync(
    path,
    page.replace(pattern, (_, open, close) => `${open}\n${text}\n${close}`),
  );
}
