// The answer of `POST /run`, in the words of RAGFlow's executor manager: what an end becomes there.
// Pure. Fields that do not apply are absent.
import { constants } from "node:os";
import { describeFailure } from "../../protocol/describe.ts";
import type { Json } from "../../protocol/json.ts";
import type { Failure } from "../../protocol/outcome.ts";
import type { CodeFinding } from "../policy/policy.ts";
import type { SnippetEnd } from "../snippets/snippet.ts";
import { textOf } from "./snippet-view.ts";

export type RunStatus =
  | "success"
  | "program_error"
  | "resource_limit_exceeded"
  | "unauthorized_access"
  | "runtime_error"
  | "program_runner_error";

export interface RunAnswer {
  status: RunStatus;
  stdout: string;
  stderr: string;
  exit_code: number;
  detail?: string;
  time_used_ms?: number;
  memory_used_kb?: number;
  resource_limit_type?: "time" | "memory" | "output";
  unauthorized_access_type?: "disallowed_syscall" | "file_access" | "network_access";
  runtime_error_type?: "signalled" | "nonzero_exit";
  artifacts: { name: string; mime_type: string; size: number; content_b64: string }[];
  result?: { present: boolean; value: Json; type: "json" };
  /** Beyond the original: the level that held. */
  isolation?: string;
}

/** Exit codes that are no program's. */
export const runCodes = {
  timeout: -124,
  memory: -137,
  output: -25,
  limit: -1,
  busy: -10,
  internal: -3,
  unsafe: -999,
  tooMany: -429,
} as const;

const mimeTypes: { readonly [ending: string]: string } = {
  png: "image/png",
  jpg: "image/jpeg",
  jpeg: "image/jpeg",
  svg: "image/svg+xml",
  pdf: "application/pdf",
  csv: "text/csv",
  json: "application/json",
  html: "text/html",
};
export const artifactFolder = "artifacts";
export const mostArtifacts = 10;
export const mostArtifactBytes = 10 * 2 ** 20;

/** Not hidden, in no folder, and without control characters: callers write it to their disks. */
const plainName = /^(?!\.)[^/\\\p{Cc}]+$/u;

/** What is collected: the endings that are handed on, in both cases of letters. */
export const artifactPatterns: readonly string[] = Object.keys(mimeTypes).flatMap((ending) => [
  `${artifactFolder}/*.${ending}`,
  `${artifactFolder}/*.${ending.toUpperCase()}`,
]);

export function runAnswer(end: SnippetEnd): RunAnswer {
  const { outcome, facts } = end;
  const answer: RunAnswer = {
    status: "success",
    stdout: textOf(end.stdout),
    stderr: textOf(end.stderr),
    exit_code: 0,
    artifacts: [],
  };
  if (facts.wallMs !== undefined) answer.time_used_ms = Math.round(facts.wallMs * 1000) / 1000;
  const memoryBytes = facts.peakMemoryBytes ?? facts.maxRssBytes;
  if (memoryBytes !== undefined) answer.memory_used_kb = Math.round(memoryBytes / 1024);
  if (facts.isolation !== undefined) answer.isolation = facts.isolation;
  if (outcome.kind === "succeeded") {
    answer.artifacts = artifactsOf(end);
    answer.result = { present: true, value: end.result ?? null, type: "json" };
    return answer;
  }
  if (outcome.kind !== "failed") {
    const detail = "the execution was cancelled";
    return { ...answer, status: "program_runner_error", exit_code: runCodes.internal, detail };
  }
  return { ...answer, ...failureAnswer(outcome.failure, answer.stderr) };
}

export function busyAnswer(): RunAnswer {
  return runnerError("Container pool is busy", runCodes.busy, "no_available_container");
}

export function unsafeAnswer(findings: readonly CodeFinding[]): RunAnswer {
  const lines = findings.map(({ line, message }) => `Line ${line}: ${message}`);
  return runnerError(lines.join("\n"), runCodes.unsafe, "Code is unsafe");
}

export function tooManyAnswer(): RunAnswer {
  const text = "Too many requests, please try again later";
  return runnerError(text, runCodes.tooMany, text);
}

export function runnerError(stderr: string, exitCode: number, detail: string): RunAnswer {
  return {
    status: "program_runner_error",
    stdout: "",
    stderr,
    exit_code: exitCode,
    detail,
    artifacts: [],
  };
}

function failureAnswer(failure: Failure, stderr: string): Partial<RunAnswer> {
  const limit = (
    exitCode: number,
    text: string,
    type?: NonNullable<RunAnswer["resource_limit_type"]>,
  ): Partial<RunAnswer> => ({
    status: "resource_limit_exceeded",
    exit_code: exitCode,
    stderr: joined(stderr, text),
    detail: describeFailure(failure),
    ...(type === undefined ? {} : { resource_limit_type: type }),
  });
  switch (failure.reason) {
    case "timeout":
    case "cpu-time":
      return limit(runCodes.timeout, "Execution timeout", "time");
    case "out-of-memory":
      return limit(runCodes.memory, "Memory limit exceeded (killed by OOM)", "memory");
    case "output-limit":
      return limit(runCodes.output, "Output limit exceeded", "output");
    case "pids-limit":
    case "disk-limit":
      return limit(runCodes.limit, describeFailure(failure));
    case "signal":
      return {
        status: "runtime_error",
        exit_code: 128 + signalNumber(failure.signal),
        runtime_error_type: "signalled",
        detail: describeFailure(failure),
      };
    case "exit-code":
      return programError(failure.code, stderr);
    case "bad-result":
      // What its interpreter would have printed, had it not been called.
      return programError(1, joined(stderr, failure.trace ?? failure.detail));
    default:
      return {
        status: "program_runner_error",
        exit_code: runCodes.internal,
        stderr: joined(stderr, describeFailure(failure)),
        detail: "internal_error",
      };
  }
}

/** The protocol tells them apart by what the interpreter wrote; nothing else does. */
function programError(exitCode: number, stderr: string): Partial<RunAnswer> {
  const base = { exit_code: exitCode, stderr };
  const denied = deniedOf(stderr);
  if (denied !== undefined) {
    return { ...base, status: "unauthorized_access", unauthorized_access_type: denied };
  }
  if (/^MemoryError\b/m.test(stderr) || stderr.includes("JavaScript heap out of memory")) {
    return { ...base, status: "resource_limit_exceeded", resource_limit_type: "memory" };
  }
  return { ...base, status: "program_error", runtime_error_type: "nonzero_exit" };
}

/** No snippet has a network here, so that a name that is not found was reached for in vain. */
const networkDenied =
  /Network is unreachable|ENETUNREACH|name resolution|EAI_AGAIN|Name or service not known|getaddrinfo ENOTFOUND/;

function deniedOf(stderr: string): RunAnswer["unauthorized_access_type"] {
  if (networkDenied.test(stderr)) return "network_access";
  if (/Permission denied|Read-only file system|\bEACCES\b|\bEROFS\b/.test(stderr)) {
    return "file_access";
  }
  return /Operation not permitted|\bEPERM\b/.test(stderr) ? "disallowed_syscall" : undefined;
}

function artifactsOf({ files }: SnippetEnd): RunAnswer["artifacts"] {
  const artifacts: RunAnswer["artifacts"] = [];
  for (const { name, sizeBytes, content } of files) {
    const base = name.slice(artifactFolder.length + 1);
    const type = mimeTypes[base.split(".").at(-1)?.toLowerCase() ?? ""];
    const isMeant = name.startsWith(`${artifactFolder}/`) && plainName.test(base);
    if (type === undefined || !isMeant || sizeBytes === 0 || sizeBytes > mostArtifactBytes)
      continue;
    if (artifacts.length === mostArtifacts) break;
    const bytes = Buffer.from(content.buffer, content.byteOffset, content.byteLength);
    artifacts.push({
      name: base,
      mime_type: type,
      size: sizeBytes,
      content_b64: bytes.toString("base64"),
    });
  }
  return artifacts;
}

function joined(stderr: string, text: string): string {
  if (stderr === "" || stderr.includes(text)) return stderr === "" ? text : stderr;
  return stderr.endsWith("\n") ? `${stderr}${text}` : `${stderr}\n${text}`;
}

function signalNumber(name: string): number {
  const known: { readonly [name: string]: number | undefined } = constants.signals;
  return known[name] ?? 0;
}
