// `edgedag doctor`: tries every isolation level on this host by doing the forbidden thing inside it,
// and says what holds, what does not, and what would help. Touches no state of an agent.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Config } from "../agent/config.ts";
import { type ExecutionParts, startExecution } from "../agent/execution.ts";
import { findGpus } from "../agent/gpus.ts";
import type { LevelReport } from "../agent/level-check.ts";
import { makeRuntimeDir, outsidePrefix, outsideTag } from "../agent/outside.ts";
import { baseEnvironment } from "../agent/task-environment.ts";
import { exitCodes } from "../protocol/exit-codes.ts";
import { pythonSdkPath } from "../protocol/install-paths.ts";
import type { Io } from "./io.ts";
import { printDiagnostics } from "./print.ts";
import { agentTable, findRoot, otherNames, readConfig } from "./surroundings.ts";

export interface DoctorOptions {
  json: boolean;
  env: Readonly<Record<string, string | undefined>>;
}

/** 0: every level that EDGEDAG_LEVELS names holds (with auto: there are sandboxes at all). */
export async function doctor({ json, env }: DoctorOptions, io: Io): Promise<number> {
  const read = readConfig(agentTable(), env, otherNames);
  for (const warning of read.warnings) io.stderr.write(`${warning}\n`);
  if (!read.config.ok) {
    printDiagnostics(io, read.config.diagnostics);
    return exitCodes.config;
  }
  const scratch = mkdtempSync(join(tmpdir(), "edgedag-doctor-"));
  try {
    return await examine({ ...read.config.value, stateDir: scratch }, { json, env }, io);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function examine(config: Config, { json, env }: DoctorOptions, io: Io): Promise<number> {
  const root = findRoot();
  const runtimeDir = makeRuntimeDir(config.runtimeDir, outsidePrefix(config.stateDir, true));
  if (!runtimeDir.ok) {
    printDiagnostics(io, runtimeDir.diagnostics);
    return exitCodes.config;
  }
  try {
    const execution = await startExecution({
      config,
      root,
      runtimeDir: runtimeDir.value,
      isOneOff: true,
      tag: outsideTag(config.stateDir, true),
      baseEnv: baseEnvironment({
        hostEnv: env,
        passEnv: config.passEnv,
        pythonPath: pythonSdkPath(root),
      }),
      say: (level, text) => {
        if (level !== "info" && level !== "debug" && level !== "trace")
          io.stderr.write(`${text}\n`);
      },
    });
    if (!execution.ok) {
      printDiagnostics(io, execution.diagnostics);
      return exitCodes.config;
    }
    try {
      return await report(execution.value, { config, json }, io);
    } finally {
      await execution.value.close();
    }
  } finally {
    rmSync(runtimeDir.value, { recursive: true, force: true });
  }
}

async function report(
  { isolation }: ExecutionParts,
  { config, json }: { config: Config; json: boolean },
  io: Io,
): Promise<number> {
  const opened = await isolation.open();
  if (!opened.ok) {
    printDiagnostics(io, opened.diagnostics);
    return exitCodes.unavailable;
  }
  const levels = await opened.value.checkAll({ isThorough: true });
  const languages = Object.fromEntries(
    [...opened.value.languages].map(([name, { version }]) => [name, version]),
  );
  const gpus = config.gpus ?? findGpus();
  const { cgroups } = opened.value;
  if (json) io.stdout.write(`${JSON.stringify({ levels, cgroups, languages, gpus })}\n`);
  else {
    for (const level of levels) io.stdout.write(linesOf(level));
    const groups = cgroups.version === 0 ? `none: ${cgroups.why}` : `version ${cgroups.version}`;
    const known = Object.entries(languages).map(([name, version]) => `${name} ${version}`);
    io.stdout.write(`\ncgroups    ${groups}\n`);
    io.stdout.write(`languages  ${known.join(", ") || "none"}\n`);
    io.stdout.write(`gpus       ${gpus.join(", ") || "none"}\n`);
  }
  const named = config.levels === "auto" ? [] : config.levels;
  const missed = levels.filter(({ level, holds }) => named.includes(level) && !holds);
  const isNone = levels.every(({ holds }) => !holds);
  return missed.length > 0 || isNone ? exitCodes.unavailable : exitCodes.ok;
}

function linesOf({ level, holds, detail, remedy, trials, wallMs }: LevelReport): string {
  const name = level.padEnd(11);
  if (holds) {
    const tried = trials.map((trial) => trial.name).join(", ");
    return `${name} holds      (${tried}; ${Math.round(wallMs)} ms)\n`;
  }
  const lines = [`${name} NOT held   ${detail}`, `${" ".repeat(23)}${remedy}`];
  return `${lines.join("\n")}\n`;
}
