// Decodes what agent and master say to each other of snippets. Everything that an agent will act on
// is read field by field: a node believes nobody. Findings go to the caller's list; nothing is thrown.
import type { ArtifactFile } from "./artifact.ts";
import { sha256Hex } from "./canonical.ts";
import type { TaskAttributes, TaskRun } from "./dag.ts";
import type { Json } from "./json.ts";
import {
  type Findings,
  isObject,
  type JsonObject,
  readBoolean,
  readCount,
  readId,
  readList,
  readNumber,
  readObject,
  readString,
  readStringMap,
  readStrings,
  readWord,
} from "./json-read.ts";
import type { SnippetAttempt, SnippetOrder, SnippetWord } from "./link.ts";
import { sandboxLevels } from "./outcome.ts";
import { readFacts, readOutcome } from "./outcome-decode.ts";
import { artifactPathProblem } from "./safe-path.ts";

const textLimitChars = 16 * 2 ** 20;

/** Undefined: it is of something else. */
export function readSnippetWord(frame: JsonObject, findings: Findings): SnippetWord | undefined {
  switch (frame.type) {
    case "snippets-held":
      return {
        type: "snippets-held",
        held: readList(frame, "held", "", findings).map((entry, index) => {
          const at = `held[${index}]`;
          if (!isObject(entry)) findings.add(at, "must be an object");
          return readAttempt(isObject(entry) ? entry : {}, at, findings);
        }),
      };
    case "snippet-started":
      return {
        type: "snippet-started",
        ...readAttempt(frame, "", findings),
        at: readNumber(frame, "at", "", findings),
      };
    case "snippet-output":
      return {
        type: "snippet-output",
        ...readAttempt(frame, "", findings),
        part: readCount(frame, "part", "", findings, 1),
        stream: readWord(frame, "stream", "", findings, ["stdout", "stderr"]),
        data: readString(frame, "data", "", findings, textLimitChars),
      };
    case "snippet-file":
      return {
        type: "snippet-file",
        ...readAttempt(frame, "", findings),
        name: readString(frame, "name", "", findings, 4096),
        part: readCount(frame, "part", "", findings, 1),
        parts: readCount(frame, "parts", "", findings, 1),
        sizeBytes: readCount(frame, "sizeBytes", "", findings),
        data: readString(frame, "data", "", findings, textLimitChars),
      };
    case "snippet-ended":
      return {
        type: "snippet-ended",
        ...readAttempt(frame, "", findings),
        outcome: readOutcome(frame, "outcome", "", findings),
        facts: readFacts(frame, "facts", "", findings),
        ...(frame.result === undefined ? {} : { result: frame.result }),
        files: readCount(frame, "files", "", findings),
        refused: readList(frame, "refused", "", findings).map((entry, index) => {
          const at = `refused[${index}]`;
          const from = isObject(entry) ? entry : {};
          return {
            path: readString(from, "path", at, findings),
            why: readString(from, "why", at, findings),
          };
        }),
        finishedAt: readNumber(frame, "finishedAt", "", findings),
      };
    case "snippet-returned":
      return {
        type: "snippet-returned",
        ...readAttempt(frame, "", findings),
        detail: readString(frame, "detail", "", findings),
      };
    default:
      return undefined;
  }
}

/** Undefined: it is of something else. */
export function readSnippetOrder(frame: JsonObject, findings: Findings): SnippetOrder | undefined {
  switch (frame.type) {
    case "snippet-assigned":
      return {
        type: "snippet-assigned",
        ...readAttempt(frame, "", findings),
        task: readTask(frame, findings),
        files: readList(frame, "files", "", findings).map((file, i) => readFile(file, i, findings)),
        folders: readPaths(frame, "folders", findings),
      };
    case "snippet-cancel":
      return { type: "snippet-cancel", ...readAttempt(frame, "", findings) };
    case "snippet-settled":
      return { type: "snippet-settled", ...readAttempt(frame, "", findings) };
    default:
      return undefined;
  }
}

function readAttempt(from: JsonObject, at: string, findings: Findings): SnippetAttempt {
  return {
    // It becomes the name of a folder.
    id: readId(from, "id", at, findings),
    attempt: readCount(from, "attempt", at, findings, 1),
  };
}

function readTask(frame: JsonObject, findings: Findings): TaskAttributes {
  const at = "task";
  const from = readObject(frame, "task", "", findings);
  const retries = readObject(from, "retries", at, findings);
  const task: TaskAttributes = {
    run: readRun(from, findings),
    graceMs: readNumber(from, "graceMs", at, findings),
    retries: {
      limit: readCount(retries, "limit", "task.retries", findings),
      lost: readCount(retries, "lost", "task.retries", findings),
      backoffMs: 0,
      factor: 1,
      maxBackoffMs: 0,
      jitter: 0,
    },
    priority: readNumber(from, "priority", at, findings),
    isolation: readWord(from, "isolation", at, findings, sandboxLevels),
  };
  if (from.args !== undefined) task.args = readObject(from, "args", at, findings);
  if (from.env !== undefined) task.env = readStringMap(from, "env", at, findings);
  if (from.stdin !== undefined)
    task.stdin = readString(from, "stdin", at, findings, textLimitChars);
  if (from.outputs !== undefined) task.outputs = readStrings(from, "outputs", at, findings);
  if (from.timeoutMs !== undefined) task.timeoutMs = readNumber(from, "timeoutMs", at, findings);
  if (from.limits !== undefined) task.limits = readLimits(from, findings);
  return task;
}

function readRun(task: JsonObject, findings: Findings): TaskRun {
  const at = "task.run";
  const run = readObject(task, "run", "task", findings);
  const kinds = ["command", "python", "node", "code"] as const;
  const kind = readWord(run, "kind", at, findings, kinds);
  const text = (name: string) => readString(run, name, at, findings, textLimitChars);
  switch (kind) {
    case "command":
      return { kind, argv: readStrings(run, "argv", at, findings) };
    case "python":
    case "node":
      return { kind, code: text("code"), function: text("function") };
    case "code":
      return {
        kind,
        language: text("language"),
        code: text("code"),
        args: readStrings(run, "args", at, findings),
      };
  }
}

const limitNames = [
  "memoryBytes",
  "cpuMs",
  "outputBytes",
  "openFiles",
  "fileSizeBytes",
  "cpus",
  "pids",
  "diskBytes",
  "artifacts",
  "artifactBytes",
] as const;

function readLimits(task: JsonObject, findings: Findings): NonNullable<TaskAttributes["limits"]> {
  const from = readObject(task, "limits", "task", findings);
  const limits: NonNullable<TaskAttributes["limits"]> = {};
  for (const name of limitNames) {
    if (from[name] !== undefined) limits[name] = readNumber(from, name, "task.limits", findings);
  }
  return limits;
}

function readFile(value: Json, index: number, findings: Findings): ArtifactFile {
  const at = `files[${index}]`;
  const from = isObject(value) ? value : {};
  const path = readString(from, "path", at, findings, 4096);
  const problem = artifactPathProblem(path);
  if (problem !== undefined) findings.add(`${at}.path`, `must not be written: ${problem}`);
  const sha256 = readString(from, "sha256", at, findings, 64);
  const isText = from.text !== undefined;
  const content = readString(from, isText ? "text" : "base64", at, findings, textLimitChars);
  const bytes = Buffer.from(content, isText ? "utf8" : "base64");
  if (sha256Hex(bytes) !== sha256) findings.add(at, "is not what its digest says");
  const isExecutable =
    from.executable === undefined ? false : readBoolean(from, "executable", at, findings);
  return {
    path,
    ...(isExecutable ? { executable: true } : {}),
    sha256,
    ...(isText ? { text: content } : { base64: content }),
  };
}

function readPaths(frame: JsonObject, key: string, findings: Findings): string[] {
  const paths = readStrings(frame, key, "", findings);
  for (const [index, path] of paths.entries()) {
    const problem = artifactPathProblem(path);
    if (problem !== undefined) findings.add(`${key}[${index}]`, `must not be made: ${problem}`);
  }
  return paths;
}
