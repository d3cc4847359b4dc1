// The door of a queue: a program in one of many languages is taken in, and its end is asked for,
// waited for or watched later.
import type { Diagnostic } from "../../protocol/diagnostic.ts";
import { type ApiReply, json, pathParameter, type Route } from "../api/route.ts";
import { ref } from "../api/schemas.ts";
import type { NewSnippet } from "../snippets/store/store.ts";
import type { DoorParts } from "./door-parts.ts";
import { Input } from "./input.ts";
import { commandsQueue, queueOf, registryName } from "./languages.ts";
import { liveStream } from "./live-stream.ts";
import { makeSnippet } from "./make-snippet.ts";
import { cancelOf, resultOf } from "./one-snippet.ts";
import { digestOf, givenFields, readGiven } from "./read-given.ts";
import { counted, invalid, notFound, submitFailure, taskOf, unsafeCode } from "./replies.ts";
import { listOfSnippets } from "./snippet-list.ts";

const mostCodeChars = 2 ** 20;
const taskId = pathParameter("task_id", "What `POST /submit` answered.");

const submitExample = {
  language: "python",
  code: 'import sys\nprint("hello", sys.argv[1])\n',
  args: ["world"],
  limits: { timeout: "5s", memory: "128Mi" },
  priority: 5,
};

export function queueDoor(parts: DoorParts): Route[] {
  const { snippets } = parts;
  const shared = { needs: "snippets" } as const;
  return [
    {
      ...shared,
      method: "POST",
      path: "/submit",
      id: "submit",
      isLimited: true,
      summary: "Takes a program in; it is run once a sandbox is free.",
      parameters: [],
      body: {
        description:
          "The program and what it gets. Lengths of time are seconds or text like 5s, sizes are bytes or text like 64Mi. The header Idempotency-Key stops a double submission.",
        schema: {
          type: "object",
          required: ["language", "code"],
          properties: {
            language: { type: "string" },
            code: { type: "string" },
            stdin: { type: "string" },
            args: { type: "array", items: { type: "string" } },
            env: { type: "object", additionalProperties: { type: "string" } },
            files: { type: "object" },
            outputs: { type: "array", items: { type: "string" } },
            limits: { type: "object" },
            isolation: { type: "string" },
            priority: { type: "integer", minimum: 0, maximum: 9 },
            callback: { type: "string" },
            idempotency_key: { type: "string" },
          },
        },
        example: submitExample,
      },
      responses: {
        202: {
          description: "It is taken in, or was before.",
          schema: ref("Accepted"),
          example: { task_id: "0mf1k2j3h40000-9c51e0a2b7d4", state: "queued" },
        },
      },
      handle: async ({ body, identity, headers }) => {
        const key = headers["idempotency-key"];
        const read = await readSubmission(parts, body, identity.owner, String(key ?? ""));
        if ("kind" in read) return counted(parts, read);
        try {
          const [inserted] = await snippets.submit([read]);
          if (inserted === undefined) throw new Error("nothing was stored");
          if (inserted.kind === "conflict") return counted(parts, conflict(inserted.id));
          return json({ task_id: inserted.id, state: "queued" }, 202);
        } catch (error) {
          return counted(parts, submitFailure(error));
        }
      },
    },
    {
      ...shared,
      method: "GET",
      path: "/result/{task_id}",
      id: "result",
      summary: "What became of it: state, output, exit code, usage, times.",
      ...resultOf(snippets, taskId),
    },
    {
      ...shared,
      method: "GET",
      path: "/result/{task_id}/files/{name}",
      isDeep: true,
      id: "resultFile",
      summary: "A file that it left, as bytes.",
      parameters: [taskId, pathParameter("name", "Its path.")],
      responses: { 200: { description: "The file.", type: "application/octet-stream" } },
      handle: async ({ path, identity }) => {
        const found = await taskOf(snippets, path.task_id ?? "", identity);
        const file = found?.end?.files.find(({ name }) => name === path.name);
        if (file === undefined) return notFound(`${path.task_id}/files/${path.name}`);
        const { buffer, byteOffset, byteLength } = file.content;
        return {
          kind: "stream",
          status: 200,
          type: "application/octet-stream",
          body: Buffer.from(buffer, byteOffset, byteLength),
          headers: { "content-disposition": "attachment" },
        };
      },
    },
    {
      ...shared,
      method: "GET",
      path: "/result/{task_id}/stream",
      id: "resultStream",
      summary: "Its output while it runs, as server-sent events: state, stdout, stderr, end.",
      parameters: [taskId],
      responses: { 200: { description: "The events.", type: "text/event-stream" } },
      handle: async ({ path, identity, headers, signal }) => {
        const found = await taskOf(snippets, path.task_id ?? "", identity);
        if (found === undefined) return notFound(path.task_id ?? "");
        const given = headers["last-event-id"];
        const lastEventId = typeof given === "string" ? given : undefined;
        return {
          kind: "stream",
          status: 200,
          type: "text/event-stream",
          body: liveStream(snippets, found.snippet.id, { lastEventId, signal }),
        };
      },
    },
    {
      ...shared,
      method: "POST",
      path: "/cancel/{task_id}",
      id: "cancel",
      summary: "Cancels it, whether it waits or runs.",
      ...cancelOf(snippets, taskId),
    },
    {
      ...shared,
      method: "GET",
      path: "/submissions",
      id: "submissions",
      summary: "The caller's tasks, newest first.",
      ...listOfSnippets(snippets, "tasks"),
    },
  ];
}

async function readSubmission(
  parts: DoorParts,
  body: unknown,
  owner: string,
  headerKey: string,
): Promise<NewSnippet | ApiReply> {
  const { rules, languages, clock, policy } = parts;
  const problems: Diagnostic[] = [];
  const input = Input.of(body, "", problems);
  if (input === undefined) return invalid(problems);
  input.only(["language", "code", ...givenFields]);
  const language = readLanguage(input, languages);
  const code = input.text("code", mostCodeChars);
  if (!input.has("code")) input.bad("code", "is missing", "Send the program's text.");
  const { words: args, ...given } = readGiven(input, parts);
  const key = input.text("idempotency_key", 200) ?? headerKey.slice(0, 200);
  if (problems.length > 0 || language === undefined || code === undefined) return invalid(problems);
  if (policy !== undefined && rules.codePolicy === "all") {
    const refused = await unsafeCode(policy, language, code);
    if (refused !== undefined) return refused;
  }
  const run = { kind: "code", language: registryName(language), code, args } as const;
  const snippet = makeSnippet({ owner, language, run, ...given }, rules, clock());
  if (key === "") return { snippet };
  return { snippet, idempotency: { key, digest: digestOf(body) } };
}

function readLanguage(input: Input, known: ReadonlySet<string>): string | undefined {
  const given = input.text("language", 60);
  if (given === undefined) {
    if (!input.has("language")) input.bad("language", "is missing", "Name a language.");
    return undefined;
  }
  const queue = queueOf(given, known);
  if (queue !== undefined && queue !== commandsQueue) return queue;
  const names = [...known].filter((name) => name !== commandsQueue);
  input.bad("language", "is not known here", `Known: ${names.join(", ")}.`, "E_SNIPPET_LANGUAGE");
  return undefined;
}

function conflict(id: string): ApiReply {
  return {
    kind: "error",
    status: 409,
    error: {
      class: "Validation",
      code: "E_SNIPPET_IDEMPOTENCY",
      message: `the idempotency key was used for another request, which is task ${id}`,
      remedy: "Use a key of its own for each submission.",
    },
  };
}
