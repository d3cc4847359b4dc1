// A process with a bad disk: builds faults.c once, gives the environment that switches it on, and reads
// what it did. A test that asks for a fault must see in `hits` that it happened.
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync } from "node:fs";
import { fileURLToPath } from "node:url";

export type FaultKind = "eio" | "enospc" | "short" | "torn" | "flip" | "count";

export interface FaultPlan {
  /** Folder whose files are watched. */
  under: string;
  kind: FaultKind;
  /** Number of the first operation that is hit, from 1. */
  at?: number;
  /** How many are hit from there on; 0: all. Default 1. */
  times?: number;
  /** Only paths that contain it. */
  only?: string;
  /** Counted and hit only while this file exists. */
  while?: string;
  /** What was done is written here, outside of the folder. */
  report: string;
}

const source = fileURLToPath(new URL("faults.c", import.meta.url));
const build = fileURLToPath(new URL("../../../build", import.meta.url));

/** Why there can be no faults here, for `skip`. */
export const noFaults: { skip?: string } =
  spawnSync("cc", ["--version"]).status === 0 ? {} : { skip: "no C compiler" };

/** Path of the library. */
export function faultLibrary(): string {
  const digest = createHash("sha256").update(readFileSync(source)).digest("hex").slice(0, 12);
  const path = `${build}/faults-${process.arch}-${digest}.so`;
  if (existsSync(path)) return path;
  mkdirSync(build, { recursive: true });
  const made = `${path}.${process.pid}`;
  const flags = ["-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"];
  execFileSync("cc", [...flags, "-o", made, source, "-ldl"], { stdio: "inherit" });
  renameSync(made, path);
  return path;
}

export function faultEnv(plan: FaultPlan): { [name: string]: string } {
  return {
    LD_PRELOAD: faultLibrary(),
    // libuv would otherwise go past libc.
    UV_USE_IO_URING: "0",
    FAULTS_UNDER: plan.under,
    FAULTS_KIND: plan.kind,
    FAULTS_AT: String(plan.at ?? 1),
    FAULTS_TIMES: String(plan.times ?? 1),
    FAULTS_REPORT: plan.report,
    ...(plan.only === undefined ? {} : { FAULTS_ONLY: plan.only }),
    ...(plan.while === undefined ? {} : { FAULTS_WHILE: plan.while }),
  };
}

export interface FaultReport {
  /** What was hit, with the number of the operation. */
  hits: string[];
  /** Operations in all; undefined when the process was killed. */
  total: number | undefined;
}

export function readReport(path: string): FaultReport {
  const lines = existsSync(path) ? readFileSync(path, "utf8").split("\n") : [];
  const total = lines.findLast((line) => line.startsWith("total "))?.slice(6);
  return {
    hits: lines.filter((line) => line.startsWith("hit ")),
    total: total === undefined ? undefined : Number(total),
  };
}
