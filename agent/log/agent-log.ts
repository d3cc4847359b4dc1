// The agent's own log: <state>/log/agent.ndjson in the shape of LogLine (without `seq`), bounded, and
// beside it readable lines on stderr for a service manager. pino is loaded when it is opened, since
// `edgedag run` has no such log and must not pay for it.
import type { Result } from "../../protocol/diagnostic.ts";
import type { LogLevel } from "../../protocol/log.ts";
import { agentLogPath } from "../../protocol/state-paths.ts";
import { BoundedFile } from "./bounded-file.ts";
import { RepeatLimit } from "./repeat-limit.ts";

export interface AgentLog {
  /** Needs no `this`. */
  say(level: LogLevel, text: string, fields?: Record<string, unknown>): void;
  close(): Promise<void>;
}

export interface AgentLogOptions {
  stateDir: string;
  /** Lines below it are left out. */
  level: LogLevel;
  io: { stderr: { write(text: string): unknown } };
  /** Most bytes on disk; default 16 MiB. */
  limitBytes?: number;
  now?(): number;
}

/** Fails with E_STATE_READONLY when the file cannot be opened. */
export async function openAgentLog(options: AgentLogOptions): Promise<Result<AgentLog>> {
  const { stateDir, level, io, limitBytes = 16 * 1024 ** 2, now = Date.now } = options;
  const path = agentLogPath(stateDir);
  let file: BoundedFile;
  try {
    file = new BoundedFile(path, limitBytes);
  } catch (error) {
    const message = `the agent's log cannot be opened (${error instanceof Error ? error.message : error})`;
    const remedy = "Make EDGEDAG_STATE writable for this user, or set it to a folder that is.";
    return { ok: false, diagnostics: [{ code: "E_STATE_READONLY", path, message, remedy }] };
  }
  const { pino } = await import("../../protocol/pino-logger.ts");
  const logger = pino(
    {
      level,
      base: { source: "agent" },
      messageKey: "text",
      nestedKey: "fields",
      timestamp: () => `,"time":${now()}`,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: (line: string) => file.write(line) },
  );
  const limit = new RepeatLimit();
  const say: AgentLog["say"] = (lineLevel, text, fields) => {
    if (!logger.isLevelEnabled(lineLevel)) {
      return;
    }
    const held = limit.pass(text, now());
    if (held === undefined) {
      return;
    }
    const whole = held === 0 ? text : `${text} (${held} more like it were left out)`;
    logger[lineLevel](fields ?? {}, whole);
    io.stderr.write(`${new Date(now()).toISOString()} ${lineLevel} ${whole}\n`);
  };
  const close = async () => {
    if (file.droppedLines > 0) {
      io.stderr.write(`${file.droppedLines} lines could not be written to ${path}\n`);
    }
    file.close();
  };
  return { ok: true, value: { say, close } };
}
