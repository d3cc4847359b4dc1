// Routes about results of tasks and artifacts of runs.
import { Readable } from "node:stream";
import { receiptName, receiptTask } from "../../protocol/signing/receipt.ts";
import { nearest } from "../nearest.ts";
import type { FoundResult, Results } from "../results/results.ts";
import type { Runs } from "../runs/runs.ts";
import type { MasterStorage, ObjectRow } from "../storage/storage.ts";
import {
  type ApiReply,
  failure,
  json,
  pathParameter,
  queryParameter,
  type Route,
} from "./route.ts";
import { unknownRun } from "./run-routes.ts";
import { ref } from "./schemas.ts";

const runId = pathParameter("run", "Run id.");
const taskKey = pathParameter("task", "Task key, `months` or `months[3]`, percent-encoded.");

export function resultRoutes(storage: MasterStorage, runs: Runs, results: Results): Route[] {
  return [
    {
      method: "GET",
      path: "/api/runs/{run}/results",
      needs: "read",
      id: "listResults",
      summary: "Results of all tasks; a fan-out has its items in order.",
      parameters: [runId],
      responses: {
        200: {
          description: "`value` is the result; a large one is only named, with its address.",
          schema: ref("Results"),
        },
      },
      handle: async ({ path: { run = "" } }) =>
        (await storage.run(run)) === undefined
          ? unknownRun(runs, run)
          : json({ run, results: await results.all(run) }),
    },
    {
      method: "GET",
      path: "/api/runs/{run}/results/{task}",
      needs: "read",
      id: "getResult",
      summary: "The result of one task as it is; of a fan-out, the list of its items' results.",
      parameters: [runId, taskKey],
      responses: { 200: { description: "The result, any JSON.", schema: {} } },
      handle: async ({ path: { run = "", task = "" } }) => {
        if ((await storage.run(run)) === undefined) return unknownRun(runs, run);
        const found = await results.one(run, task);
        return found.kind === "found"
          ? {
              kind: "stream",
              status: 200,
              type: "application/json",
              body: Readable.from(found.text),
            }
          : noResult(runs, run, task, found);
      },
    },
    {
      method: "GET",
      path: "/api/runs/{run}/artifacts",
      needs: "read",
      id: "listArtifacts",
      summary: "Artifacts that tasks of a run left.",
      parameters: [runId],
      responses: { 200: { description: "The artifacts.", schema: ref("Artifacts") } },
      handle: async ({ path: { run = "" } }) => {
        if ((await storage.run(run)) === undefined) return unknownRun(runs, run);
        const artifacts = (await storage.objects(run, "artifact")).map(
          ({ task, attempt, name, sizeBytes, sha256, state }) => ({
            task,
            attempt,
            name,
            sizeBytes,
            sha256,
            state,
          }),
        );
        return json({ run, artifacts });
      },
    },
    {
      method: "GET",
      path: "/api/runs/{run}/artifacts/{task}/{name}",
      needs: "read",
      isDeep: true,
      id: "getArtifact",
      summary:
        "The bytes of an artifact, compared with their SHA-256; the newest attempt's unless told.",
      parameters: [
        runId,
        taskKey,
        pathParameter("name", "Name of the artifact; slashes may stand as they are."),
        queryParameter("attempt", "Only the one of this attempt.", { type: "integer", minimum: 1 }),
      ],
      responses: { 200: { description: "The bytes.", type: "application/octet-stream" } },
      handle: async ({ path: { run = "", task = "", name = "" }, query }) => {
        if ((await storage.run(run)) === undefined) return unknownRun(runs, run);
        const attempt = query.attempt === undefined ? undefined : Number(query.attempt);
        const object = await results.artifact(run, task, name, attempt);
        if (object === undefined) return noArtifact(storage, run, task, name);
        if (object.state !== "verified") return notServed(object);
        return {
          kind: "stream",
          status: 200,
          type: "application/octet-stream",
          body: Readable.from(results.bytes(object)),
          headers: {
            "content-length": String(object.sizeBytes),
            "content-disposition": "attachment",
            etag: `"${object.sha256}"`,
          },
        };
      },
    },
    receiptRoute({ storage, runs, results }),
  ];
}

function receiptRoute({ storage, runs, results }: ResultRouteParts): Route {
  return {
    method: "GET",
    path: "/api/runs/{run}/receipt",
    needs: "read",
    id: "getReceipt",
    summary: "What the node has signed of a run that has ended: a DSSE envelope.",
    parameters: [runId],
    responses: {
      200: { description: "The receipt.", schema: {} },
      404: { description: "The run has none, or there is no such run.", schema: ref("Error") },
    },
    handle: async ({ path: { run = "" } }) => {
      if ((await storage.run(run)) === undefined) return unknownRun(runs, run);
      const object = await results.artifact(run, receiptTask, receiptName);
      if (object === undefined) {
        return failure(
          404,
          "Resource",
          "E_API_NO_RECEIPT",
          `there is no receipt of run ${run}`,
          "Nodes with EDGEDAG_RECEIPTS=on make one at the end of each run.",
        );
      }
      // Not compared with its SHA-256 yet is good enough: whoever reads it looks at its signature.
      if (object.state !== "verified" && object.state !== "whole") return notServed(object);
      const body = Readable.from(results.bytes(object));
      return { kind: "stream", status: 200, type: "application/json", body };
    },
  };
}

interface ResultRouteParts {
  storage: MasterStorage;
  runs: Runs;
  results: Results;
}

async function noResult(
  runs: Runs,
  run: string,
  task: string,
  found: Exclude<FoundResult, { kind: "found" }>,
): Promise<ApiReply> {
  switch (found.kind) {
    case "no-task": {
      const known = (await runs.tasks(run)).map((view) => view.task);
      const near = nearest(task, known);
      return failure(
        404,
        "Resource",
        "E_API_TASK",
        `run ${run} has no task ${task}, or it has not begun`,
        near === undefined
          ? `GET /api/runs/${run}/tasks lists its tasks.`
          : `Did you mean ${near}?`,
      );
    }
    case "none":
      return failure(
        404,
        "Resource",
        "E_API_NO_RESULT",
        `task ${task} of run ${run} has no result: ${found.outcome?.kind ?? "not finished"}`,
        "Its outcome and log tell more.",
      );
    case "not-served":
      return notServed(found.object);
  }
}

async function noArtifact(storage: MasterStorage, run: string, task: string, name: string) {
  const known = (await storage.objects(run, "artifact")).map((o) => `${o.task}/${o.name}`);
  const near = nearest(`${task}/${name}`, known);
  return failure(
    404,
    "Resource",
    "E_API_ARTIFACT",
    `run ${run} has no artifact ${name} of task ${task}`,
    near === undefined ? `GET /api/runs/${run}/artifacts lists them.` : `Did you mean ${near}?`,
  );
}

function notServed(object: ObjectRow): ApiReply {
  if (object.state === "corrupt") {
    return failure(
      500,
      "Resource",
      "E_API_CORRUPT",
      `${object.name} of task ${object.task} does not match the SHA-256 that its node announced`,
      "Run the task again; the disk or memory of the node or the master may be failing.",
    );
  }
  return failure(
    409,
    "Resource",
    "E_API_ARRIVING",
    `${object.partsStored} of ${object.parts} parts of ${object.name} have arrived`,
    "Ask again soon.",
  );
}
