// One level as an agent has it: its isolation with everything that the level needs on this machine,
// installed and started where that can be. What cannot be had gives the reason instead.
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type Config, configTable } from "../../agent/config.ts";
import type { BoxLevel } from "../../agent/exec/isolation/box.ts";
import { LauncherKeeper } from "../../agent/exec/launcher/keeper.ts";
import { Isolation } from "../../agent/isolation.ts";
import type { LevelReport } from "../../agent/level-check.ts";
import { readEnv } from "../../protocol/env-table.ts";
import { launcherPath } from "../exec/launcher-rig.ts";
import { image, startEngine, type TestEngine } from "./docker-rig.ts";
import { findTestRunsc } from "./gvisor-rig.ts";
import { isRoot, root } from "./isolation-rig.ts";

export interface OpenedLevel extends AsyncDisposable {
  level: BoxLevel;
  isolation: Isolation;
  report: LevelReport | undefined;
  /** What the agent had to complain of. */
  problems: string[];
  tag: string;
  /** Of level docker's engine. */
  socketPath?: string;
  /** Of level gvisor. */
  runsc?: string;
}

export interface OpenOptions {
  config?: Partial<Config>;
  env?: Readonly<Record<string, string>>;
}

/** A text: why this machine cannot have the level. */
export async function openLevel(
  level: BoxLevel,
  { config: own = {}, env = {} }: OpenOptions = {},
): Promise<OpenedLevel | string> {
  if (!isRoot) return "the levels are tried as root";
  const settings: Record<string, string> = { ...env };
  let engine: TestEngine | undefined;
  if (level === "docker") {
    const started = await startEngine();
    if (typeof started === "string") return started;
    engine = started;
    settings.EDGEDAG_DOCKER_SOCKET = engine.socketPath;
    settings.EDGEDAG_DOCKER_IMAGES = `*=${image}`;
  }
  if (level === "gvisor") {
    const runsc = findTestRunsc();
    if ("reason" in runsc) return runsc.reason;
    settings.EDGEDAG_RUNSC = runsc.path;
  }
  const dir = mkdtempSync("/tmp/level-");
  // What runs in boxes at this level must not be mistaken for another's.
  settings.EDGEDAG_SANDBOX_UID = String(1_300_000_000 + (process.pid % 100_000) * 1000);
  const table = configTable({
    hostname: "test",
    cores: 2,
    stateDir: join(dir, "s"),
    runtimeDir: dir,
  });
  const read = readEnv(table, { env: settings, readFile: () => ({ problem: "none here" }) });
  if (!read.config.ok) throw new Error(JSON.stringify(read.config.diagnostics));
  const config: Config = { ...read.config.value, ...own };
  const tag = `t${process.pid}${level}`;
  const problems: string[] = [];
  const launcher = await LauncherKeeper.start({
    path: launcherPath(),
    args: ["--cgroup", `edgedag-${tag}`],
    onDeath: (detail) => problems.push(detail),
  });
  const nodeJs = join(root, "node_modules/node/bin/node");
  const started = await Isolation.start({
    config,
    installation: { root, isBundled: false, launcherPath: launcherPath(), nodeJs },
    launcher,
    runtimeDir: dir,
    tag,
    baseEnv: { PATH: process.env.PATH ?? "/usr/bin:/bin", LANG: "C.UTF-8" },
    python: () => "python3",
    say: (_level, text) => problems.push(text),
  });
  if (!started.ok) throw new Error(JSON.stringify(started.diagnostics));
  const isolation = started.value;
  const report = level === "none" ? undefined : await isolation.check(level);
  return {
    level,
    isolation,
    report,
    problems,
    tag,
    ...(engine === undefined ? {} : { socketPath: engine.socketPath }),
    ...(settings.EDGEDAG_RUNSC === undefined ? {} : { runsc: settings.EDGEDAG_RUNSC }),
    [Symbol.asyncDispose]: async () => {
      await isolation.close();
      await launcher.close();
      await engine?.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
