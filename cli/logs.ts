// `edgedag logs`: the combined log of a run on this machine, readable or as NDJSON.
import { readdirSync, statSync } from "node:fs";
import { formatLine, type LogFilter, matches, readLog } from "../agent/log/read-log.ts";
import { exitCodes } from "../protocol/exit-codes.ts";
import { type LogLevel, logLevels } from "../protocol/log.ts";
import { runIdPattern, runLogDir, runsDir } from "../protocol/state-paths.ts";
import type { Io } from "./io.ts";

export interface LogsOptions {
  stateDir: string;
  /** Absent: the run whose log was written to last. */
  run?: string;
  follow?: boolean;
  task?: string;
  stream?: string;
  level?: string;
  /** Unix milliseconds. */
  since?: number;
  json?: boolean;
  colour?: boolean;
  /** Ends `follow`. */
  signal?: AbortSignal;
}

export async function logs(options: LogsOptions, io: Io): Promise<number> {
  const filter = readFilter(options);
  if (typeof filter === "string") {
    io.stderr.write(`${filter}\n`);
    return exitCodes.usage;
  }
  const run = options.run ?? latestRun(options.stateDir);
  const folder =
    run !== undefined && runIdPattern.test(run) ? runLogDir(options.stateDir, run) : "";
  if (folder === "" || statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true) {
    const what = run === undefined ? "no run has a log" : `no log of run ${run}`;
    io.stderr.write(
      `${what} in ${options.stateDir}\n    Name the agent's state folder with --state or EDGEDAG_STATE.\n`,
    );
    return exitCodes.noInput;
  }
  const format = options.json
    ? JSON.stringify
    : (line: Parameters<typeof formatLine>[0]) => formatLine(line, options.colour ?? false);
  const signal = options.signal === undefined ? {} : { signal: options.signal };
  for await (const lines of readLog({ folder, follow: options.follow ?? false, ...signal })) {
    let text = "";
    for (const line of lines) {
      if (matches(line, filter)) {
        text += `${format(line)}\n`;
      }
    }
    if (text !== "") {
      io.stdout.write(text);
    }
  }
  return exitCodes.ok;
}

function readFilter(options: LogsOptions): LogFilter | string {
  const { task, since } = options;
  const filter: LogFilter = {};
  if (task !== undefined) filter.task = task;
  if (since !== undefined) filter.since = since;
  const { stream, level } = options;
  if (stream !== undefined) {
    const known = streams[stream];
    if (known === undefined) return `--stream ${stream}: use stdout, stderr or log`;
    filter.stream = known;
  }
  if (level !== undefined) {
    if (!isLevel(level)) return `--level ${level}: use ${logLevels.join(", ")}`;
    filter.level = level;
  }
  return filter;
}

const streams: { [name: string]: "stdout" | "stderr" | "log" | undefined } = {
  stdout: "stdout",
  out: "stdout",
  stderr: "stderr",
  err: "stderr",
  log: "log",
};

function isLevel(text: string): text is LogLevel {
  return (logLevels as readonly string[]).includes(text);
}

function latestRun(stateDir: string): string | undefined {
  const folder = runsDir(stateDir);
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true) {
    return undefined;
  }
  let latest: { run: string; at: number } | undefined;
  for (const run of readdirSync(folder)) {
    // The folder of segments changes when one is begun; the files change with each line.
    const at = newestChange(runLogDir(stateDir, run));
    if (at !== undefined && (latest === undefined || at > latest.at)) {
      latest = { run, at };
    }
  }
  return latest?.run;
}

function newestChange(folder: string): number | undefined {
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true) {
    return undefined;
  }
  const times = readdirSync(folder).map((name) => statSync(`${folder}/${name}`).mtimeMs);
  return times.length === 0 ? undefined : Math.max(...times);
}
