// Routes about runs: submit, list, show, cancel, and their log.
import { Readable } from "node:stream";
import { type Diagnostic, formatDiagnostic, type Result } from "../../protocol/diagnostic.ts";
import type { Json } from "../../protocol/json.ts";
import {
  Findings,
  isObject,
  readBoolean,
  readId,
  readObject,
  readStringMap,
} from "../../protocol/json-read.ts";
import { frameLimitBytes, readArtifact } from "../../protocol/link-decode.ts";
import { type LogLevel, logLevels } from "../../protocol/log.ts";
import type { Gateway, Submission } from "../gateway/gateway.ts";
import { type LogQuery, readLog } from "../logs/log-reader.ts";
import type { RunSignals } from "../runs/run-signals.ts";
import type { Runs } from "../runs/runs.ts";
import { type MasterStorage, type RunQuery, runStates } from "../storage/storage.ts";
import {
  type ApiReply,
  failure,
  json,
  pathParameter,
  queryParameter,
  type Route,
} from "./route.ts";
import { ref } from "./schemas.ts";

const runsShown = 100;
const mostRunsShown = 1000;
const runId = pathParameter("run", "Run id.");

export interface RunRouteParts {
  storage: MasterStorage;
  gateway: Gateway;
  runs: Runs;
  signals: RunSignals;
}

export function runRoutes(parts: RunRouteParts): Route[] {
  const { storage, gateway, runs } = parts;
  return [
    {
      method: "GET",
      path: "/api/runs",
      needs: "read",
      id: "listRuns",
      summary: "Runs, newest first.",
      parameters: [
        queryParameter("state", "Only runs in this state.", { type: "string", enum: runStates }),
        queryParameter("node", "Only runs of this node."),
        queryParameter("dag", "Only runs of the DAG with this name."),
        queryParameter("before", "Only runs created before this Unix time in milliseconds.", {
          type: "integer",
          minimum: 0,
        }),
        queryParameter(
          "limit",
          `At most so many; ${runsShown} unless told, ${mostRunsShown} at most.`,
          {
            type: "integer",
            minimum: 1,
          },
        ),
      ],
      responses: { 200: { description: "The runs.", schema: ref("Runs") } },
      handle: async ({ query }) => {
        const wanted: RunQuery = {
          limit: Math.min(Number(query.limit ?? runsShown), mostRunsShown),
        };
        const state = runStates.find((state) => state === query.state);
        if (state !== undefined) wanted.state = state;
        if (query.node !== undefined) wanted.node = query.node;
        if (query.dag !== undefined) wanted.dag = query.dag;
        if (query.before !== undefined) wanted.before = Number(query.before);
        const found = await storage.runs(wanted);
        return json({ runs: await Promise.all(found.map((run) => runs.view(run))) });
      },
    },
    {
      method: "POST",
      path: "/api/runs",
      needs: "submit",
      id: "submitRun",
      summary: "Stores an artifact and queues a run of it for one node, or for any that fits.",
      body: {
        description: "The packed artifact, and where it should run: `node`, or `any: true`.",
        schema: {
          type: "object",
          required: ["artifact"],
          properties: {
            artifact: { type: "object" },
            params: { type: "object" },
            node: { type: "string" },
            any: { type: "boolean" },
            labels: { type: "object", additionalProperties: { type: "string" } },
          },
        },
      },
      responses: { 201: { description: "Queued.", schema: ref("Submitted") } },
      handle: async ({ body }) => {
        const submission = readSubmission(body);
        if (!submission.ok) return badRequest(submission.diagnostics);
        const bytes = gateway.tooLarge(submission.value);
        if (bytes !== undefined) {
          return failure(
            413,
            "Validation",
            "E_API_TOO_LARGE",
            `artifact and params have ${bytes} bytes as JSON; a node can be sent ${frameLimitBytes}`,
            "Leave large files out of the artifact; let a task fetch them.",
          );
        }
        const run = await gateway.submit(submission.value);
        return json({ run, state: "queued" }, 201);
      },
    },
    {
      method: "GET",
      path: "/api/runs/{run}",
      needs: "read",
      id: "getRun",
      summary: "One run with its tasks.",
      parameters: [runId],
      responses: { 200: { description: "The run.", schema: ref("Run") } },
      handle: async ({ path: { run: id = "" } }) => {
        const run = await storage.run(id);
        if (run === undefined) return unknownRun(runs, id);
        return json({ ...(await runs.view(run)), tasks: await runs.tasks(id) });
      },
    },
    {
      method: "GET",
      path: "/api/runs/{run}/tasks",
      needs: "read",
      id: "listTasks",
      summary: "The tasks of a run that were heard of, with all their attempts.",
      parameters: [runId],
      responses: { 200: { description: "The tasks.", schema: ref("Tasks") } },
      handle: async ({ path: { run: id = "" } }) => {
        if ((await storage.run(id)) === undefined) return unknownRun(runs, id);
        return json({ run: id, tasks: await runs.tasks(id) });
      },
    },
    {
      method: "POST",
      path: "/api/runs/{run}/cancel",
      needs: "submit",
      id: "cancelRun",
      summary: "Cancels a run: at once while it is queued, else as soon as its node hears of it.",
      parameters: [runId],
      responses: {
        200: { description: "It never began.", schema: ref("Cancelled") },
        202: { description: "The node is told.", schema: ref("Cancelled") },
      },
      handle: async ({ path: { run: id = "" } }) => {
        const result = await gateway.cancel(id);
        if (result === "unknown") return unknownRun(runs, id);
        if (result === "over") {
          return failure(
            409,
            "Execution",
            "E_API_RUN_OVER",
            `run ${id} is over already`,
            `GET /api/runs/${id} tells how it ended.`,
          );
        }
        return json({ run: id, result }, result === "cancelled" ? 200 : 202);
      },
    },
    logRoute(parts),
  ];
}

function logRoute({ storage, runs, signals }: RunRouteParts): Route {
  return {
    method: "GET",
    path: "/api/runs/{run}/log",
    needs: "read",
    id: "readLog",
    summary: "The combined log of a run as NDJSON, in order of line numbers.",
    parameters: [
      runId,
      queryParameter("task", "Only lines of this task; a fan-out's name stands for all its items."),
      queryParameter("stream", "Only this stream.", {
        type: "string",
        enum: ["stdout", "stderr", "log"],
      }),
      queryParameter("source", "Only the agent's lines, or only tasks'.", {
        type: "string",
        enum: ["agent", "task"],
      }),
      queryParameter("level", "Least level.", { type: "string", enum: logLevels }),
      queryParameter("after", "Only lines after this number.", { type: "integer", minimum: 0 }),
      queryParameter("limit", "At most so many lines.", { type: "integer", minimum: 1 }),
      queryParameter("follow", "Go on with lines as they arrive, until the run is over.", {
        type: "boolean",
      }),
    ],
    responses: {
      200: { description: "One line of the log per line.", type: "application/x-ndjson" },
    },
    handle: async ({ path: { run: id = "" }, query, signal }) => {
      if ((await storage.run(id)) === undefined) return unknownRun(runs, id);
      const wanted: LogQuery = {
        after: Number(query.after ?? 0),
        limit: query.limit === undefined ? Number.POSITIVE_INFINITY : Number(query.limit),
        follow: query.follow === "true" || query.follow === "",
      };
      const level = logLevels.find((level: LogLevel) => level === query.level);
      if (level !== undefined) wanted.level = level;
      if (query.task !== undefined) wanted.task = query.task;
      if (query.stream !== undefined) wanted.stream = query.stream;
      if (query.source !== undefined) wanted.source = query.source;
      const body = Readable.from(readLog(storage, signals, id, wanted, signal));
      return { kind: "stream", status: 200, type: "application/x-ndjson", body };
    },
  };
}

export async function unknownRun(runs: Runs, id: string): Promise<ApiReply> {
  const near = await runs.nearestId(id);
  return failure(
    404,
    "Resource",
    "E_API_RUN",
    `there is no run ${id}`,
    near === undefined ? "GET /api/runs lists the runs." : `Did you mean ${near}?`,
  );
}

function badRequest(diagnostics: readonly Diagnostic[]): ApiReply {
  const [first] = diagnostics;
  return failure(
    400,
    "Validation",
    first?.code ?? "E_API_BODY",
    diagnostics.map((found) => formatDiagnostic(found).split("\n")[0]).join("; "),
    first?.remedy ?? "",
  );
}

const submitRemedy =
  "Send {artifact, params?, node | any: true, labels?}; `edgedag pack` makes the artifact.";

function readSubmission(value: unknown): Result<Submission> {
  const findings = new Findings("E_API_SUBMIT", submitRemedy);
  // Parsed by the server from JSON text; readers below check every field that is used.
  const body = value as Json | undefined;
  if (!isObject(body)) {
    findings.add("", "the body must be a JSON object");
    return { ok: false, diagnostics: findings.list };
  }
  const submission: Submission = {
    artifact: readArtifact(body, "artifact", findings),
    labels: body.labels === undefined ? {} : readStringMap(body, "labels", "", findings),
  };
  if (body.params !== undefined) submission.params = readObject(body, "params", "", findings);
  const isAny = body.any !== undefined && readBoolean(body, "any", "", findings);
  if (body.node !== undefined) submission.node = readId(body, "node", "", findings);
  if (isAny === (submission.node !== undefined)) {
    findings.add("node", "say either `node` or `any: true`");
  }
  return findings.list.length > 0
    ? { ok: false, diagnostics: findings.list }
    : { ok: true, value: submission };
}
