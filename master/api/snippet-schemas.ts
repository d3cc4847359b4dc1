// The named schemas of what the doors for snippets answer with; the API tests compare answers with them.
import { errorClasses, type JsonSchema } from "./route.ts";

const text = { type: "string" };
const integer = { type: "integer" };
const number = { type: "number" };

const fields = {
  id: text,
  state: { type: "string", enum: ["queued", "running", "succeeded", "failed", "cancelled"] },
  language: text,
  priority: integer,
  attempt: integer,
  created_at: integer,
};

const usage = {
  type: "object",
  properties: Object.fromEntries(
    [
      "wall_ms",
      "cpu_user_ms",
      "cpu_system_ms",
      "peak_memory_bytes",
      "peak_pids",
      "read_bytes",
      "written_bytes",
      "stdout_bytes",
      "stderr_bytes",
      "dropped_bytes",
    ].map((name) => [name, number]),
  ),
};

const task: JsonSchema = {
  type: "object",
  required: Object.keys(fields),
  properties: {
    ...fields,
    owner: text,
    started_at: integer,
    finished_at: integer,
    queue_ms: number,
    exit_code: integer,
    signal: text,
    stdout: text,
    stderr: text,
    result: {},
    files: {
      type: "array",
      items: {
        type: "object",
        required: ["name", "size"],
        properties: { name: text, size: integer },
      },
    },
    refused_files: {
      type: "array",
      items: {
        type: "object",
        required: ["path", "why"],
        properties: { path: text, why: text },
      },
    },
    error: {
      type: "object",
      required: ["class", "reason", "fault", "message"],
      properties: {
        class: { type: "string", enum: errorClasses },
        reason: text,
        fault: { type: "string", enum: ["task", "limit", "platform", "agent"] },
        message: text,
        trace: text,
      },
    },
    usage,
    isolation: text,
    node: text,
    cancel_requested: { type: "boolean" },
  },
};

const tasks = { type: "array", items: { $ref: "#/components/schemas/Snippet" } };

export const snippetSchemas: JsonSchema = {
  Accepted: {
    type: "object",
    required: ["task_id", "state"],
    properties: { task_id: text, state: text },
  },
  AcceptedTasks: {
    type: "object",
    required: ["tasks"],
    properties: {
      tasks: {
        type: "array",
        items: {
          type: "object",
          required: ["id", "state"],
          properties: { id: text, state: text },
        },
      },
    },
  },
  Snippet: task,
  Snippets: { type: "object", required: ["tasks"], properties: { tasks } },
  Waited: {
    type: "object",
    required: ["done", "pending"],
    properties: { done: tasks, pending: { type: "array", items: text } },
  },
  Resources: {
    type: "object",
    required: ["slots", "free_slots", "cpus", "memory_bytes", "free_memory_bytes", "nodes"],
    properties: {
      slots: integer,
      free_slots: integer,
      cpus: number,
      memory_bytes: integer,
      free_memory_bytes: integer,
      nodes: {
        type: "array",
        items: {
          type: "object",
          required: ["id", "levels", "languages"],
          properties: {
            id: text,
            levels: { type: "array", items: text },
            languages: { type: "array", items: text },
          },
        },
      },
    },
  },
};
