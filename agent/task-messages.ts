// What tasks say through the SDK: publications on `edgedag.*` channels of the run's store. They
// come from user code, so that every field is checked, also against what the master accepts: one
// record that it refuses would hold up all the others. What does not fit is said, not thrown.
import { isTooDeep } from "../protocol/json-depth.ts";
import { type LogLevel, logLevels } from "../protocol/log.ts";

export type TaskMessage =
  | {
      type: "log";
      task: string;
      attempt: number;
      level: LogLevel;
      text: string;
      fields?: Record<string, unknown>;
    }
  | { type: "progress"; task: string; attempt: number; fraction: number; text?: string }
  | { type: "artifact"; task: string; attempt: number; path: string; name?: string };

const maxPayloadChars = 2 ** 20;
const maxTextChars = 64 * 1024;
/** Names of artifacts and their paths. */
const maxNameChars = 4096;
/** `months`, or `months[3]`. */
const taskKeyPattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,199}(\[\d{1,9}\])?$/;

/** `undefined`: the channel is not one of ours. A text: why the message was not understood. */
export function readTaskMessage(
  channel: string,
  payload: string,
): TaskMessage | string | undefined {
  if (!channel.startsWith("edgedag.")) return undefined;
  if (payload.length > maxPayloadChars) return `a message on ${channel} is larger than 1 MiB`;
  const message = parse(payload);
  if (message === undefined) return `a message on ${channel} is not a JSON object`;
  const { task, attempt, text } = message;
  const isKnown = typeof task === "string" && taskKeyPattern.test(task);
  if (!isKnown || typeof attempt !== "number" || !Number.isSafeInteger(attempt) || attempt < 1) {
    return `a message on ${channel} does not say which task and attempt it is from`;
  }
  switch (channel) {
    case "edgedag.log": {
      const level = logLevels.find((known) => known === message.level) ?? "info";
      if (typeof text !== "string") return "a log message has no text";
      const { fields } = message;
      if (isTooDeep(fields)) return "the fields of a log message are nested too deeply";
      return isObject(fields) && Object.keys(fields).length > 0
        ? { type: "log", task, attempt, level, text, fields }
        : { type: "log", task, attempt, level, text };
    }
    case "edgedag.progress": {
      const { fraction } = message;
      if (typeof fraction !== "number" || !(fraction >= 0 && fraction <= 1)) {
        return "progress must be a number from 0 to 1";
      }
      const base = { type: "progress", task, attempt, fraction } as const;
      return typeof text === "string" ? { ...base, text: text.slice(0, maxTextChars) } : base;
    }
    case "edgedag.artifact": {
      const { path, name } = message;
      if (typeof path !== "string" || path === "") return "an artifact has no path";
      const longest = Math.max(path.length, typeof name === "string" ? name.length : 0);
      if (longest > maxNameChars) return "the name or path of an artifact is too long";
      const base = { type: "artifact", task, attempt, path } as const;
      return typeof name === "string" && name !== "" ? { ...base, name } : base;
    }
    default:
      return `there is no channel ${JSON.stringify(channel.slice(0, 100))}`;
  }
}

function parse(payload: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(payload);
    return isObject(value) ? value : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
