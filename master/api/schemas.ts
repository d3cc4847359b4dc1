// The named schemas of the OpenAPI document. They describe what the views of nodes, runs, logs and
// results answer with; the API tests compare every answer with its schema.
import { runStates } from "../storage/storage.ts";
import { errorClasses, type JsonSchema } from "./route.ts";
import { snippetSchemas } from "./snippet-schemas.ts";

const text = { type: "string" };
const integer = { type: "integer" };
const number = { type: "number" };
const flag = { type: "boolean" };
const strings = { type: "object", additionalProperties: text };

function object(required: JsonSchema, optional: JsonSchema = {}): JsonSchema {
  return {
    type: "object",
    required: Object.keys(required),
    properties: { ...required, ...optional },
  };
}

export const ref = (name: string): JsonSchema => ({ $ref: `#/components/schemas/${name}` });
export const listOf = (name: string): JsonSchema => ({ type: "array", items: ref(name) });

const outcome = object(
  { kind: { type: "string", enum: ["succeeded", "failed", "skipped", "cancelled"] } },
  { failure: { type: "object" }, because: text, by: text, failed: { type: "array", items: text } },
);

export const schemas: JsonSchema = {
  Error: object({
    error: object(
      {
        class: { type: "string", enum: errorClasses },
        code: text,
        message: text,
        remedy: text,
      },
      { diagnostics: listOf("Diagnostic") },
    ),
  }),
  Diagnostic: object({ code: text, path: text, message: text, remedy: text }),
  Outcome: outcome,
  Node: object(
    {
      id: text,
      state: { type: "string", enum: ["alive", "late", "lost"] },
      connected: flag,
      firstSeenAt: number,
      lastSeenAt: number,
      agentVersion: text,
      boot: text,
      capabilities: { type: "object" },
      labels: strings,
      wantsRuns: flag,
      ackedSeq: integer,
      missingRecords: integer,
    },
    {
      activity: { type: "string", enum: ["starting", "idle", "running", "draining"] },
      runs: { type: "object" },
      load: number,
      rssBytes: number,
      outbox: integer,
      loopLagMs: number,
      sentBytes: integer,
      slots: integer,
      sandboxes: { type: "array", items: { type: "object" } },
      revokedAt: number,
      keys: {
        type: "array",
        items: object({
          key: text,
          state: { type: "string", enum: ["valid", "next", "revoked"] },
          createdAt: number,
        }),
      },
      events: listOf("NodeEvent"),
    },
  ),
  NodeEvent: object({ time: number, event: text, detail: text }),
  Nodes: object({ nodes: listOf("Node") }),
  Run: object(
    {
      id: text,
      dag: text,
      digest: text,
      state: { type: "string", enum: runStates },
      source: { type: "string", enum: ["gateway", "node"] },
      any: flag,
      labels: strings,
      createdAt: number,
      progress: object({ finished: integer, failed: integer, total: integer, running: integer }),
      refusals: { type: "array", items: object({ node: text, code: text, detail: text }) },
    },
    {
      node: text,
      nodeState: { type: "string", enum: ["alive", "late", "lost"] },
      params: { type: "object" },
      offeredAt: number,
      acceptedAt: number,
      startedAt: number,
      finishedAt: number,
      outcome: ref("Outcome"),
      summary: { type: "object" },
      cancel: text,
      waitsBecause: text,
      tasks: listOf("Task"),
    },
  ),
  Runs: object({ runs: listOf("Run") }),
  Attempt: object(
    { attempt: integer, state: { type: "string", enum: ["running", "finished"] }, time: number },
    { outcome: ref("Outcome"), facts: { type: "object" } },
  ),
  Task: object(
    {
      task: text,
      state: { type: "string", enum: ["running", "retrying", "finished"] },
      attempts: listOf("Attempt"),
      hasResult: flag,
    },
    {
      outcome: ref("Outcome"),
      facts: { type: "object" },
      progress: object({ fraction: number }, { text }),
    },
  ),
  Tasks: object({ run: text, tasks: listOf("Task") }),
  Artifact: object({
    task: text,
    attempt: integer,
    name: text,
    sizeBytes: integer,
    sha256: text,
    state: { type: "string", enum: ["arriving", "whole", "verified", "corrupt"] },
  }),
  Artifacts: object({ run: text, artifacts: listOf("Artifact") }),
  LargeResult: object({ sizeBytes: integer, sha256: text, state: text, url: text }),
  Result: object(
    { task: text },
    {
      outcome: ref("Outcome"),
      value: {},
      large: ref("LargeResult"),
      items: { type: "array", items: ref("Result") },
    },
  ),
  Results: object({ run: text, results: listOf("Result") }),
  EnrollToken: object({ node: text, token: text, expiresAt: number }),
  Revoked: object({ node: text, revokedAt: number }),
  Submitted: object({ run: text, state: { type: "string", enum: ["queued"] } }),
  Offer: object({ run: text, artifact: { type: "object" } }, { params: { type: "object" } }),
  Cancelled: object({ run: text, result: { type: "string", enum: ["cancelled", "requested"] } }),
  Health: object({ status: text }),
  Readiness: object({
    status: text,
    nodes: integer,
    connections: integer,
    problems: { type: "array", items: text },
  }),
  ...snippetSchemas,
};
