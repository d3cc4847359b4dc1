// What a task tells the agent while it runs: log lines, progress, and files that it leaves behind.
// They are publications on channels that the agent listens to; any Redis client could send them.
import { statSync } from "node:fs";
import { basename } from "node:path";
import { execute } from "./connection.js";
import { task } from "./context.js";
import { toJson } from "./store.js";

const levels = ["trace", "debug", "info", "warn", "error", "fatal"];

async function report(channel, message) {
  const body = { task: task.key, attempt: task.attempt, ...message };
  await execute(["PUBLISH", channel, toJson(body)]);
}

function line(level, text, fields = {}) {
  if (!levels.includes(level)) throw new TypeError(`${level} is no level: ${levels.join(", ")}`);
  const sent = report("edgedag.log", { level, text, fields });
  // Often nobody awaits a log line; its failure then must not end the task.
  sent.catch(() => {});
  return sent;
}

export const log = Object.assign((text, level = "info", fields = {}) => line(level, text, fields), {
  trace: (text, fields) => line("trace", text, fields),
  debug: (text, fields) => line("debug", text, fields),
  info: (text, fields) => line("info", text, fields),
  warn: (text, fields) => line("warn", text, fields),
  error: (text, fields) => line("error", text, fields),
});

export async function progress(fraction, text) {
  if (!(fraction >= 0 && fraction <= 1)) {
    throw new RangeError(`progress is a fraction from 0 to 1, not ${fraction}`);
  }
  await report("edgedag.progress", text === undefined ? { fraction } : { fraction, text });
}

export async function artifact(path, name = basename(path)) {
  if (statSync(path, { throwIfNoEntry: false })?.isFile() !== true) {
    throw new Error(`there is no file ${path} to hand over`);
  }
  await report("edgedag.artifact", { name, path });
}
