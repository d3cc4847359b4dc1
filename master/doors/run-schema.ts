// What `POST /run` takes and answers, for the OpenAPI document.
import type { JsonSchema } from "../api/route.ts";

const text = { type: "string" };
const number = { type: "number" };

export const runSchema: JsonSchema = {
  type: "object",
  required: ["status", "stdout", "stderr", "exit_code", "artifacts"],
  properties: {
    status: {
      type: "string",
      enum: [
        "success",
        "program_error",
        "resource_limit_exceeded",
        "unauthorized_access",
        "runtime_error",
        "program_runner_error",
      ],
    },
    stdout: text,
    stderr: text,
    exit_code: { type: "integer" },
    detail: text,
    time_used_ms: number,
    memory_used_kb: number,
    resource_limit_type: { type: "string", enum: ["time", "memory", "output"] },
    unauthorized_access_type: {
      type: "string",
      enum: ["disallowed_syscall", "file_access", "network_access"],
    },
    runtime_error_type: { type: "string", enum: ["signalled", "nonzero_exit"] },
    artifacts: {
      type: "array",
      items: {
        type: "object",
        required: ["name", "mime_type", "size", "content_b64"],
        properties: { name: text, mime_type: text, size: { type: "integer" }, content_b64: text },
      },
    },
    result: {
      type: "object",
      required: ["present", "value", "type"],
      properties: { present: { type: "boolean" }, value: {}, type: text },
    },
    isolation: text,
  },
};

/** As FastAPI tells of what is wrong in a request. */
export const invalidSchema: JsonSchema = {
  type: "object",
  required: ["detail"],
  properties: {
    detail: {
      type: "array",
      items: {
        type: "object",
        required: ["loc", "msg", "type"],
        properties: { loc: { type: "array", items: text }, msg: text, type: text },
      },
    },
  },
};

/** As FastAPI tells of any other refusal. */
export const refusalSchema: JsonSchema = {
  type: "object",
  required: ["detail"],
  properties: { detail: text },
};

const code = 'def main(a, b):\n    print("adding")\n    return {"sum": a + b}\n';

export const runRequestExample = {
  code_b64: Buffer.from(code).toString("base64"),
  language: "python",
  arguments: { a: 1, b: 2 },
};

export const runExample = {
  status: "success",
  stdout: "adding\n",
  stderr: "",
  exit_code: 0,
  artifacts: [],
  time_used_ms: 1.2,
  memory_used_kb: 9216,
  isolation: "gvisor",
  result: { present: true, value: { sum: 3 }, type: "json" },
};
