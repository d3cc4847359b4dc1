// The door of a library: commands in batches, waited for together, with what there is of resources
// and what was used of them.
import type { Diagnostic } from "../../protocol/diagnostic.ts";
import { type ApiReply, failure, json, pathParameter, type Route } from "../api/route.ts";
import { ref } from "../api/schemas.ts";
import type { NewSnippet } from "../snippets/store/store.ts";
import type { DoorParts } from "./door-parts.ts";
import { Input, isObject } from "./input.ts";
import { cancelOf, resultOf } from "./one-snippet.ts";
import { readCommand } from "./read-command.ts";
import { digestOf } from "./read-given.ts";
import { counted, invalid, mostWaitMs, notFound, submitFailure, taskOf } from "./replies.ts";
import { listOfSnippets } from "./snippet-list.ts";
import { viewOf } from "./snippet-view.ts";

const mostTasks = 1000;
const mostIds = 10_000;
const taskId = pathParameter("id", "What `POST /tasks` answered.");
const tasksExample = [
  { command: "python3", args: ["-c", "print(6 * 7)"], limits: { memory: "128Mi" } },
  { command: "sh", args: ["-c", "wc -l < in.txt"], files: { "in.txt": "a\nb\n" }, priority: 7 },
];

export function batchDoor(parts: DoorParts): Route[] {
  const { snippets, statistics } = parts;
  const shared = { needs: "snippets" } as const;
  return [
    {
      ...shared,
      method: "POST",
      path: "/tasks",
      id: "submitTasks",
      isLimited: true,
      summary: "Takes commands in, all or none of them.",
      body: {
        description: "A list of commands; each needs `command`.",
        schema: {
          type: "array",
          items: {
            type: "object",
            required: ["command"],
            properties: {
              command: { type: "string" },
              args: { type: "array", items: { type: "string" } },
              env: { type: "object", additionalProperties: { type: "string" } },
              stdin: { type: "string" },
              files: { type: "object" },
              outputs: { type: "array", items: { type: "string" } },
              limits: { type: "object" },
              isolation: { type: "string" },
              priority: { type: "integer", minimum: 0, maximum: 9 },
              callback: { type: "string" },
              idempotency_key: { type: "string" },
            },
          },
        },
        example: tasksExample,
      },
      responses: {
        202: {
          description: "Their ids, in order.",
          schema: ref("AcceptedTasks"),
          example: { tasks: [{ id: "0mf1k2j3h40000-9c51e0a2b7d4", state: "queued" }] },
        },
      },
      handle: async ({ body, identity, headers }) => {
        const read = readTasks(parts, body, identity.owner, textOf(headers["idempotency-key"]));
        if ("kind" in read) return counted(parts, read);
        try {
          const inserted = await snippets.submit(read.snippets);
          const conflict = inserted.findIndex(({ kind }) => kind === "conflict");
          if (conflict !== -1) return counted(parts, reused(conflict));
          return json({ tasks: inserted.map(({ id }) => ({ id, state: "queued" })) }, 202);
        } catch (error) {
          return counted(parts, submitFailure(error));
        }
      },
    },
    {
      ...shared,
      method: "GET",
      path: "/tasks",
      id: "listTasks",
      summary: "The caller's tasks, newest first.",
      ...listOfSnippets(snippets, "tasks"),
    },
    {
      ...shared,
      method: "GET",
      path: "/tasks/{id}",
      id: "task",
      summary: "What became of a task.",
      ...resultOf(snippets, taskId),
    },
    {
      ...shared,
      method: "POST",
      path: "/tasks/wait",
      id: "waitForTasks",
      summary: "Which of these tasks have ended by now, or within the time.",
      body: {
        description:
          "`ids`; `timeout` (seconds or text like 5s; 0 answers at once, 60s at most); `count`: how many are enough (all).",
        schema: {
          type: "object",
          required: ["ids"],
          properties: {
            ids: { type: "array", items: { type: "string" } },
            timeout: {},
            count: { type: "integer", minimum: 1 },
          },
        },
        example: { ids: ["0mf1k2j3h40000-9c51e0a2b7d4"], timeout: "5s" },
      },
      responses: { 200: { description: "Done and pending ones.", schema: ref("Waited") } },
      handle: async ({ body, identity, signal }) => {
        const problems: Diagnostic[] = [];
        const input = Input.of(body, "", problems);
        input?.only(["ids", "timeout", "count"]);
        const ids = [...new Set(input?.strings("ids", mostIds) ?? [])];
        const timeoutMs = input?.raw("timeout") === 0 ? 0 : input?.duration("timeout", 86_400_000);
        const count = input?.whole("count", 1, mostIds) ?? ids.length;
        if (problems.length > 0) return invalid(problems);
        const limitMs = Math.min(timeoutMs ?? 0, mostWaitMs);
        const known = await Promise.all(ids.map((id) => taskOf(snippets, id, identity)));
        const missing = ids.find((_, index) => known[index] === undefined);
        if (missing !== undefined) return notFound(missing);
        const done = await waitForSome(parts, ids, { count, limitMs, signal });
        return json({
          done: done.map(viewOf),
          pending: ids.filter((id) => !done.some(({ snippet }) => snippet.id === id)),
        });
      },
    },
    {
      ...shared,
      method: "POST",
      path: "/tasks/{id}/cancel",
      id: "cancelTask",
      summary: "Cancels a task, whether it waits or runs.",
      ...cancelOf(snippets, taskId),
    },
    {
      ...shared,
      method: "GET",
      path: "/resources",
      id: "resources",
      summary: "Slots, processors and memory of all nodes, and how much of them is free.",
      responses: { 200: { description: "The resources.", schema: ref("Resources") } },
      handle: async () => json(availableResources(parts)),
    },
    {
      ...shared,
      method: "GET",
      path: "/statistics",
      id: "statistics",
      summary: "Counts by state and reason, latencies, and what was used, since the start.",
      responses: { 200: { description: "The statistics.", schema: { type: "object" } } },
      handle: async () => json({ ...statistics.view(), queue: snippets.figures }),
    },
    {
      ...shared,
      method: "GET",
      path: "/usage",
      id: "usage",
      summary: "What was used in each of the last 60 minutes.",
      responses: { 200: { description: "Minutes, oldest first.", schema: { type: "object" } } },
      handle: async () => json({ minutes: statistics.history() }),
    },
  ];
}

export function availableResources({ snippets }: Pick<DoorParts, "snippets">) {
  const { slots, resources, nodes } = snippets.dispatcher.placing;
  return {
    slots: slots.total,
    free_slots: slots.free,
    cpus: resources.cpus,
    memory_bytes: resources.memoryBytes,
    free_memory_bytes: resources.freeMemoryBytes,
    nodes: nodes.map(({ id, levels, runtimes }) => ({
      id,
      levels: [...levels],
      languages: [...runtimes],
    })),
  };
}

interface WaitRule {
  count: number;
  limitMs: number;
  signal: AbortSignal;
}

async function waitForSome(
  { snippets }: DoorParts,
  ids: readonly string[],
  { count, limitMs, signal }: WaitRule,
) {
  const enough = new AbortController();
  const stop = AbortSignal.any([enough.signal, signal]);
  let ended = 0;
  const records = await Promise.all(
    ids.map(async (id) => {
      const record = await snippets.wait(id, limitMs, stop);
      if (record?.state === "finished") ended += 1;
      if (ended >= count) enough.abort();
      return record;
    }),
  );
  return records.flatMap((record) => (record?.state === "finished" ? [record] : []));
}

function readTasks(
  parts: DoorParts,
  body: unknown,
  owner: string,
  headerKey: string,
): { snippets: NewSnippet[] } | ApiReply {
  const list = isObject(body) && Array.isArray(body.tasks) ? body.tasks : body;
  if (!Array.isArray(list) || list.length === 0 || list.length > mostTasks) {
    const message = `must be a list of 1 to ${mostTasks} tasks`;
    const remedy = 'Send a list like [{"command": "true"}].';
    return invalid([{ code: "E_SNIPPET_FIELD", path: "", message, remedy }]);
  }
  const problems: Diagnostic[] = [];
  const snippets: NewSnippet[] = [];
  for (const [index, task] of list.entries()) {
    const input = Input.of(task, `[${index}]`, problems);
    if (input === undefined) continue;
    const snippet = readCommand(parts, input, owner);
    const own = input.text("idempotency_key", 200);
    const key = own ?? (headerKey === "" ? "" : `${headerKey.slice(0, 200)}/${index}`);
    if (snippet === undefined) continue;
    if (key === "") snippets.push({ snippet });
    else snippets.push({ snippet, idempotency: { key, digest: digestOf(task) } });
  }
  if (problems.length > 0) return invalid(problems);
  const impossible = snippets.map(({ snippet }) => insufficient(parts, snippet));
  const why = impossible.find((detail) => detail !== undefined);
  if (why === undefined) return { snippets };
  return failure(
    422,
    "Resource",
    "E_RESOURCES",
    `Insufficient resources: ${why}`,
    "Ask for less; GET /resources says what there is.",
  );
}

/** More than any node has, now that there are nodes. */
function insufficient({ snippets }: DoorParts, snippet: NewSnippet["snippet"]): string | undefined {
  const { placing } = snippets.dispatcher;
  return placing.nodes.length === 0 ? undefined : placing.whyImpossible(snippet);
}

function reused(index: number): ApiReply {
  return failure(
    409,
    "Validation",
    "E_SNIPPET_IDEMPOTENCY",
    `the idempotency key of task ${index} was used for something else; nothing was taken in`,
    "Use a key of its own for each task.",
  );
}

function textOf(value: string | string[] | undefined): string {
  return (Array.isArray(value) ? value[0] : value) ?? "";
}
